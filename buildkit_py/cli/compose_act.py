"""`pycompose stop`, `start`, `restart`, `kill`, `rm`, `scale`, `wait`: what acts on what there is.

All but `scale` need no files: the containers' labels say which service each one is of.
"""

from __future__ import annotations

import sys

from buildkit_py.cli.compose_common import (
    DRY_RUN,
    at_once,
    changing,
    check_services,
    containers,
    looking,
    named,
    read_acting,
    seconds_of,
    show_plan,
    telling,
)
from buildkit_py.cli.reader import BadOption, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from buildkit_py.cli.compose_common import Named
    from buildkit_py.cli.reader import Value
    from buildkit_py.compose.carry_out import Told
    from buildkit_py.compose.plan import Observed, Plan
    from buildkit_py.engine.client import Engine
    from buildkit_py.engine.connection import Connection
    from buildkit_py.engine.containers import Known

    Tell = Callable[[Told], None]

_TIMEOUT = Option("-t --timeout", "text", "Seconds to let each container end", metavar="SECONDS")

STOP = Command("pycompose stop", "End containers", (DRY_RUN, _TIMEOUT), arguments="[SERVICE...]")
START = Command(
    "pycompose start",
    "Start containers that were made before",
    (
        DRY_RUN,
        Option("--wait", "flag", "Wait until services run, and are healthy where that is checked"),
        Option("--wait-timeout", "text", "Wait no longer than this", metavar="SECONDS"),
    ),
    arguments="[SERVICE...]",
)
RESTART = Command(
    "pycompose restart",
    "End containers and start them again",
    (DRY_RUN, Option("--no-deps", "flag", "Leave alone what restarts with them"), _TIMEOUT),
    arguments="[SERVICE...]",
)
KILL = Command(
    "pycompose kill",
    "Send containers a signal, SIGKILL if nothing else is said",
    (
        DRY_RUN,
        Option("--remove-orphans", "flag", "Also to those of services that are not in the files"),
        Option("-s --signal", "text", "The signal", metavar="SIGNAL"),
    ),
    arguments="[SERVICE...]",
)
RM = Command(
    "pycompose rm",
    "Remove containers that do not run",
    (
        DRY_RUN,
        Option("-f --force", "flag", "Do not ask"),
        Option("-s --stop", "flag", "End those that run before"),
        Option("-v --volumes", "flag", "Remove also their volumes without a name"),
    ),
    arguments="[SERVICE...]",
    unsupported=("-a", "--all"),
)
SCALE = Command(
    "pycompose scale",
    "Give services a number of containers",
    (DRY_RUN, Option("--no-deps", "flag", "Leave services alone that these need")),
    arguments="SERVICE=NUMBER...",
)
WAIT = Command(
    "pycompose wait",
    "Wait until the containers of services have ended, and return the last one's exit code",
    (
        Option("--down-project", "flag", "Take the project down when the first one has ended"),
        DRY_RUN,
    ),
    arguments="SERVICE...",
)


def _observed(engine: Engine, about: Named, names: Sequence[str]) -> Observed:
    from buildkit_py.compose.observe import observe

    observed = observe(engine, about.name)
    there = {each.service for each in observed.containers}
    check_services(names, {*there, *(about.services or ())})
    return observed


def _act(
    given: dict[str, Value],
    about: Named,
    names: Sequence[str],
    choose: Callable[[Observed], Plan],
    *,
    stop_seconds: float | None = None,
    signal: int = 9,
    keep_volumes: bool = False,
    told_as: Callable[[Tell], Tell] = lambda tell: tell,
) -> Plan:
    """Choose a plan for what there is and carry it out; return it.

    told_as: changes what is told of it
    """
    from buildkit_py.compose.carry_out import Work, carry_out

    engine = changing()
    with engine, engine.project(about.name) as group:
        plan = choose(_observed(engine, about, names))
        if given["dry_run"]:
            show_plan(plan)
            return plan
        with telling(given) as talk:
            work = Work(
                engine, group, tell=told_as(talk.tell), notice=talk.notice,
                at_once=at_once(given), stop_seconds=stop_seconds, signal=signal,
                keep_volumes=keep_volumes,
            )  # fmt: skip
            carry_out(plan, work)
    return plan


