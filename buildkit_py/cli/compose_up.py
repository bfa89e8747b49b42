"""`pycompose plan`, `up`, `create`, `down`: what has to be done, said or done."""

from __future__ import annotations

from buildkit_py.cli.compose_common import (
    DRY_RUN,
    Prepared,
    Telling,
    at_once,
    build_sinks,
    changing,
    check_services,
    ended_in_order,
    locked,
    named,
    prepared,
    pull_of,
    read_acting,
    removes_orphans,
    same_files,
    seconds_of,
    show_plan,
    take,
    teller,
    telling,
    warn,
)
from buildkit_py.cli.reader import BadOption, Command, Option, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.cli.compose_common import Named
    from buildkit_py.cli.reader import Value
    from buildkit_py.compose import model
    from buildkit_py.compose.carry_out import Work
    from buildkit_py.compose.plan import Observed, Plan
    from buildkit_py.compose.plan_up import Wanted
    from buildkit_py.engine.client import Engine, Group

_CHANGING = (
    DRY_RUN,
    Option("--build", "flag", "Build images before"),
    Option("--force-recreate", "flag", "Make all containers anew"),
    Option("--no-build", "flag", "Build no image, even if it is missing"),
    Option("--no-recreate", "flag", "Leave containers that exist as they are"),
    Option("--pull", "text", "Pull images: always, missing, never, policy", metavar="WHEN"),
    Option("--quiet-pull", "flag", "Pull without a word"),
    Option("--remove-orphans", "flag", "Remove containers of services that are not in the files"),
    Option("--scale", "list", "How many containers a service has", metavar="SERVICE=NUMBER"),
    Option("-y --yes", "flag", "Assume yes; nothing asks yet"),
)
_STARTING = (
    Option("--always-recreate-deps", "flag", "Make containers of dependencies anew"),
    Option("--no-deps", "flag", "Leave services alone that the named ones need"),
    Option("--quiet-build", "flag", "Build without a word"),
    Option("-V --renew-anon-volumes", "flag", "New volumes without a name, not those of before"),
)

PLAN = Command(
    "pycompose plan",
    "Say what `up` would do, why, and in which order",
    (*_CHANGING, *_STARTING, Option("--json", "flag", "Print it as JSON")),
    arguments="[SERVICE...]",
)

UP = Command(
    "pycompose up",
    "Make the project run as its files say",
    (
        Option("--abort-on-container-exit", "flag", "Stop all when one container ends"),
        Option("--abort-on-container-failure", "flag", "Stop all when one container fails"),
        Option("--attach", "list", "Print what these services write, no others", metavar="SERVICE"),
        Option("--attach-dependencies", "flag", "Print also what dependencies write"),
        Option("-d --detach", "flag", "Return when all is started"),
        Option("--exit-code-from", "text", "Return this service's exit code", metavar="SERVICE"),
        Option("--no-attach", "list", "Do not print what these services write", metavar="SERVICE"),
        Option("--no-color", "flag", "Print without colours"),
        Option("--no-log-prefix", "flag", "Print lines without the containers' names"),
        Option("--no-start", "flag", "Make containers, and start none"),
        Option("-t --timeout", "text", "Seconds to let each container end", metavar="SECONDS"),
        Option("--timestamps", "flag", "Print the time of each line"),
        Option("--wait", "flag", "Wait until services run, and are healthy where that is checked"),
        Option("--wait-timeout", "text", "Wait no longer than this", metavar="SECONDS"),
        *_CHANGING,
        *_STARTING,
    ),
    arguments="[SERVICE...]",
    unsupported=("--menu", "-w", "--watch"),
)

CREATE = Command(
    "pycompose create",
    "Make the project's containers, and start none",
    _CHANGING,
    arguments="[SERVICE...]",
)

DOWN = Command(
    "pycompose down",
    "End and remove the project's containers and networks",
    (
        DRY_RUN,
        Option("--remove-orphans", "flag", "Also those of services that are not in the files"),
        Option("-t --timeout", "text", "Seconds to let each container end", metavar="SECONDS"),
        Option("-v --volumes", "flag", "Remove the project's volumes too"),
    ),
    arguments="[SERVICE...]",
    unsupported=("--rmi",),
)


