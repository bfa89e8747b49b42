"""`pycompose exec` and `run`: a program in a service's container, or in a new one."""

from __future__ import annotations

import os
import sys

from buildkit_py.cli.common import report_refused
from buildkit_py.cli.compose_common import (
    DRY_RUN,
    at_once,
    changing,
    containers,
    locked,
    looking,
    named,
    prepared,
    pull_of,
    read_acting,
    removes_orphans,
    same_files,
    show_plan,
    take,
    telling,
    warn,
)
from buildkit_py.cli.paint import print_notice
from buildkit_py.cli.reader import BadOption, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.cli.compose_common import Prepared
    from buildkit_py.cli.reader import Value
    from buildkit_py.compose import model
    from buildkit_py.compose.plan import Plan
    from buildkit_py.engine.client import Engine, Group
    from buildkit_py.engine.containers import ContainerRequest
    from buildkit_py.engine.mounts import VolumeRequest

EXEC = Command(
    "pycompose exec",
    "Run a further program in a service's container, and exit as it exits",
    (
        DRY_RUN,
        Option("-d --detach", "flag", "Let it run on its own"),
        Option("-e --env", "list", "Set a variable", metavar="NAME=VALUE"),
        Option("--index", "text", "In which of the service's containers", metavar="NUMBER"),
        Option("-i --interactive", "flag", "Give it our standard input (default)", default=True),
        Option("-T --no-tty --no-TTY", "flag", "Give it no terminal"),
        Option("-t --tty", "flag", "Give it a terminal (default where we have one)", default=True),
        Option("-u --user", "text", "User, and group", metavar="NAME|UID[:GROUP]"),
        Option("-w --workdir", "text", "Working directory", metavar="PATH"),
    ),
    arguments="SERVICE COMMAND [ARGUMENTS]",
    options_first=True,
    unsupported=("--privileged",),
)
RUN = Command(
    "pycompose run",
    "Run a program in a new container of a service, and exit as it exits",
    (
        Option("--build", "flag", "Build the image before"),
        Option("--cap-add", "list", "Add a capability", metavar="NAME"),
        Option("--cap-drop", "list", "Drop a capability", metavar="NAME"),
        DRY_RUN,
        Option("-d --detach", "flag", "Let it run on its own, and print its id"),
        Option("--entrypoint", "text", "Program instead of the service's", metavar="COMMAND"),
        Option("-e --env", "list", "Set a variable", metavar="NAME=VALUE"),
        Option("--env-from-file", "list", "Read variables from a file", metavar="PATH"),
        Option("-i --interactive", "flag", "Give it our standard input (default)", default=True),
        Option("-l --label", "list", "Set a label", metavar="NAME=VALUE"),
        Option("--name", "text", "Name of the container", metavar="NAME"),
        Option("--no-deps", "flag", "Start nothing that the service depends on"),
        Option("-T --no-tty --no-TTY", "flag", "Give it no terminal"),
        Option("-p --publish", "list", "Publish a port", metavar="[[IP:]HOST:]PORT[/udp]"),
        Option("--pull", "text", "Pull the image: always, missing, never", metavar="WHEN"),
        Option("-q --quiet", "flag", "Do not tell what is done"),
        Option("--quiet-build", "flag", "Build without a word"),
        Option("--quiet-pull", "flag", "Pull without a word"),
        Option("--remove-orphans", "flag", "Remove containers of services not in the files"),
        Option("--rm", "flag", "Remove the container at its end"),
        Option("-P --service-ports", "flag", "Publish the service's ports"),
        Option("-t --tty", "flag", "Give it a terminal (default where we have one)", default=True),
        Option("--use-aliases", "flag", "Answer to the service's names in its networks"),
        Option("-u --user", "text", "User, and group", metavar="NAME|UID[:GROUP]"),
        Option("-v --volume", "list", "Mount a directory or a volume",
               metavar="[SOURCE:]TARGET[:ro]"),
        Option("-w --workdir", "text", "Working directory", metavar="PATH"),
    ),
    arguments="SERVICE [COMMAND] [ARGUMENTS]",
    options_first=True,
)  # fmt: skip


def _wants_terminal(values: dict[str, Value]) -> bool:
    """Say whether a program gets a terminal: where we have one, and nobody says otherwise."""
    return bool(values["tty"]) and not values["no_TTY"] and os.isatty(0) and os.isatty(1)


