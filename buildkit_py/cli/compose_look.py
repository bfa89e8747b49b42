"""`pycompose ps`, `port`, `top`, `images`, `ls`, `volumes`: looking at projects, with or without
files."""

from __future__ import annotations

from buildkit_py.cli.compose_common import (
    changing,
    containers,
    looking,
    named,
)
from buildkit_py.cli.reader import BadOption, Command, Option, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Sequence
    from typing import Any

    from buildkit_py.cli.reader import Value
    from buildkit_py.engine.containers import Known

_FORMAT = Option("--format", "text", "`table` (default) or `json`", metavar="FORM")
_STATUSES = ("created", "running", "restarting", "paused", "removing", "exited", "dead")

PS = Command(
    "pycompose ps",
    "List the project's containers that run, or with -a all",
    (
        Option("-a --all", "flag", "Also those that do not run, and those that `run` made"),
        Option("--filter", "list", "Only those that fit: status=", metavar="KEY=VALUE"),
        Option("--format", "text", "`table` (default), `json`, or a template", metavar="FORM"),
        Option("--no-trunc", "flag", "Show whole ids and commands"),
        Option("--orphans", "flag", "Also those of services that are not in the files (default)",
               default=True),
        Option("-q --quiet", "flag", "Print only ids"),
        Option("--services", "flag", "Print only the names of services"),
        Option("--status", "list", "Only those in this state", metavar="STATE"),
    ),
    arguments="[SERVICE...]",
)  # fmt: skip
PORT = Command(
    "pycompose port",
    "Print where a port of a service is published",
    (
        Option("--index", "text", "Of which of its containers", metavar="NUMBER"),
        Option("--protocol", "text", "tcp (default) or udp", metavar="PROTOCOL"),
    ),
    arguments="SERVICE PRIVATE_PORT",
)
TOP = Command(
    "pycompose top", "List the processes of containers", (), arguments="[SERVICE...]"
)  # fmt: skip
IMAGES = Command(
    "pycompose images",
    "List the images that containers were made from",
    (_FORMAT, Option("-q --quiet", "flag", "Print only ids")),
    arguments="[SERVICE...]",
)
LS = Command(
    "pycompose ls",
    "List the projects that run, or with -a all",
    (
        Option("-a --all", "flag", "Also projects of which nothing runs"),
        Option("--filter", "list", "Only those that fit: name=", metavar="KEY=VALUE"),
        _FORMAT,
        Option("-q --quiet", "flag", "Print only names"),
    ),
    arguments="",
)
VOLUMES = Command(
    "pycompose volumes",
    "List the project's volumes",
    (_FORMAT, Option("-q --quiet", "flag", "Print only names")),
    arguments="[SERVICE...]",
)


