"""`pyengine network` and `pyengine volume`: ls, create, rm, inspect."""

from __future__ import annotations

import json

from buildkit_py.cli.engine_containers import changing, looking
from buildkit_py.cli.engine_images import ROOT, root_of, text_of, texts_of, wrong_arguments
from buildkit_py.cli.reader import Command, Option, read
from buildkit_py.core.errors import BuildkitError, InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from buildkit_py.cli.reader import Value
    from buildkit_py.engine.network_records import NetworkRecord
    from buildkit_py.engine.volume_records import Volume

_FORMAT = Option("--format", "text", "`json`, `table`, or a template", metavar="FORMAT")
_TEMPLATE = Option("-f --format", "text", "`json`, or a template such as {{.Name}}",
                   metavar="FORMAT")  # fmt: skip
_QUIET = Option("-q --quiet", "flag", "Show only names")
_FORCE = Option("-f --force", "flag", "Do not mind one that is missing")
_LABEL = Option("--label", "list", "Set a label", metavar="NAME=VALUE")

NETWORK_LS = Command("pyengine network ls", "List networks.",
                     (_FORMAT, Option("-q --quiet", "flag", "Show only ids"), ROOT), arguments="",
                     unsupported=("-f", "--filter", "--no-trunc"))  # fmt: skip
NETWORK_CREATE = Command(
    "pyengine network create", "Make a network, and print its id.",
    (
        Option("-d --driver", "text", "Only `bridge` yet", metavar="NAME", default="bridge"),
        Option("--gateway", "text", "Address of its gateway", metavar="IP"),
        Option("--internal", "flag", "Let nothing out"),
        _LABEL,
        ROOT,
        Option("--subnet", "text", "Its subnet", metavar="CIDR"),
    ),
    arguments="NAME",
    unsupported=("--attachable", "--aux-address", "--config-from", "--config-only", "--ingress",
                 "--ip-range", "--ipam-driver", "--ipam-opt", "--ipv4", "--ipv6", "-o", "--opt",
                 "--scope"),
)  # fmt: skip
NETWORK_RM = Command("pyengine network rm", "Remove networks.", (_FORCE, ROOT),
                     arguments="NETWORK...")  # fmt: skip
NETWORK_INSPECT = Command("pyengine network inspect", "Show all that is known of networks.",
                          (_TEMPLATE, ROOT), arguments="NETWORK...",
                          unsupported=("-v", "--verbose"))  # fmt: skip
VOLUME_LS = Command("pyengine volume ls", "List volumes.", (_FORMAT, _QUIET, ROOT), arguments="",
                    unsupported=("-f", "--filter", "--cluster"))  # fmt: skip
VOLUME_CREATE = Command(
    "pyengine volume create", "Make a volume, and print its name.",
    (
        Option("-d --driver", "text", "Only `local` yet", metavar="NAME", default="local"),
        _LABEL,
        ROOT,
    ),
    arguments="[NAME]",
    unsupported=("-o", "--opt"),
)  # fmt: skip
VOLUME_RM = Command("pyengine volume rm", "Remove volumes and what is in them.", (_FORCE, ROOT),
                    arguments="VOLUME...")  # fmt: skip
VOLUME_INSPECT = Command("pyengine volume inspect", "Show all that is known of volumes.",
                         (_TEMPLATE, ROOT), arguments="VOLUME...")  # fmt: skip


def _labels(values: dict[str, Value]) -> dict[str, str]:
    pairs = (text.partition("=") for text in texts_of(values, "label"))
    return {name: value for name, _, value in pairs}


def _only(values: dict[str, Value], driver: str) -> None:
    if text_of(values, "driver") != driver:
        raise InputError(
            f"the driver `{text_of(values, 'driver')}` is not supported yet",
            code="cli/bad-choice",
            hint=f"`{driver}`",
        )


def _list(
    values: dict[str, Value],
    rows: Sequence[Mapping[str, str]],
    columns: Sequence[str],
    headings: Mapping[str, str],
    quiet: str,
) -> int:
    from buildkit_py.cli import tables

    if values["quiet"]:
        print("".join(f"{row[quiet]}\n" for row in rows), end="")
    else:
        print(tables.render(rows, text_of(values, "format"), columns, headings), end="")
    return 0


def _show(
    command: Command,
    values: dict[str, Value],
    names: Sequence[str],
    find: Callable[[str], dict[str, Any]],
) -> int:
    from buildkit_py.cli.common import report
    from buildkit_py.cli.templates import fill

    if not names:
        raise wrong_arguments(command, "needs a name")
    found, code = [], 0
    for name in names:
        try:
            found.append(find(name))
        except BuildkitError as error:
            report(error)
            code = 1
    form = text_of(values, "format")
    if form in ("", "json"):
        print(json.dumps(found, indent=None if form else 4, ensure_ascii=False))
    else:
        print("".join(f"{fill(form, each)}\n" for each in found), end="")
    return code


def _remove(
    command: Command,
    values: dict[str, Value],
    names: Sequence[str],
    remove: Callable[[str], object],
) -> int:
    from buildkit_py.cli.common import report

    if not names:
        raise wrong_arguments(command, "needs a name")
    code = 0
    for name in names:
        try:
            remove(name)
        except BuildkitError as error:
            if values["force"] and error.code in (
                "engine/unknown-network",
                "engine/unknown-volume",
            ):
                continue
            report(error)
            code = 1
            continue
        print(name, flush=True)
    return code


