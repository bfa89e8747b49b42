"""`pyruntime state`, `list`, `ps`, `events`, `spec` and `features`: what only tells."""

from __future__ import annotations

import os

from buildkit_py.cli.reader import BadOption, Command, Option
from buildkit_py.cli.runtime_common import one, root_of, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.cli.reader import Value


STATE = Command("pyruntime state", "Print a container's state.", (), arguments="ID")

LIST = Command("pyruntime list", "List containers.",
               (Option("-f --format", "text", "`table` or `json`", metavar="FORMAT"),
                Option("-q --quiet", "flag", "Ids only")), arguments="")  # fmt: skip

PS = Command("pyruntime ps", "List a container's processes.",
             (Option("-f --format", "text", "`table` or `json`", metavar="FORMAT"),),
             arguments="ID [PS OPTIONS]", options_first=True)  # fmt: skip

EVENTS = Command("pyruntime events", "Print what a container uses, until it ends.",
                 (Option("--stats", "flag", "Once, and end"),
                  Option("--interval", "text", "How often", metavar="DURATION", default="5s")),
                 arguments="ID")  # fmt: skip

SPEC = Command("pyruntime spec", "Write a config.json to begin with.",
               (Option("-b --bundle", "text", "Where to", metavar="DIR", default="."),
                Option("--rootless", "flag", "For a user without root")),
               arguments="")  # fmt: skip

FEATURES = Command("pyruntime features", "Print what this runtime carries out.", (), arguments="")


def _state(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    from buildkit_py.runtime.bundle.state import Place, for_others

    place = Place(root_of(given), one(words, STATE))
    print(for_others(place, place.read()).decode())
    return 0


def _list(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    import json
    import pwd

    from buildkit_py.runtime.bundle.state import DamagedState, NoContainer, Place, for_others, names

    if given["root"] and not os.path.isdir(str(given["root"])):
        raise BadOption(f"--root `{given['root']}`: no such directory")
    rows = []
    for name in names(root_of(given)):
        place = Place(root_of(given), name)
        try:
            state = place.read()
        except NoContainer:
            continue
        except DamagedState as error:
            warn(given, [error.message])
            continue
        rows.append(json.loads(for_others(place, state)))
        try:
            rows[-1]["owner"] = pwd.getpwuid(state.owner).pw_name
        except KeyError:
            rows[-1]["owner"] = f"#{state.owner}"
    if values["quiet"]:
        print("".join(f"{row['id']}\n" for row in rows), end="")
    elif values["format"] == "json":
        print(json.dumps(rows, separators=(",", ":")))
    elif values["format"] in (None, "table"):
        columns = ("id", "pid", "status", "bundle", "created", "owner")
        table = [[column.upper() for column in columns]]
        table += [[str(row[column]) for column in columns] for row in rows]
        widths = [max(len(line[at]) for line in table) for at in range(len(columns))]
        for line in table:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            print("   ".join(cells).rstrip())
    else:
        raise BadOption(f"`--format` is `table` or `json`, not `{values['format']}`")
    return 0


def _ps(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    import json
    import subprocess

    from buildkit_py.runtime.bundle.state import Place, cgroup_of, is_alive

    if not words:
        raise BadOption("`pyruntime ps` takes a container's id")
    state = Place(root_of(given), words[0]).read()
    pids = cgroup_of(state).pids(recursive=True) or [state.pid] * is_alive(state)
    if values["format"] == "json":
        print(json.dumps(pids, separators=(",", ":")))
        return 0
    if values["format"] not in (None, "table"):
        raise BadOption(f"`--format` is `table` or `json`, not `{values['format']}`")
    done = subprocess.run(["ps", *(words[1:] or ["-ef"])], capture_output=True, text=True)
    if done.returncode:
        raise BadOption(f"ps: {done.stderr.strip()}")
    lines = done.stdout.splitlines()
    at = lines[0].split().index("PID") if "PID" in lines[0].split() else -1
    if at < 0:
        raise BadOption("the `ps` options must show the column PID")
    print(lines[0])
    wanted = set(map(str, pids))
    for line in lines[1:]:
        if len(line.split()) > at and line.split()[at] in wanted:
            print(line)
    return 0


def _events(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    from buildkit_py.dockerfile.durations import duration_ns
    from buildkit_py.runtime.bundle.events import follow, once

    id, text = one(words, EVENTS), str(values["interval"])
    try:
        interval_ns = duration_ns(text)
    except ValueError as error:
        raise BadOption(f"`--interval {text}` {error}", hint="as in `500ms` or `5s`") from None
    if interval_ns <= 0:
        raise BadOption(f"`--interval {text}` must be more than 0")
    if values["stats"]:
        print(once(root_of(given), id))
        return 0
    try:
        follow(root_of(given), id, interval_ns / 1e9, lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        return 130
    return 0


def _spec(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    import json

    from buildkit_py.runtime.bundle.template import template

    if words:
        raise BadOption("`pyruntime spec` takes no arguments")
    rootless = bool(values["rootless"])
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    data = template(rootless=rootless, uid=os.geteuid(), gid=os.getegid(), unified=unified)
    path = os.path.join(str(values["bundle"]), "config.json")
    try:
        with open(path, "x") as file:
            file.write(json.dumps(data, indent="\t") + "\n")
    except OSError as error:
        raise BadOption(f"`{path}`: {error.strerror}") from None
    return 0


def _features(given: dict[str, Value], values: dict[str, Value], words: list[str]) -> int:
    import json

    from buildkit_py.runtime.bundle.template import features

    print(json.dumps(features(), indent=2))
    return 0


COMMANDS = {
    "state": (STATE, _state),
    "list": (LIST, _list),
    "ps": (PS, _ps),
    "events": (EVENTS, _events),
    "spec": (SPEC, _spec),
    "features": (FEATURES, _features),
}