def run_plan(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, names = read_acting(PLAN, argv, given)
    made = prepared(given, names)
    wanted = _wanted(made, values, names)
    with changing() as engine:
        plan = _Look(engine, made.project, wanted).plan
    if values["json"]:
        import json

        from buildkit_py.compose.plan import data_of

        print(json.dumps(data_of(plan), indent=2))
    else:
        show_plan(plan)
    return 0


def run_up(given: dict[str, Value], argv: Sequence[str], *, remember: bool = True) -> int:
    """remember: keep a record that nothing is left to be done, for the next one like it."""
    values, names = read_acting(UP, argv, given)
    _check_up(values)
    return _up(given, values, names, remember=remember)


def run_create(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, names = read_acting(CREATE, argv, given)
    defaults, _ = read(UP, [])
    return _up(given, {**defaults, **values, "no_start": True}, names, remember=False)


def _up(
    given: dict[str, Value], values: dict[str, Value], names: Sequence[str], *, remember: bool
) -> int:
    made = prepared(given, names)
    wanted = _wanted(made, values, names)
    engine = changing()
    if given["dry_run"]:
        with engine:
            show_plan(_Look(engine, made.project, wanted).plan)
        return 0
    name = made.project.name
    with engine, engine.project(name) as group, locked(engine, name) as lock:
        look = _Look(engine, made.project, wanted)
        if look.plan.of("build", "pull"):
            lock.release()
            left = bring_images(look.plan, given, values, engine, made, wanted)
            take(lock)
            look = _Look(engine, made.project, left)
        warn(look.plan)
        with telling(given) as talk:
            work = _work(given, values, engine, group, made, talk)
            work.settled = lock.release
            if not (values["detach"] or values["wait"] or values["no_start"]):
                from buildkit_py.cli import compose_attach

                return compose_attach.up(look.plan, work, values, names, settle=talk.settle)
            from buildkit_py.compose.carry_out import carry_out

            carry_out(look.plan, work)
            if values["wait"]:
                _wait(work, values)
        if remember and not values["wait"]:
            _remember(given, engine, made, wanted, look)
    return 0


class _Look:
    """What there was at one moment, and what is to be done about it.

    records: from before, for `compose.recall`
    """

    def __init__(self, engine: Engine, project: model.Project, wanted: Wanted) -> None:
        from buildkit_py.compose.observe import observe
        from buildkit_py.compose.plan_up import up
        from buildkit_py.compose.recall import records_of

        self.records = records_of(engine.root)
        self.observed = observe(engine, project.name, project)
        self.plan = up(project, self.observed, wanted)


def _remember(
    given: dict[str, Value], engine: Engine, made: Prepared, wanted: Wanted, look: _Look
) -> None:
    """Keep a record that nothing is left to be done, when that is so and can be seen again.

    look: the last one; where it found something to do there is a new one
    """
    import time

    from buildkit_py.compose import recall

    arguments = given["argv"]
    assert isinstance(arguments, list)
    asks_anew = wanted.build or wanted.force_recreate or wanted.recreate_dependencies
    if asks_anew or wanted.pull == "always" or "-" in made.looked:
        return
    now = time.time_ns()
    if not all(recall.is_settled(each, now) for each in made.looked.values()):
        return
    if look.plan.actions:
        look = _Look(engine, made.project, wanted)
    plan = look.plan
    if plan.actions or plan.warnings or plan.orphans:
        return
    recall.keep(
        engine.root, arguments, looked=made.looked, records=look.records, names=plan.kept,
        containers=[(each.id, each.running) for each in look.observed.of_services()],
    )  # fmt: skip


def run_down(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, names = read_acting(DOWN, argv, given)
    about = named(given)
    remove_orphans = removes_orphans(values)
    with changing() as engine, locked(engine, about.name, shared=True):
        from buildkit_py.compose.carry_out import Work, carry_out
        from buildkit_py.compose.observe import observe
        from buildkit_py.compose.plan_end import down

        observed = observe(engine, about.name)
        check_services(
            names, {*(each.service for each in observed.containers), *(about.services or ())}
        )
        plan = down(
            about.name, observed, services=about.services, targets=names,
            remove_orphans=remove_orphans, external=about.external,
            volumes=_doomed(about, observed) if values["volumes"] else None,
        )  # fmt: skip
        if given["dry_run"]:
            show_plan(plan)
            return 0
        warn(plan)
        with telling(given) as talk:
            work = Work(
                engine, engine.project(about.name), tell=talk.tell, at_once=at_once(given),
                stop_seconds=seconds_of(values["timeout"]), keep_volumes=not values["volumes"],
            )  # fmt: skip
            carry_out(plan, work)
        for group in {about.name, *(each.group for each in observed.containers)}:
            engine.project(group).leave()
    return 0


def _doomed(about: Named, observed: Observed) -> set[str]:
    """Return the volumes that `down -v` removes: the files', and those with the project's label."""
    labelled = {each.name for each in observed.volumes if each.project == about.name}
    return labelled | {
        each.name for each in observed.volumes if each.name in about.volumes and not each.project
    }


def bring_images(
    plan: Plan,
    given: dict[str, Value],
    values: dict[str, Value],
    engine: Engine,
    made: Prepared,
    wanted: Wanted,
) -> Wanted:
    """Build and pull what a plan says, and return what is then still wanted."""
    from buildkit_py.compose.images import bring
    from buildkit_py.core.data import replace

    quiet = {**given, "progress": "quiet"}
    with ended_in_order():
        bring(
            plan.of("build", "pull"), made.project, engine,
            sink=build_sinks(quiet if values.get("quiet_build") else given),
            tell=teller(quiet if values["quiet_pull"] else given), at_once=at_once(given),
        )  # fmt: skip
    return replace(wanted, build=False, no_build=True, pull="never")


def _work(
    given: dict[str, Value],
    values: dict[str, Value],
    engine: Engine,
    group: Group,
    made: Prepared,
    talk: Telling,
) -> Work:
    from buildkit_py.compose.carry_out import Work

    return Work(
        engine, group, made.project, made.hashes, made.contents, at_once=at_once(given),
        stop_seconds=seconds_of(values.get("timeout")), tell=talk.tell, warn=talk.warn,
        notice=talk.notice, renew_volumes=bool(values.get("renew_anon_volumes")),
    )  # fmt: skip


def _wait(work: Work, values: dict[str, Value]) -> None:
    from buildkit_py.compose.plan_up import jobs
    from buildkit_py.compose.waiting import wait_ready

    project = work.files()
    wait_ready(
        work.engine, work.group, tuple(project.services), jobs(project),
        seconds=seconds_of(values["wait_timeout"], "--wait-timeout"), fresh=work.started,
        tell=work.tell_of_container,
    )  # fmt: skip


def _wanted(made: Prepared, values: dict[str, Value], names: Sequence[str]) -> Wanted:
    """Return what options ask of a plan. Raises BadOption."""
    from buildkit_py.compose.plan_up import Wanted

    if values["force_recreate"] and values["no_recreate"]:
        raise BadOption("`--force-recreate` and `--no-recreate` exclude each other")
    if values["build"] and values["no_build"]:
        raise BadOption("`--build` and `--no-build` exclude each other")
    return Wanted(
        made.hashes, same_files=same_files(made), scale=_scale(made.project, values["scale"]),
        targets=frozenset(names), remove_orphans=removes_orphans(values),
        force_recreate=bool(values["force_recreate"]),
        recreate_dependencies=bool(values.get("always_recreate_deps")),
        no_recreate=bool(values["no_recreate"]), no_dependencies=bool(values.get("no_deps")),
        no_start=bool(values.get("no_start")), build=bool(values["build"]),
        no_build=bool(values["no_build"]), pull=pull_of(values),
    )  # fmt: skip


def _check_up(values: dict[str, Value]) -> None:
    """Raise BadOption for what cannot be, and for options that exclude each other.

    Those of docker compose. Seconds are looked at before anything begins that they bound.
    """
    seconds_of(values["timeout"])
    seconds_of(values["wait_timeout"], "--wait-timeout")
    aborts = [
        name
        for name in ("abort_on_container_exit", "abort_on_container_failure", "exit_code_from")
        if values[name]
    ]
    detached = next((name for name in ("detach", "wait") if values[name]), "")
    if detached and aborts:
        raise BadOption(f"`--{detached}` and `--{aborts[0].replace('_', '-')}` exclude each other")
    if values["abort_on_container_exit"] and values["abort_on_container_failure"]:
        raise BadOption(
            "`--abort-on-container-exit` and `--abort-on-container-failure` exclude each other"
        )
    if detached and values["attach"]:
        raise BadOption(f"`--{detached}` and `--attach` exclude each other")
    if values["no_start"] and (detached or aborts):
        raise BadOption("`--no-start` starts nothing that could be waited for")
    if values["wait_timeout"] is not None and not values["wait"]:
        raise BadOption("`--wait-timeout` needs `--wait`")


def _scale(project: model.Project, given: Value) -> dict[str, int]:
    from buildkit_py.compose.values import MOST_CONTAINERS

    found = {}
    for text in given if isinstance(given, list) else ():
        name, _, number = text.partition("=")
        if not number.isascii() or not number.isdigit():
            raise BadOption(f"`--scale {text}` is not SERVICE=NUMBER")
        if name not in project.services:
            raise BadOption(f"`--scale {text}`: there is no service `{name}`")
        # Python itself refuses to read thousands of digits.
        if len(number.lstrip("0")) > len(str(MOST_CONTAINERS)) or int(number) > MOST_CONTAINERS:
            most = f"a service has {MOST_CONTAINERS} containers at the most"
            raise BadOption(f"`--scale {text}`: {most}")
        found[name] = int(number)
    return found


COMMANDS = {
    "plan": (PLAN, run_plan),
    "up": (UP, run_up),
    "create": (CREATE, run_create),
    "down": (DOWN, run_down),
}
