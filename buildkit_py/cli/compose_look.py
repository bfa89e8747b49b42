"""`pycompose ps` and `logs`: a project's containers, from their directories."""

from __future__ import annotations

import sys

from buildkit_py.cli.reader import BadOption, Command, HelpWanted, Option, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildkit_py.cli.reader import Value
    from buildkit_py.engine.client import Engine
    from buildkit_py.engine.containers import Known
    from buildkit_py.engine.logs import Line

PS = Command(
    "pycompose ps",
    "List the project's containers",
    (
        Option("-a --all", "flag", "Also those that do not run"),
        Option("--format", "text", "`table` (default) or `json`", metavar="FORM"),
        Option("-q --quiet", "flag", "Print only ids"),
    ),
    arguments="[SERVICE...]",
    unsupported=("--filter", "--no-trunc", "--orphans", "--services", "--status"),
)

LOGS = Command(
    "pycompose logs",
    "Print what the project's containers wrote",
    (
        Option("-f --follow", "flag", "Go on with what comes"),
        Option("--no-log-prefix", "flag", "Without the containers' names"),
        Option("-n --tail", "text", "Only so many of each one's last lines", metavar="LINES"),
    ),
    arguments="[SERVICE...]",
    unsupported=("--index", "--no-color", "--since", "-t", "--timestamps", "--until"),
)


def _opened(given: dict[str, Value], names: Sequence[str]) -> tuple[Engine, list[Known]]:
    """Return the engine, to look only, and the containers of some services, or of all."""
    from buildkit_py.cli.compose_common import containers, looking, named

    engine = looking()
    return engine, containers(engine, named(given), names)


def run_ps(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, names = read(PS, argv)
    form = values["format"] or "table"
    if form not in ("table", "json"):
        raise BadOption(f"`--format` is `table` or `json`, not `{form}`")
    _, found = _opened(given, names)
    if not values["all"]:
        found = [known for known in found if known.running]
    if values["quiet"]:
        for known in found:
            print(known.spec.id)
        return 0
    rows = [_row(known) for known in found]
    if form == "json":
        import json

        for known, row in zip(found, rows, strict=True):
            print(json.dumps({**row, **_more(known)}))
        return 0
    from buildkit_py.cli.tables import render

    columns = ("Name", "Image", "Command", "Service", "RunningFor", "Status", "Ports")
    print(render(rows, "table", columns, {"RunningFor": "CREATED"}), end="")
    return 0


def _row(known: Known) -> dict[str, str]:
    from buildkit_py.cli.engine_containers import ports_of, status_of
    from buildkit_py.cli.tables import age
    from buildkit_py.compose.request import LABEL

    command = " ".join(known.spec.container.args)
    return {
        "Name": known.spec.name,
        "Image": known.spec.image,
        "Command": f'"{command if len(command) <= 20 else f"{command[:19]}…"}"',
        "Service": known.spec.labels[f"{LABEL}service"],
        "RunningFor": age(known.spec.created),
        "Status": status_of(known),
        "Ports": ports_of(known),
    }


def _more(known: Known) -> dict[str, object]:
    """Return what only JSON has."""
    from buildkit_py.compose.request import LABEL

    health = known.state.health
    return {
        "ID": known.spec.id,
        "Project": known.spec.labels[f"{LABEL}project"],
        "State": known.state.status,
        "Health": health.status if health is not None else "",
        "ExitCode": known.state.exit_code,
    }


def run_logs(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, names = read(LOGS, argv)
    text = str(values["tail"] or "all")
    if text != "all" and not (text.isascii() and text.isdigit()):
        raise BadOption(f"`--tail` takes a whole number or `all`, not `{text}`")
    tail = None if text == "all" else int(text)
    engine, found = _opened(given, names)
    project = {known.spec.name: known.spec.group for known in found}
    short = {name: name.removeprefix(f"{group}-") for name, group in project.items()}
    width = max((len(name) for name in short.values()), default=0)

    def show(known: Known) -> None:
        prefix = "" if values["no_log_prefix"] else f"{short[known.spec.name]:<{width}}  | "
        _print(engine.logs(known, tail=tail, go_on=bool(values["follow"])), prefix)

    if not values["follow"]:
        for known in found:
            show(known)
        return 0
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max(len(found), 1)) as pool:
        list(pool.map(show, found))
    return 0


def _print(lines: Iterable[Line], prefix: str) -> None:
    """Write whole lines, so that those of several containers do not mix."""
    part = ""
    out = sys.stdout.buffer
    for line in lines:
        part += line.text
        if part.endswith("\n"):
            out.write(f"{prefix}{part}".encode("utf-8", "surrogateescape"))
            out.flush()
            part = ""
    if part:
        out.write(f"{prefix}{part}\n".encode("utf-8", "surrogateescape"))
        out.flush()


def run(name: str, given: dict[str, Value], argv: Sequence[str]) -> int:
    """Carry out one of the commands here and return its exit code."""
    command, work = {"ps": (PS, run_ps), "logs": (LOGS, run_logs)}[name]
    try:
        return work(given, argv)
    except HelpWanted:
        from buildkit_py.cli.help import print_help

        print_help(command)
        return 0
