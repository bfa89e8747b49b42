"""`pycompose stop`, `start`, `restart`, `kill`, `rm`, `scale`, `wait`: what acts on what there is.

All but `scale` need no files: the containers' labels say which service each one is of.
"""

from __future__ import annotations

import sys

from buildkit_py.cli.compose_common import (
    at_once,
    changing,
    check_services,
    containers,
    looking,
    named,
    seconds_of,
    show_plan,
    teller,
)
from buildkit_py.cli.reader import BadOption, Command, HelpWanted, Option, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildkit_py.cli.compose_common import Named
    from buildkit_py.cli.reader import Value
    from buildkit_py.compose.plan import Observed, Plan
    from buildkit_py.engine.client import Engine

_TIMEOUT = Option("-t --timeout", "text", "Seconds to let each container end", metavar="SECONDS")

STOP = Command("pycompose stop", "End containers", (_TIMEOUT,), arguments="[SERVICE...]")
START = Command(
    "pycompose start",
    "Start containers that were made before",
    (
        Option("--wait", "flag", "Wait until services run, and are healthy where that is checked"),
        Option("--wait-timeout", "text", "Wait no longer than this", metavar="SECONDS"),
    ),
    arguments="[SERVICE...]",
)
RESTART = Command(
    "pycompose restart",
    "End containers and start them again",
    (Option("--no-deps", "flag", "Leave alone what restarts with them"), _TIMEOUT),
    arguments="[SERVICE...]",
)
KILL = Command(
    "pycompose kill",
    "Send containers a signal, SIGKILL if nothing else is said",
    (
        Option("--remove-orphans", "flag", "Also to those of services that are not in the files"),
        Option("-s --signal", "text", "The signal", metavar="SIGNAL"),
    ),
    arguments="[SERVICE...]",
)
RM = Command(
    "pycompose rm",
    "Remove containers that do not run",
    (
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
    (Option("--no-deps", "flag", "Leave services alone that these need"),),
    arguments="SERVICE=NUMBER...",
)
WAIT = Command(
    "pycompose wait",
    "Wait until the containers of services have ended, and return the last one's exit code",
    (Option("--down-project", "flag", "Take the project down when the first one has ended"),),
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
    names: Sequence[str],
    choose: Callable[[str, Observed], Plan],
    *,
    stop_seconds: float | None = None,
    signal: int = 9,
    keep_volumes: bool = False,
) -> Plan:
    """Choose a plan for what there is and carry it out; return it."""
    from buildkit_py.compose.carry_out import Work, carry_out

    about = named(given)
    engine = changing()
    with engine, engine.project(about.name) as group:
        plan = choose(about.name, _observed(engine, about, names))
        if given["dry_run"]:
            show_plan(plan)
            return plan
        work = Work(
            engine, group, tell=teller(given), at_once=at_once(given), stop_seconds=stop_seconds,
            signal=signal, keep_volumes=keep_volumes,
        )  # fmt: skip
        carry_out(plan, work)
    return plan


def run_stop(given: dict[str, Value], argv: Sequence[str]) -> int:
    from buildkit_py.compose import plan_end

    values, names = read(STOP, argv)
    seconds = seconds_of(values["timeout"])
    _act(given, names, lambda name, there: plan_end.stop(name, there, names), stop_seconds=seconds)
    return 0


def run_start(given: dict[str, Value], argv: Sequence[str]) -> int:
    from buildkit_py.compose import plan_end
    from buildkit_py.compose.plan import COMPLETED
    from buildkit_py.compose.waiting import ServiceFailed, wait_ready

    values, names = read(START, argv)
    jobs: set[str] = set()
    services: set[str] = set()

    def choose(name: str, there: Observed) -> Plan:
        mine = there.of_services()
        services.update(each.service for each in mine if not names or each.service in names)
        jobs.update(
            need.service for each in mine for need in each.needs if need.condition == COMPLETED
        )
        missing = [each for each in names if each not in services]
        if missing:
            raise ServiceFailed(
                f'service "{missing[0]}" has no container to start',
                hint="`pycompose up -d` makes it",
            )
        return plan_end.start(name, there, names)

    _act(given, names, choose)
    if values["wait"] and not given["dry_run"]:
        from buildkit_py.compose.observe import containers_of, supervisor_of

        engine = looking()
        group = engine.project(named(given).name)
        group.supervisor = supervisor_of(containers_of(engine, group.name), group.name)
        seconds = seconds_of(values["wait_timeout"], "--wait-timeout")
        wait_ready(engine, group, services, jobs, seconds=seconds)
    return 0


def run_restart(given: dict[str, Value], argv: Sequence[str]) -> int:
    from buildkit_py.compose import plan_end

    values, names = read(RESTART, argv)
    _act(
        given, names,
        lambda name, there: plan_end.restart(
            name, there, names, no_dependencies=bool(values["no_deps"])
        ),
        stop_seconds=seconds_of(values["timeout"]),
    )  # fmt: skip
    return 0


def run_kill(given: dict[str, Value], argv: Sequence[str]) -> int:
    from buildkit_py.compose import plan_end
    from buildkit_py.engine.signal_names import parse_signal

    values, names = read(KILL, argv)
    signal = parse_signal(str(values["signal"] or "KILL"))
    about = named(given)

    def choose(name: str, there: Observed) -> Plan:
        known = None if about.services is None or values["remove_orphans"] else about.services
        return plan_end.kill(name, there, names, services=known)

    plan = _act(given, names, choose, signal=signal)
    if not plan.actions and not given["dry_run"]:
        print("no container to kill", file=sys.stderr)
    return 0


def run_rm(given: dict[str, Value], argv: Sequence[str]) -> int:
    from buildkit_py.compose import plan_end

    values, names = read(RM, argv)
    about = named(given)
    if not given["dry_run"] and not values["force"]:
        there = containers(looking(), about, names, oneoff=True)
        doomed = [each.spec.name for each in there if values["stop"] or not each.running]
        if doomed and not _agreed(doomed):
            return 0
    plan = _act(
        given, names,
        lambda name, there: plan_end.remove(name, there, names, stop_first=bool(values["stop"])),
        keep_volumes=not values["volumes"],
    )  # fmt: skip
    if not plan.actions:
        print("No stopped containers", file=sys.stderr)
    return 0


def _agreed(doomed: Sequence[str]) -> bool:
    """Ask on the terminal whether containers may go."""
    print(f"? Going to remove {', '.join(doomed)} [yN] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().strip().lower()
    return answer in ("y", "yes")


def run_scale(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, pairs = read(SCALE, argv)
    if not pairs:
        raise BadOption("`pycompose scale` needs SERVICE=NUMBER")
    names = [pair.partition("=")[0] for pair in pairs]
    from buildkit_py.cli import compose_up

    words = [word for pair in pairs for word in ("--scale", pair)]
    more = ["--no-deps"] if values["no_deps"] else []
    return compose_up.run_up(given, ["-d", "--no-recreate", *more, *words, *names])


def run_wait(given: dict[str, Value], argv: Sequence[str]) -> int:
    """Wait; docker compose's exit code 42 for what cannot be waited for is our usual one."""
    values, names = read(WAIT, argv)
    if not names:
        raise BadOption("`pycompose wait` needs a service")
    about = named(given)
    engine = looking()
    found = containers(engine, about, names)
    if not found:
        from buildkit_py.compose.waiting import ServiceFailed

        raise ServiceFailed(f"no containers for project `{about.name}`")
    code = 0
    group = engine.project(about.name)
    for known in found:
        code = group.wait(known.spec.id)
        print(f'container "{known.spec.id}" exited with status code {code}')
        if values["down_project"]:
            break
    if values["down_project"]:
        from buildkit_py.cli import compose_up

        compose_up.run_down(given, [])
    return code


COMMANDS = {
    "stop": (STOP, run_stop),
    "start": (START, run_start),
    "restart": (RESTART, run_restart),
    "kill": (KILL, run_kill),
    "rm": (RM, run_rm),
    "scale": (SCALE, run_scale),
    "wait": (WAIT, run_wait),
}


def run(name: str, given: dict[str, Value], argv: Sequence[str]) -> int:
    """Carry out one of the commands here and return its exit code."""
    command, work = COMMANDS[name]
    try:
        return work(given, argv)
    except HelpWanted:
        from buildkit_py.cli.help import print_help

        print_help(command)
        return 0