def run_network_ls(argv: Sequence[str]) -> int:
    values, _ = read(NETWORK_LS, argv)
    rows = [
        {
            "CreatedAt": each.created,
            "Driver": "bridge",
            "ID": each.id[:12],
            "Internal": str(each.internal).lower(),
            "Labels": ",".join(f"{key}={value}" for key, value in each.labels.items()),
            "Name": each.name,
            "Scope": "local",
        }
        for each in looking(values).networks()
    ]
    return _list(values, rows, ["ID", "Name", "Driver", "Scope"], {"ID": "NETWORK ID"}, "ID")


def run_network_create(argv: Sequence[str]) -> int:
    values, names = read(NETWORK_CREATE, argv)
    if len(names) != 1:
        raise wrong_arguments(NETWORK_CREATE, "takes one name")
    _only(values, "bridge")
    record = looking(values).create_network(
        names[0], labels=_labels(values), internal=bool(values["internal"]),
        subnet=text_of(values, "subnet"), gateway=text_of(values, "gateway"),
    )  # fmt: skip
    print(record.id)
    return 0


def run_network_rm(argv: Sequence[str]) -> int:
    values, names = read(NETWORK_RM, argv)
    return _remove(NETWORK_RM, values, names, looking(values).remove_network)


def run_network_inspect(argv: Sequence[str]) -> int:
    values, names = read(NETWORK_INSPECT, argv)
    from buildkit_py.engine import network_records

    root = root_of(values)

    def find(name: str) -> dict[str, Any]:
        return _network(root, network_records.find(root, name))

    return _show(NETWORK_INSPECT, values, names, find)


def _network(root: str, record: NetworkRecord) -> dict[str, Any]:
    from buildkit_py.engine import network_records

    places = [
        (known.spec, endpoint)
        for known in network_records.users(root, record.name)
        for endpoint in known.state.endpoints
        if endpoint.network == record.name
    ]
    inside = {
        spec.id: {
            "Name": spec.name,
            "MacAddress": endpoint.mac,
            "IPv4Address": f"{endpoint.address}/{endpoint.prefix}",
        }
        for spec, endpoint in places
    }
    subnet, gateway = network_records.pool(record, [endpoint for _, endpoint in places])
    # Without a subnet that was asked for, one is chosen when the first container joins.
    config = [{"Subnet": subnet, "Gateway": gateway}] if subnet else []
    return {
        "Name": record.name,
        "Id": record.id,
        "Created": record.created,
        "Scope": "local",
        "Driver": "bridge",
        "IPAM": {"Driver": "default", "Config": config},
        "Internal": record.internal,
        "Containers": inside,
        "Options": {},
        "Labels": dict(record.labels),
    }


def run_volume_ls(argv: Sequence[str]) -> int:
    values, _ = read(VOLUME_LS, argv)
    engine = looking(values)
    rows = [
        {
            "Driver": "local",
            "Labels": ",".join(f"{key}={value}" for key, value in each.labels.items()),
            "Mountpoint": each.path(engine.root),
            "Name": each.name,
            "Scope": "local",
        }
        for each in engine.volumes()
    ]
    return _list(values, rows, ["Driver", "Name"], {"Name": "VOLUME NAME"}, "Name")


def run_volume_create(argv: Sequence[str]) -> int:
    values, names = read(VOLUME_CREATE, argv)
    if len(names) > 1:
        raise wrong_arguments(VOLUME_CREATE, "takes one name at the most")
    _only(values, "local")
    import os

    from buildkit_py.engine.mounts import check_volume_name

    name = names[0] if names else os.urandom(32).hex()
    check_volume_name(name)
    with changing(values) as engine:
        engine.ensure_volume(name, _labels(values))
    print(name)
    return 0


def run_volume_rm(argv: Sequence[str]) -> int:
    values, names = read(VOLUME_RM, argv)
    with changing(values) as engine:
        return _remove(VOLUME_RM, values, names, engine.remove_volume)


def run_volume_inspect(argv: Sequence[str]) -> int:
    values, names = read(VOLUME_INSPECT, argv)
    from buildkit_py.engine import volume_records

    root = root_of(values)

    def find(name: str) -> dict[str, Any]:
        return _volume(root, volume_records.read(root, name))

    return _show(VOLUME_INSPECT, values, names, find)


def _volume(root: str, volume: Volume) -> dict[str, Any]:
    return {
        "CreatedAt": volume.created,
        "Driver": "local",
        "Labels": dict(volume.labels),
        "Mountpoint": volume.path(root),
        "Name": volume.name,
        "Options": None,
        "Scope": "local",
    }


NETWORK = {
    "create": (NETWORK_CREATE, run_network_create),
    "inspect": (NETWORK_INSPECT, run_network_inspect),
    "ls": (NETWORK_LS, run_network_ls),
    "rm": (NETWORK_RM, run_network_rm),
}
VOLUME = {
    "create": (VOLUME_CREATE, run_volume_create),
    "inspect": (VOLUME_INSPECT, run_volume_inspect),
    "ls": (VOLUME_LS, run_volume_ls),
    "rm": (VOLUME_RM, run_volume_rm),
}
LATER = {"network": ("connect", "disconnect", "prune"), "volume": ("prune", "export", "import")}
