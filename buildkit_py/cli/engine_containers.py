"""`pyengine` for containers that last: create, start, stop, kill, restart, rm, ps, logs, wait."""

from __future__ import annotations

import sys

from buildkit_py.cli.engine_images import ROOT, root_of, text_of, texts_of, wrong_arguments
from buildkit_py.cli.reader import Command, Option, read
from buildkit_py.core.errors import BuildkitError, InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from buildkit_py.cli.reader import Value
    from buildkit_py.engine.client import Engine
    from buildkit_py.engine.containers import Known
    from buildkit_py.engine.logs import Line

_MANY = "CONTAINER..."
_TIME = Option("-t --time", "text", "Seconds before it is killed; -1 waits for ever",
               metavar="SECONDS")  # fmt: skip
START = Command("pyengine start", "Start containers that do not run.", (ROOT,), arguments=_MANY,
                unsupported=("-a", "--attach", "--detach-keys", "-i", "--interactive"))  # fmt: skip
STOP = Command(
    "pyengine stop", "Stop containers: their stop signal, and after some time SIGKILL.",
    (ROOT, Option("-s --signal", "text", "Signal to send first", metavar="NAME"), _TIME),
    arguments=_MANY,
)  # fmt: skip
RESTART = Command(
    "pyengine restart", "Stop containers and start them again.",
    (ROOT, Option("-s --signal", "text", "Signal to send first", metavar="NAME"), _TIME),
    arguments=_MANY,
)  # fmt: skip
KILL = Command(
    "pyengine kill", "Send a signal to the first process of containers.",
    (ROOT, Option("-s --signal", "text", "Signal to send", metavar="NAME", default="KILL")),
    arguments=_MANY,
)  # fmt: skip
RM = Command(
    "pyengine rm", "Remove containers.",
    (
        Option("-f --force", "flag", "Kill those that run"),
        ROOT,
        Option("-v --volumes", "flag", "Remove their volumes without a name, too"),
    ),
    arguments=_MANY,
    unsupported=("-l", "--link", "--keep-logs"),
)  # fmt: skip
PS = Command(
    "pyengine ps", "List containers that run, or with -a all.",
    (
        Option("-a --all", "flag", "List all containers"),
        Option("-f --filter", "list", "Only those that fit: id, label, name, status",
               metavar="KEY=VALUE"),
        Option("--format", "text", "`json`, `table`, or a template", metavar="FORMAT"),
        Option("--no-trunc", "flag", "Show whole ids and commands"),
        Option("-q --quiet", "flag", "Show only ids"),
        ROOT,
    ),
    arguments="",
    unsupported=("-l", "--latest", "-n", "--last", "-s", "--size"),
)  # fmt: skip
LOGS = Command(
    "pyengine logs", "Show what a container wrote.",
    (
        Option("-f --follow", "flag", "Go on with what comes, until the container ends"),
        ROOT,
        Option("-n --tail", "text", "Only so many of the last lines, or `all`", metavar="NUMBER",
               default="all"),
        Option("-t --timestamps", "flag", "Show when each line was written"),
    ),
    arguments="CONTAINER",
    unsupported=("--details", "--since", "--until"),
)  # fmt: skip
WAIT = Command("pyengine wait", "Wait until containers end, and print their exit codes.", (ROOT,),
               arguments=_MANY)  # fmt: skip


def looking(values: dict[str, Value]) -> Engine:
    """Open the engine for what changes no file of the root."""
    from buildkit_py.core.dirs import run_dir
    from buildkit_py.engine.client import Engine

    return Engine.open(root_of(values), run_dir())


def changing(values: dict[str, Value]) -> Engine:
    """Open the engine for what does. Rootless, its files belong to ids of a namespace."""
    from buildkit_py.core.dirs import run_dir
    from buildkit_py.core.signals import miss_none
    from buildkit_py.engine.client import Engine
    from buildkit_py.runtime.userns import enter

    root, run = root_of(values), run_dir()  # before we look like root
    host = enter()
    miss_none()
    return Engine.open(root, run, host=host)


def each(
    command: Command, engine: Engine, names: Sequence[str], work: Callable[[Known], str | None]
) -> int:
    """Do something with each container, and print its name as it was given, or what comes back."""
    from buildkit_py.cli.common import report

    if not names:
        raise wrong_arguments(command, "takes at least one container")
    code = 0
    with engine:
        for name in names:
            try:
                said = work(engine.find(name))
                print(name if said is None else said, flush=True)
            except BuildkitError as error:
                report(error)
                code = 1
    return code