def _complain(text: str) -> None:
    from buildkit_py.core.draw import printable

    print(f"pycompose: {printable(text)}", file=sys.stderr)


def run_exec(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, words = read_acting(EXEC, argv, given)
    if len(words) < 2:
        raise BadOption("`pycompose exec` needs a service and a command")
    from buildkit_py.cli.compose_look import one_of
    from buildkit_py.compose.waiting import ServiceFailed
    from buildkit_py.engine.command import read_variables

    service, *command = words
    engine = looking()
    found = containers(engine, named(given), [service], oneoff=True)
    index = values["index"]
    running = [known for known in found if known.running]
    if not running:
        raise ServiceFailed(f'service "{service}" is not running')
    known = one_of(running, service, index)
    env = read_variables(_many(values["env"]), os.environ)
    env = tuple(each for each in env if "=" in each)
    if given["dry_run"]:
        import shlex

        from buildkit_py.core.draw import printable

        print(printable(f"exec in {known.spec.name}: {shlex.join(command)}"))
        return 0
    from buildkit_py.core.errors import BuildkitError

    try:
        return _execute(engine.group_of(known), known.spec.id, command, env, values)
    except BuildkitError as error:
        return report_refused(error)


def _execute(
    group: Group, id: str, command: Sequence[str], env: tuple[str, ...], values: dict[str, Value]
) -> int:
    user = str(values["user"]) if values["user"] else None
    cwd = str(values["workdir"] or "")
    if values["detach"]:
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            with group.execute(
                id, command, (nothing, nothing, nothing), env=env, cwd=cwd, user=user, detach=True
            ) as connection:
                connection.receive()
        finally:
            os.close(nothing)
        return 0
    from buildkit_py.engine.attached import execute

    end = execute(
        group, id, command, env=env, cwd=cwd, user=user, terminal=_wants_terminal(values),
        interactive=bool(values["interactive"]), notice=print_notice,
    )  # fmt: skip
    if end.message:
        _complain(end.message)
    return end.code


def run_run(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, words = read_acting(RUN, argv, given)
    if not words:
        raise BadOption("`pycompose run` needs a service")
    service_name, *command = words
    if values["service_ports"] and values["publish"]:
        raise BadOption("`--service-ports` and `--publish` exclude each other")
    if values["quiet"]:
        given = {**given, "progress": "quiet"}
    made = prepared(given, [service_name])
    service = _changed(made, service_name, command, values)
    from buildkit_py.cli.notices import tell_news, tell_unkept
    from buildkit_py.engine.events import News

    engine = changing()
    with engine, engine.project(made.project.name) as group:
        if not _prepare(given, values, made, service_name, engine, group):
            return 0
        request = _request(made, service, values)
        spec = group.create(request)
        id = spec.id
        tell_unkept(engine, spec)
        news = News(engine.root, spec.group)
        if values["detach"]:
            group.start(id)
            tell_news(news)
            print(id)
            return 0
        from buildkit_py.engine.attached import run
        from buildkit_py.engine.containers import CannotStart

        try:
            end = run(
                group, id, terminal=request.terminal, interactive=bool(values["interactive"]),
                notice=print_notice, started=lambda: tell_news(news),
            )  # fmt: skip
        except CannotStart as error:
            _complain(error.message)
            _remove(group, id, values)
            return error.code_of_program
        except BaseException:
            _remove(group, id, values)
            raise
        if end.message:
            _complain(end.message)
        _remove(group, id, values)
        return end.code


def _remove(group: Group, id: str, values: dict[str, Value]) -> None:
    """Remove a container that was asked to go at its end."""
    from buildkit_py.engine.containers import UnknownContainer

    if values["rm"]:
        try:
            group.remove(id, force=True, volumes=True)
        except UnknownContainer:
            return  # somebody was faster


def _prepare(
    given: dict[str, Value],
    values: dict[str, Value],
    made: Prepared,
    name: str,
    engine: Engine,
    group: Group,
) -> bool:
    """Bring images, networks, volumes and dependencies; say whether there is more to do."""
    from buildkit_py.cli.compose_up import bring_images
    from buildkit_py.compose.carry_out import Work, carry_out
    from buildkit_py.compose.observe import observe
    from buildkit_py.compose.plan_up import Wanted, for_run

    project = made.project
    wanted = Wanted(
        made.hashes, same_files=same_files(made), targets=frozenset({name}),
        build=bool(values["build"]), pull=pull_of(values),
        no_dependencies=bool(values["no_deps"]), remove_orphans=removes_orphans(values),
    )  # fmt: skip

    def look(wanted: Wanted) -> Plan:
        return for_run(project, observe(engine, project.name, project), wanted, name)

    if given["dry_run"]:
        show_plan(look(wanted))
        return False
    with locked(engine, project.name) as lock:
        plan = look(wanted)
        if plan.of("build", "pull"):
            lock.release()
            done = bring_images(plan, given, values, engine, made, wanted)
            take(lock)
            plan = look(done)
        warn(plan)
        with telling(given) as talk:
            work = Work(
                engine, group, project, made.hashes, made.contents, at_once=at_once(given),
                tell=talk.tell, warn=talk.warn, notice=talk.notice, settled=lock.release,
            )  # fmt: skip
            carry_out(plan, work)
    return True


def _changed(
    made: Prepared, name: str, command: Sequence[str], values: dict[str, Value]
) -> model.Service:
    """Return the service as the options want it."""
    import shlex

    from buildkit_py.core.data import replace
    from buildkit_py.engine.command import read_variables

    service = made.project.services[name]
    environment = dict(service.environment)
    from buildkit_py.cli.engine_run import from_files

    for text in (
        *from_files(_many(values["env_from_file"])),
        *read_variables(_many(values["env"]), made.project.environment),
    ):
        key, equals, value = text.partition("=")
        environment[key] = value if equals else None
    changed = replace(
        service,
        environment=environment,
        restart="no",
        others={key: value for key, value in service.others.items() if key != "deploy"},
        container_name=None,
        tty=_wants_terminal(values) and not values["detach"],
        stdin_open=bool(values["interactive"]) and not values["detach"],
        cap_add=(*service.cap_add, *_many(values["cap_add"])),
        cap_drop=(*service.cap_drop, *_many(values["cap_drop"])),
        ports=service.ports if values["service_ports"] else (),
        user=str(values["user"]) if values["user"] else service.user,
        working_dir=str(values["workdir"]) if values["workdir"] else service.working_dir,
        labels={**service.labels, **_pairs(_many(values["label"]))},
    )
    if command:
        changed = replace(changed, command=tuple(command))
    if values["entrypoint"] is not None:
        try:
            words = tuple(shlex.split(str(values["entrypoint"])))
        except ValueError as error:
            raise BadOption(f"`--entrypoint {values['entrypoint']}`: {error}".lower()) from None
        changed = replace(changed, entrypoint=words, command=tuple(command))
    return changed


def _request(made: Prepared, service: model.Service, values: dict[str, Value]) -> ContainerRequest:
    from buildkit_py.compose.grants import digest
    from buildkit_py.compose.request import labels_of, request_of
    from buildkit_py.core.data import replace
    from buildkit_py.runtime.network import publish

    slug = os.urandom(32).hex()
    name = str(values["name"] or f"{made.project.name}-{service.name}-run-{slug[:12]}")
    labels = labels_of(
        made.project, service, 1, made.hashes[service.name],
        files=digest(service, made.contents), oneoff=slug,
    )  # fmt: skip
    request = request_of(
        made.project, service, name=name, labels=labels, contents=made.contents,
        aliases=bool(values["use_aliases"]),
    )  # fmt: skip
    more = [_volume(made.project, text) for text in _many(values["volume"])]
    targets = {volume.target for volume in more}
    ports = [port for text in _many(values["publish"]) for port in publish.parse(text)]
    return replace(
        request,
        volumes=(*(each for each in request.volumes if each.target not in targets), *more),
        ports=(*request.ports, *ports),
        auto_remove=bool(values["detach"] and values["rm"]),
    )


def _volume(project: model.Project, text: str) -> VolumeRequest:
    """Return the request of a `-v`; a volume of the project goes by its name in the files."""
    from buildkit_py.core.data import replace
    from buildkit_py.engine.mounts import parse_volume

    made = parse_volume(text, cwd=project.folder)
    known = project.volumes.get(made.source) if made.kind == "volume" else None
    return replace(made, source=known.name) if known else made


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def _many(value: Value) -> list[str]:
    return value if isinstance(value, list) else []


COMMANDS = {"exec": (EXEC, run_exec), "run": (RUN, run_run)}