def run_ps(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, names = read(PS, argv)
    about = named(given)
    found = containers(looking(), about, names, oneoff=bool(values["all"]))
    states = _states(values)
    if not values["orphans"] and about.services is not None:
        found = [known for known in found if _service(known) in about.services]
    found = [
        known
        for known in found
        if (known.state.status in states if states else values["all"] or known.running)
    ]
    whole = bool(values["no_trunc"])
    if values["services"]:
        for service in dict.fromkeys(_service(known) for known in found):
            print(service)
    elif values["quiet"]:
        for known in found:
            print(known.spec.id)
    else:
        from buildkit_py.cli.tables import render

        form = str(values["format"] or "table")
        rows = [_row(known, whole=whole) for known in found]
        if form == "json":
            import json

            for row, known in zip(rows, found, strict=True):
                print(json.dumps({**row, **_more(known)}, ensure_ascii=False))
            return 0
        columns = ("Name", "Image", "Command", "Service", "RunningFor", "Status", "Ports")
        print(render(rows, form, columns, {"RunningFor": "CREATED"}), end="")
    return 0


def _states(values: dict[str, Value]) -> set[str]:
    """Return the states that are asked for, none where any is good. Raises BadOption."""
    given = values["status"]
    states = list(given) if isinstance(given, list) else []
    filters = values["filter"]
    for text in filters if isinstance(filters, list) else ():
        key, equals, value = text.partition("=")
        if key != "status" or not equals:
            raise BadOption(f"`--filter {text}`: only `status=` is known")
        states.append(value)
    for state in states:
        if state not in _STATUSES:
            raise BadOption(f"`{state}` is no state of containers: {', '.join(_STATUSES)}")
    return set(states)


def _service(known: Known) -> str:
    from buildkit_py.compose.observe import service_of

    return service_of(known)


def _row(known: Known, *, whole: bool) -> dict[str, str]:
    from buildkit_py.cli.engine_containers import command_of, ports_of, status_of
    from buildkit_py.cli.tables import age, moment
    from buildkit_py.compose.request import LABEL

    spec = known.spec
    return {
        "Command": command_of(known, whole=whole),
        "CreatedAt": moment(spec.created),
        "ExitCode": str(known.state.exit_code),
        "Health": known.state.health.status if known.state.health is not None else "",
        "ID": spec.id if whole else spec.id[:12],
        "Image": spec.image,
        "Labels": ",".join(f"{key}={value}" for key, value in spec.labels.items()),
        "LocalVolumes": str(len(spec.volumes) + len(spec.anonymous)),
        "Mounts": ",".join(spec.volumes),
        "Name": spec.name,
        "Names": spec.name,
        "Networks": ",".join(use.name for use in spec.networks) or spec.network_mode,
        "Ports": ports_of(known),
        "Project": spec.labels[f"{LABEL}project"],
        "RunningFor": age(spec.created),
        "Service": _service(known),
        "Size": "0B",
        "State": known.state.status,
        "Status": status_of(known),
    }


def _more(known: Known) -> dict[str, Any]:
    """Return what is no text in JSON."""
    published: list[dict[str, Any]] = [
        {
            "URL": address,
            "TargetPort": port.container_port,
            "PublishedPort": port.host_port,
            "Protocol": port.protocol,
        }
        for port in known.state.ports
        for address in ((port.host_ip,) if port.host_ip else ("0.0.0.0", "::"))
    ]
    bound = {(port.container_port, port.protocol) for port in known.state.ports}
    for text in known.spec.exposed_ports if known.running else ():
        number, _, protocol = text.partition("/")
        if number.isdigit() and (int(number), protocol or "tcp") not in bound:
            published.append(
                {"URL": "", "TargetPort": int(number), "PublishedPort": 0,
                 "Protocol": protocol or "tcp"}
            )  # fmt: skip
    published.sort(key=lambda each: (each["TargetPort"], each["URL"]))
    return {"ExitCode": known.state.exit_code, "Publishers": published}


def run_port(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, words = read(PORT, argv)
    if len(words) != 2:
        raise BadOption("`pycompose port` needs a service and a port")
    service, text = words
    number, slash, protocol = text.partition("/")
    protocol = (protocol if slash else str(values["protocol"] or "tcp")).lower()
    if not number.isascii() or not number.isdigit():
        raise BadOption(f"`{text}` is no port")
    known = one_of(containers(looking(), named(given), [service]), service, values["index"])
    for port in known.state.ports:
        if port.container_port == int(number) and port.protocol == protocol:
            print(f"{port.host_ip or '0.0.0.0'}:{port.host_port}")
            return 0
    from buildkit_py.compose.waiting import ServiceFailed

    raise ServiceFailed(f"no port {number}/{protocol} for container {known.spec.name}")


def one_of(found: Sequence[Known], service: str, index: Value) -> Known:
    """Return the container of an index, the first one where none is given.

    Raises ServiceFailed, BadOption.
    """
    from buildkit_py.compose.observe import is_oneoff, number_of
    from buildkit_py.compose.waiting import ServiceFailed

    text = str(index or "0")
    if not text.isascii() or not text.isdigit():
        raise BadOption(f"`--index` takes a whole number, not `{text}`")
    for known in sorted(found, key=lambda each: (is_oneoff(each), number_of(each))):
        if text == "0" or (number_of(known) == int(text) and not is_oneoff(known)):
            return known
    which = "" if text == "0" else f" #{text}"
    raise ServiceFailed(f'service "{service}" has no container{which}')


def run_top(given: dict[str, Value], argv: Sequence[str]) -> int:
    _, names = read(TOP, argv)
    about = named(given)
    engine = looking()
    group = engine.project(about.name)
    for known in containers(engine, about, names):
        if known.running:
            print(known.spec.name)
            print(_processes(group.processes(known.spec.id)))
    return 0


_TOP = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")


def _processes(rows: Sequence[dict[str, Any]]) -> str:
    from buildkit_py.cli.tables import render

    booted = _boot_seconds()
    return render([_process(row, booted) for row in rows], "table", _TOP, {})


def _boot_seconds() -> int:
    with open("/proc/stat", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("btime "))


def _process(row: dict[str, Any], booted: int) -> dict[str, str]:
    import pwd
    import time

    try:
        user = pwd.getpwuid(row["uid"]).pw_name
    except KeyError:
        user = str(row["uid"])
    began = booted + row["start"]
    age = max(time.time() - began, 0.001)
    seconds = int(row["seconds"])
    form = "%H:%M" if age < 86400 else "%b%d"
    return {
        "UID": user,
        "PID": str(row["pid"]),
        "PPID": str(row["ppid"]),
        "C": str(int(min(row["seconds"] / age, 1) * 100)),
        "STIME": time.strftime(form, time.localtime(began)),
        "TTY": "?",
        "TIME": f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}",
        "CMD": row["args"],
    }


def run_images(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, names = read(IMAGES, argv)
    form = _form(values)
    about = named(given)
    with changing() as engine:
        rows = [
            _image(engine.store, known) for known in containers(engine, about, names, oneoff=True)
        ]
    if values["quiet"]:
        for id in dict.fromkeys(row["ID"] for row in rows):
            print(id.partition(":")[2])
    elif form == "json":
        import json

        print(json.dumps(rows))
    else:
        from buildkit_py.cli.tables import render

        shown = [
            {**row, "ID": row["ID"].partition(":")[2][:12], "Size": _size(row["Size"])}
            for row in rows
        ]
        columns = ("ContainerName", "Repository", "Tag", "ID", "Size")
        print(render(shown, "table", columns, {"ContainerName": "CONTAINER", "ID": "IMAGE ID"}),
              end="")  # fmt: skip
    return 0


def _image(store: Any, known: Known) -> dict[str, Any]:
    from buildkit_py.oci.reference import parse_reference
    from buildkit_py.store.images import UnknownImage

    reference = parse_reference(known.spec.image) if ":" not in known.spec.image[:7] else None
    size = 0
    try:
        record = store.images.find(known.spec.image_id)
        size = sum(layer.size for layer in store.images.manifest(record.descriptor.digest).layers)
    except UnknownImage:
        pass  # it was removed meanwhile: the container has what it needs
    familiar = reference.familiar.partition("@")[0] if reference else "<none>"
    tag = (reference.tag if reference else None) or "<none>"
    return {
        "ID": known.spec.image_id,
        "ContainerName": known.spec.name,
        "Repository": familiar.removesuffix(f":{tag}"),
        "Tag": tag,
        "Size": size,
    }


def _size(count: float) -> str:
    """Return a size as docker's client shows it: four digits, in powers of 1000."""
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= 1000 and unit != "TB":
        count, unit = count / 1000, next(units)
    return f"{count:.4g}{unit}"


def run_ls(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, names = read(LS, argv)
    if names:
        raise BadOption("`pycompose ls` takes no arguments")
    from buildkit_py.compose.request import LABEL

    form = _form(values)
    wanted = _name_filters(values)
    projects: dict[str, list[Known]] = {}
    for known in looking().containers({f"{LABEL}project": None}):
        if values["all"] or known.running:
            projects.setdefault(known.spec.labels[f"{LABEL}project"], []).append(known)
    rows = []
    for name, members in sorted(projects.items()):
        if wanted and not any(pattern.search(name) for pattern in wanted):
            continue
        files = dict.fromkeys(
            file
            for known in members
            for file in known.spec.labels.get(f"{LABEL}project.config_files", "").split(",")
            if file
        )
        rows.append({"Name": name, "Status": _statuses(members), "ConfigFiles": ",".join(files)})
    if values["quiet"]:
        for row in rows:
            print(row["Name"])
    elif form == "json":
        import json

        print(json.dumps(rows))
    else:
        from buildkit_py.cli.tables import render

        columns = ("Name", "Status", "ConfigFiles")
        print(render(rows, "table", columns, {"ConfigFiles": "CONFIG FILES"}), end="")
    return 0


def _name_filters(values: dict[str, Value]) -> list[re.Pattern[str]]:
    """Return the expressions of `--filter name=`, of which one must fit. Raises BadOption."""
    import re

    given = values["filter"]
    found = []
    for text in given if isinstance(given, list) else ():
        key, equals, value = text.partition("=")
        if key != "name" or not equals:
            raise BadOption(f"`--filter {text}`: only `name=` is known")
        try:
            found.append(re.compile(value))
        except re.error as error:
            raise BadOption(f"`--filter {text}`: {error}") from None
    return found


def _statuses(members: Sequence[Known]) -> str:
    """Return docker compose's summary: `exited(1), running(2)`."""
    counts: dict[str, int] = {}
    for known in members:
        counts[known.state.status] = counts.get(known.state.status, 0) + 1
    return ", ".join(f"{status}({count})" for status, count in sorted(counts.items()))


def run_volumes(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, names = read(VOLUMES, argv)
    from buildkit_py.compose.request import LABEL

    form = _form(values)
    about = named(given)
    engine = looking()
    found = [
        volume for volume in engine.volumes() if volume.labels.get(f"{LABEL}project") == about.name
    ]
    if names:
        used = {each for known in containers(engine, about, names) for each in known.spec.volumes}
        found = [volume for volume in found if volume.name in used]
    if values["quiet"]:
        for volume in found:
            print(volume.name)
        return 0
    from buildkit_py.cli.tables import render

    rows = [
        {
            "Driver": "local",
            "Name": volume.name,
            "Labels": ",".join(f"{key}={value}" for key, value in volume.labels.items()),
            "Mountpoint": volume.path(engine.root),
            "Scope": "local",
        }
        for volume in found
    ]
    print(render(rows, form, ("Driver", "Name"), {"Name": "VOLUME NAME"}), end="")
    return 0


def _form(values: dict[str, Value]) -> str:
    form = str(values["format"] or "table")
    if form not in ("table", "json"):
        raise BadOption(f"`--format` is `table` or `json`, not `{form}`")
    return form


COMMANDS = {
    "ps": (PS, run_ps),
    "port": (PORT, run_port),
    "top": (TOP, run_top),
    "images": (IMAGES, run_images),
    "ls": (LS, run_ls),
    "volumes": (VOLUMES, run_volumes),
}