def run_stop(given: dict[str, Value], argv: Sequence[str]) -> int:
    from buildkit_py.compose import plan_end

    values, names = read_acting(STOP, argv, given)
    about = named(given)
    _act(
        given, about, names,
        lambda there: plan_end.stop(about.name, there, names, services=about.services),
        stop_seconds=seconds_of(values["timeout"]),
    )  # fmt: skip
    return 0


def run_start(given: dict[str, Value], argv: Sequence[str]) -> int:
    from buildkit_py.compose import plan_end
    from buildkit_py.compose.plan import COMPLETED
    from buildkit_py.compose.waiting import ServiceFailed, wait_ready

    values, names = read_acting(START, argv, given)
    seconds = seconds_of(values["wait_timeout"], "--wait-timeout")
    about = named(given)
    jobs: set[str] = set()
    services: set[str] = set()

    def choose(there: Observed) -> Plan:
        mine = there.of_services()
        made = {each.service for each in mine}
        known = made if about.services is None else made.intersection(about.services)
        services.update(plan_end.with_needs(mine, names) & made if names else known)
        jobs.update(
            need.service for each in mine for need in each.needs if need.condition == COMPLETED
        )
        nothing = [] if known else list(about.services or ())
        missing = [each for each in names if each not in made] or nothing
        if missing:
            raise ServiceFailed(
                f'service "{missing[0]}" has no container to start',
                hint="`pycompose up -d` makes it",
            )
        return plan_end.start(about.name, there, names, services=about.services)

    _act(given, about, names, choose)
    if values["wait"] and not given["dry_run"]:
        from buildkit_py.compose.observe import containers_of, supervisor_of

        engine = looking()
        group = engine.project(about.name)
        group.supervisor = supervisor_of(containers_of(engine, group.name), group.name)
        wait_ready(engine, group, services, jobs, seconds=seconds)
    return 0


def run_restart(given: dict[str, Value], argv: Sequence[str]) -> int:
    from buildkit_py.compose import plan_end

    values, names = read_acting(RESTART, argv, given)
    about = named(given)
    _act(
        given, about, names,
        lambda there: plan_end.restart(
            about.name, there, names, services=about.services,
            no_dependencies=bool(values["no_deps"]),
        ),
        stop_seconds=seconds_of(values["timeout"]), told_as=_as_restarts,
    )  # fmt: skip
    return 0


def _as_restarts(tell: Tell) -> Tell:
    """Tell an end and a start as one thing: `Restarting`, and `Started`."""
    from buildkit_py.core.data import replace

    begun: set[str] = set()

    def told_once(told: Told) -> None:
        if told.word in ("Stopping", "Starting"):
            if told.name not in begun:
                begun.add(told.name)
                tell(replace(told, word="Restarting"))
        elif told.word != "Stopped":
            tell(told)

    return told_once


def run_kill(given: dict[str, Value], argv: Sequence[str]) -> int:
    from buildkit_py.compose import plan_end
    from buildkit_py.engine.signal_names import parse_signal

    values, names = read_acting(KILL, argv, given)
    signal = parse_signal(str(values["signal"] or "KILL"))
    about = named(given)

    known = None if values["remove_orphans"] else about.services
    plan = _act(
        given, about, names,
        lambda there: plan_end.kill(about.name, there, names, services=known),
        signal=signal,
    )  # fmt: skip
    if not plan.actions and not given["dry_run"]:
        print("no container to kill", file=sys.stderr)
    return 0