def run_start(argv: Sequence[str]) -> int:
    values, names = read(START, argv)
    from buildkit_py.cli.notices import tell_news
    from buildkit_py.engine.events import News

    engine = looking(values)

    def start(known: Known) -> None:
        news = News(engine.root, known.spec.group)
        engine.start(known)
        tell_news(news)

    return each(START, engine, names, start)


def _seconds(values: dict[str, Value]) -> float | None:
    text = text_of(values, "time")
    try:
        return float(text) if text else None
    except ValueError:
        raise InputError(f"invalid `--time` `{text}`", code="cli/bad-number") from None


def _signal(values: dict[str, Value]) -> int:
    from buildkit_py.engine.signal_names import parse_signal

    text = text_of(values, "signal")
    return parse_signal(text) if text else 0


def run_stop(argv: Sequence[str]) -> int:
    values, names = read(STOP, argv)
    engine, seconds, number = looking(values), _seconds(values), _signal(values)

    def stop(known: Known) -> None:
        engine.stop(known, seconds=seconds, number=number)

    return each(STOP, engine, names, stop)


def run_restart(argv: Sequence[str]) -> int:
    values, names = read(RESTART, argv)
    engine, seconds, number = looking(values), _seconds(values), _signal(values)

    def restart(known: Known) -> None:
        with engine.group_of(known) as group:
            if known.running:
                group.stop(known.spec.id, seconds=seconds, number=number)
            group.start(known.spec.id)

    return each(RESTART, engine, names, restart)


def run_kill(argv: Sequence[str]) -> int:
    values, names = read(KILL, argv)
    engine, number = looking(values), _signal(values)
    return each(KILL, engine, names, lambda known: engine.kill(known, number))


def run_rm(argv: Sequence[str]) -> int:
    values, names = read(RM, argv)
    engine = changing(values)
    force, volumes = bool(values["force"]), bool(values["volumes"])
    return each(RM, engine, names, lambda known: engine.remove(known, force=force, volumes=volumes))


def run_wait(argv: Sequence[str]) -> int:
    values, names = read(WAIT, argv)
    engine = looking(values)
    return each(WAIT, engine, names, lambda known: str(engine.wait(known)))


def run_ps(argv: Sequence[str]) -> int:
    values, arguments = read(PS, argv)
    if arguments:
        raise wrong_arguments(PS, "takes no arguments")
    from buildkit_py.cli import tables

    fits = _filter(texts_of(values, "filter"))
    wanted = [
        known
        for known in looking(values).containers()
        if (values["all"] or known.running or fits.any_status) and fits(known)
    ]
    whole = bool(values["no_trunc"])
    if values["quiet"]:
        for known in wanted:
            print(known.spec.id if whole else known.spec.id[:12])
        return 0
    rows = [_fields(known, whole=whole) for known in wanted]
    columns = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"]
    headings = {"ID": "CONTAINER ID", "RunningFor": "CREATED"}
    print(tables.render(rows, text_of(values, "format"), columns, headings), end="")
    return 0


class _filter:
    """The filters of `ps`: values of one key are alternatives, keys all count."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.wanted: dict[str, list[str]] = {}
        for text in texts:
            key, equals, value = text.partition("=")
            if not equals or key not in ("id", "label", "name", "status"):
                raise InputError(
                    f"invalid filter '{text}'", code="cli/bad-filter",
                    hint="`id=`, `label=`, `name=` or `status=`",
                )  # fmt: skip
            self.wanted.setdefault(key, []).append(value)

    @property
    def any_status(self) -> bool:
        return "status" in self.wanted

    def __call__(self, known: Known) -> bool:
        import re

        spec = known.spec
        labels = {f"{key}={value}" for key, value in spec.labels.items()} | set(spec.labels)
        found: dict[str, Callable[[str], bool]] = {
            "id": lambda text: spec.id.startswith(text),
            "name": lambda text: bool(re.search(text, spec.name)),
            "status": lambda text: known.state.status == text,
        }
        return all(text in labels for text in self.wanted.get("label", [])) and all(
            any(test(text) for text in self.wanted[key])
            for key, test in found.items()
            if key in self.wanted
        )


def _fields(known: Known, *, whole: bool) -> dict[str, str]:
    from buildkit_py.cli.tables import age, moment

    spec = known.spec
    return {
        "Command": command_of(known, whole=whole),
        "CreatedAt": moment(spec.created),
        "ID": spec.id if whole else spec.id[:12],
        "Image": spec.image,
        "Labels": ",".join(f"{key}={value}" for key, value in spec.labels.items()),
        "Mounts": ",".join(spec.volumes),
        "Names": spec.name,
        "Networks": ",".join(use.name for use in spec.networks) or spec.network_mode,
        "Ports": ports_of(known),
        "RunningFor": age(spec.created),
        "State": known.state.status,
        "Status": status_of(known),
    }


def command_of(known: Known, *, whole: bool) -> str:
    """Return docker's COMMAND: words with blanks in quotes, cut to 20 characters."""
    words = known.spec.container.args
    command = " ".join((words[0], *(f"'{each}'" if " " in each else each for each in words[1:])))
    return f'"{command if whole or len(command) <= 20 else f"{command[:19]}…"}"'


