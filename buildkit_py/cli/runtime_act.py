"""`pyruntime kill`, `delete`, `pause`, `resume`, `update`: what acts on a container there is."""

from __future__ import annotations

from buildkit_py.cli.reader import BadOption, Command, Option
from buildkit_py.cli.runtime_common import content, one, root_of, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.cli.reader import Value


KILL = Command("pyruntime kill", "Send a signal, SIGTERM unless said otherwise.",
               (Option("-a --all", "flag", "To all processes of the container"),),
               arguments="ID [SIGNAL]")  # fmt: skip

DELETE = Command(
    "pyruntime delete", "Remove what is left of a container.",
    (Option("-f --force", "flag", "Kill it first"),
     Option("-r --regex", "flag", "All whose whole id matches")),
    arguments="ID",
)  # fmt: skip

PAUSE = Command("pyruntime pause", "Stop all processes of a container.", (), arguments="ID")

RESUME = Command("pyruntime resume", "Let a paused container go on.", (), arguments="ID")

_NUMBERS = {
    "blkio-weight": ("blockIO", "weight", "Weight of input and output"),
    "cpu-period": ("cpu", "period", "Period of the quota, in microseconds"),
    "cpu-quota": ("cpu", "quota", "Processor time in each period, in microseconds"),
    "cpu-burst": ("cpu", "burst", "What may be saved up, in microseconds"),
    "cpu-share": ("cpu", "shares", "Weight among others"),
    "cpu-rt-period": ("cpu", "realtimePeriod", "Period for real-time programs"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime", "Their time in each period"),
    "cpu-idle": ("cpu", "idle", "1: only when nobody else wants the processor"),
    "memory": ("memory", "limit", "Bytes or a size such as `512M`, -1 without end"),
    "memory-reservation": ("memory", "reservation", "Bytes that are kept when memory is short"),
    "memory-swap": ("memory", "swap", "Bytes of memory and swap together"),
    "pids-limit": ("pids", "limit", "Processes, -1 without end"),
}
_TEXTS = {
    "cpuset-cpus": ("cpu", "cpus", "Processors, such as `0-2,5`"),
    "cpuset-mems": ("cpu", "mems", "Nodes of memory"),
}
"""Options of `update` and what they are in `linux.resources`."""
_SCHEMATA = {
    "l3-cache-schema": ("L3:", "Share of the cache, such as `L3:0=7f0`"),
    "mem-bw-schema": ("MB:", "Share of the memory's bandwidth, such as `MB:0=20`"),
}
UPDATE = Command(
    "pyruntime update", "Change the resources of a container.",
    (
        Option("-r --resources", "text", "JSON of `linux.resources`, `-` is stdin; only this",
               metavar="FILE"),
        *(Option(f"--{name}", "text", row[2], metavar="NUMBER") for name, row in _NUMBERS.items()),
        *(Option(f"--{name}", "text", row[2], metavar="LIST") for name, row in _TEXTS.items()),
        *(Option(f"--{name}", "text", row[1], metavar="SCHEMA") for name, row in _SCHEMATA.items()),
    ),
    arguments="ID",
)  # fmt: skip


def _kill(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    from buildkit_py.engine.signal_names import parse_signal
    from buildkit_py.runtime.bundle.end import kill

    if len(words) not in (1, 2):
        raise BadOption("`pyruntime kill` takes a container's id and a signal")
    name = words[1] if len(words) == 2 else "TERM"
    number = 0 if name == "0" else parse_signal(name)  # 0 only asks whether it runs
    kill(root_of(given), words[0], number, all_=bool(values["all"]))
    return 0


def _delete(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    from buildkit_py.runtime.bundle.end import delete

    root, id = root_of(given), one(words, DELETE)
    for each in _matching(root, id) if values["regex"] else [id]:
        warn(given, delete(root, each, force=bool(values["force"])))
    return 0


def _matching(root: str, pattern: str) -> list[str]:
    import re

    from buildkit_py.runtime.bundle.state import names

    try:
        return [name for name in names(root) if re.fullmatch(pattern, name)]
    except re.error as error:
        raise BadOption(f"`{pattern}` is no regular expression: {error}") from None


def _pause(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    from buildkit_py.runtime.bundle.end import pause

    pause(root_of(given), one(words, PAUSE))
    return 0


def _resume(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    from buildkit_py.runtime.bundle.end import resume

    resume(root_of(given), one(words, RESUME))
    return 0


def _update(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    from buildkit_py.oci.runtime_config_reader import read_resources
    from buildkit_py.runtime.bundle.state import Place, cgroup_of

    place = Place(root_of(given), one(words, UPDATE))
    state = place.read()
    schemata = _schemata(values)
    path = values["resources"]
    data = content(str(path)) if path else _resources(values)
    if data == b"{}" and not schemata:
        raise BadOption("there is nothing to update")
    if schemata:
        from buildkit_py.oci.runtime_config_reader import read
        from buildkit_py.runtime.bundle.resctrl import Group

        config = read(place.config()).linux.intel_rdt
        if config is None:
            raise BadOption(f"container `{place.id}` has no `linux.intelRdt` to update")
        Group(config, place.id).update(schemata)
    warn(given, cgroup_of(state).update(read_resources(data)))
    return 0


def _schemata(values: dict[str, Value]) -> list[str]:
    found = []
    for name, (prefix, _) in _SCHEMATA.items():
        text = str(values[name.replace("-", "_")] or "")
        if text and not text.startswith(prefix):
            raise BadOption(f"`--{name} {text}` does not start with `{prefix}`")
        found += [text] * bool(text)
    return found


def _resources(values: dict[str, Value]) -> bytes:
    """Return `linux.resources` of the options, `{}` where there are none. Raises BadOption."""
    import json

    data: dict[str, dict[str, int | str]] = {}
    for name, (part, key, _) in {**_NUMBERS, **_TEXTS}.items():
        value = values[name.replace("-", "_")]
        if value is None:
            continue
        if name in _TEXTS:
            data.setdefault(part, {})[key] = str(value)
            continue
        try:
            data.setdefault(part, {})[key] = _number(str(value), part)
        except ValueError:
            raise BadOption(f"`--{name}` takes a number, not `{value}`") from None
    return json.dumps(data).encode()


def _number(text: str, part: str) -> int:
    """Read a number; of memory a size, too, such as `512M`. Raises ValueError."""
    if part != "memory":
        return int(text)
    from buildkit_py.compose.units import size_bytes

    return size_bytes(text)


COMMANDS = {
    "kill": (KILL, _kill),
    "delete": (DELETE, _delete),
    "pause": (PAUSE, _pause),
    "resume": (RESUME, _resume),
    "update": (UPDATE, _update),
}