def run_rm(given: dict[str, Value], argv: Sequence[str]) -> int:
    from buildkit_py.compose import plan_end

    values, names = read_acting(RM, argv, given)
    about = named(given)
    only: set[str] | None = None

    def choose(there: Observed) -> Plan:
        plan = plan_end.remove(
            about.name, there, names, services=about.services, stop_first=bool(values["stop"]),
            only=only,
        )  # fmt: skip
        if values["force"] and plan.actions and not given["dry_run"]:
            print(_going(plan), flush=True)
        return plan

    if not given["dry_run"] and not values["force"]:
        doomed = choose(_observed(looking(), about, names))
        if doomed.actions and not _agreed(_going(doomed)):
            return 0
        only = {action.id for action in doomed.of("remove")}
    plan = _act(
        given, about, names, choose,
        keep_volumes=not values["volumes"],
    )  # fmt: skip
    if not plan.actions:
        print("No stopped containers", file=sys.stderr)
    return 0


def _going(plan: Plan) -> str:
    names = sorted(action.target for action in plan.of("remove"))
    return f"Going to remove {', '.join(names)}"


def _agreed(going: str) -> bool:
    """Ask on the terminal whether containers may go; without one, say it and read the answer."""
    if sys.stdin.isatty():
        print(f"? {going} [yN] ", end="", file=sys.stderr, flush=True)
    else:
        print(going, flush=True)
    answer = sys.stdin.readline().strip().lower()
    return answer in ("y", "yes")


def run_scale(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, pairs = read_acting(SCALE, argv, given)
    if not pairs:
        raise BadOption("`pycompose scale` needs SERVICE=NUMBER")
    names = [pair.partition("=")[0] for pair in pairs]
    from buildkit_py.cli import compose_up

    words = [word for pair in pairs for word in ("--scale", pair)]
    more = ["--no-deps"] if values["no_deps"] else []
    return compose_up.run_up(given, ["-d", "--no-recreate", *more, *words, *names], remember=False)


def run_wait(given: dict[str, Value], argv: Sequence[str]) -> int:
    """Wait; docker compose's exit code 42 for what cannot be waited for is our usual one."""
    values, names = read_acting(WAIT, argv, given)
    if not names:
        raise BadOption("`pycompose wait` needs a service")
    about = named(given)
    engine = looking()
    found = containers(engine, about, names)
    if not found:
        from buildkit_py.compose.waiting import ServiceFailed

        raise ServiceFailed(f"no containers for project `{about.name}`")
    code = 0
    for id, code in _ends(engine, found):
        print(f'container "{id}" exited with status code {code}', flush=True)
        if values["down_project"]:
            break
    if values["down_project"]:
        from buildkit_py.cli import compose_up

        compose_up.run_down(given, [])
    return code


def _ends(engine: Engine, found: Sequence[Known]) -> Iterator[tuple[str, int]]:
    """Give ids and exit codes of containers as they end and are not started again.

    Each has a request of its own at its supervisor, and no thread: `down` may enter namespaces.
    """
    import contextlib
    import select

    from buildkit_py.engine.connection import SupervisorGone, connect

    asked: dict[int, tuple[str, Connection]] = {}
    with contextlib.ExitStack() as stack:
        poll = select.poll()
        for known in found:
            id = known.spec.id
            connection = connect(engine.root, engine.run_dir, known.spec.group)
            if connection is None:  # nobody looks after it: it does not run
                yield id, engine.find(id).state.exit_code
                continue
            stack.enter_context(connection)
            connection.send("wait", id=id)
            asked[connection.fileno()] = id, connection
            poll.register(connection, select.POLLIN)
        while asked:
            for fd, _ in poll.poll():
                id, connection = asked[fd]
                try:
                    answer, _ = connection.receive()
                except SupervisorGone:
                    answer = {"done": True, "code": engine.find(id).state.exit_code}
                if "done" in answer:
                    poll.unregister(asked.pop(fd)[1])
                    yield id, int(answer["code"])


COMMANDS = {
    "stop": (STOP, run_stop),
    "start": (START, run_start),
    "restart": (RESTART, run_restart),
    "kill": (KILL, run_kill),
    "rm": (RM, run_rm),
    "scale": (SCALE, run_scale),
    "wait": (WAIT, run_wait),
}