def status_of(known: Known) -> str:
    """Return docker's words for the state of a container."""
    from buildkit_py.cli.tables import age

    state = known.state
    match state.status:
        case "created":
            return "Created"
        case "running":
            health = {"": "", "starting": " (health: starting)"}.get(
                state.health.status if state.health else "",
                f" ({state.health.status if state.health else ''})",
            )
            return f"Up {age(state.started).removesuffix(' ago')}{health}"
        case "restarting":
            return f"Restarting ({state.exit_code}) {age(state.finished)}"
        case _:
            return f"Exited ({state.exit_code}) {age(state.finished)}"


def ports_of(known: Known) -> str:
    """Return the ports as docker lists them: exposed ones, then published ones and where."""
    shown = []
    published = set()
    for port in sorted(known.state.ports, key=lambda port: (port.container_port, port.host_ip)):
        published.add(f"{port.container_port}/{port.protocol}")
        addresses = (port.host_ip,) if port.host_ip else ("0.0.0.0", "[::]")
        inner = f"{port.container_port}/{port.protocol}"
        shown += [f"{address}:{port.host_port}->{inner}" for address in addresses]
    exposed = known.spec.exposed_ports if known.running else ()
    return ", ".join([*ranges_of(port for port in exposed if port not in published), *shown])


def ranges_of(ports: Iterable[str]) -> list[str]:
    """Return ports such as `80/tcp` sorted, those in a row as `80-82/tcp`."""
    numbers: dict[str, set[int]] = {}
    for port in ports:
        text, _, protocol = port.partition("/")
        if text.isdigit():
            numbers.setdefault(protocol or "tcp", set()).add(int(text))
    rows: list[tuple[int, int, str]] = []
    for protocol, found in numbers.items():
        for number in sorted(found):
            if number - 1 in found:
                first, _, _ = rows.pop()
                rows.append((first, number, protocol))
            else:
                rows.append((number, number, protocol))
    return [
        f"{first}/{protocol}" if first == last else f"{first}-{last}/{protocol}"
        for first, last, protocol in sorted(rows)
    ]


def run_logs(argv: Sequence[str]) -> int:
    values, names = read(LOGS, argv)
    if len(names) != 1:
        raise wrong_arguments(LOGS, "takes one container")
    text = text_of(values, "tail")
    tail = int(text) if text.isascii() and text.isdigit() else None  # as docker: else all
    engine = looking(values)
    lines = engine.logs(engine.find(names[0]), tail=tail, go_on=bool(values["follow"]))
    show_lines(lines, timestamps=bool(values["timestamps"]))
    return 0


def show_lines(lines: Iterable[Line], *, timestamps: bool) -> None:
    """Write each line to the stream that it was written to."""
    streams = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}
    fresh = dict.fromkeys(streams, True)
    for line in lines:
        out = streams[line.stream]
        if timestamps and fresh[line.stream]:
            out.write(line.time.encode() + b" ")
        out.write(line.text.encode("utf-8", "surrogateescape"))
        fresh[line.stream] = line.text.endswith("\n")
        out.flush()


COMMANDS: dict[str, tuple[Command, Callable[[Sequence[str]], int]]] = {
    "kill": (KILL, run_kill),
    "logs": (LOGS, run_logs),
    "ps": (PS, run_ps),
    "restart": (RESTART, run_restart),
    "rm": (RM, run_rm),
    "start": (START, run_start),
    "stop": (STOP, run_stop),
    "wait": (WAIT, run_wait),
}
