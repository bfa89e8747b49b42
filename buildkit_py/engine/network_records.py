"""Networks that are remembered: ROOT/networks/NAME.json. Each belongs to one group's supervisor.

The network itself, bridge and rules, exists while that supervisor runs (runtime/network/switch).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from buildkit_py.core.data import dataclass, field
from buildkit_py.core.errors import InputError
from buildkit_py.core.files import Lock, write_atomically
from buildkit_py.engine import coding, containers
from buildkit_py.engine.clock import now

PREDEFINED = ("bridge", "host", "none", "default")
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME = _FIRST | frozenset("_.-")


class UnknownNetwork(InputError):
    code = "engine/unknown-network"


class NetworkTaken(InputError):
    code = "engine/network-taken"


class NetworkInUse(InputError):
    code = "engine/network-in-use"


class BadNetworkName(InputError):
    code = "engine/bad-network-name"


class ForeignNetwork(InputError):
    """A container wants into a network that another group's supervisor looks after."""

    code = "engine/foreign-network"


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """owner: the group whose supervisor has it; subnet, gateway: "" are chosen at its start"""

    name: str
    id: str
    owner: str
    created: str
    labels: Mapping[str, str] = field(default_factory=dict)
    internal: bool = False
    subnet: str = ""
    gateway: str = ""


def _path(root: str, name: str) -> str:
    return os.path.join(root, "networks", f"{name}.json")


def check_name(name: str) -> None:
    """Raise BadNetworkName for what is no name of a network: it becomes a part of a path."""
    if not name or name[0] not in _FIRST or not _NAME.issuperset(name):
        raise BadNetworkName(
            f"invalid network name `{name}`", hint="letters, digits, `_`, `.` and `-`"
        )


def create(
    root: str,
    name: str,
    *,
    owner: str | None,
    labels: Mapping[str, str] | None = None,
    internal: bool = False,
    subnet: str = "",
    gateway: str = "",
) -> NetworkRecord:
    """Remember a network. owner: None is a group of its own, `network.NAME`.

    Raises BadNetworkName, NetworkTaken, BadSubnet.
    """
    if name in PREDEFINED:
        raise NetworkTaken(f"operation is not permitted on predefined {name} network")
    check_name(name)
    if subnet:
        from buildkit_py.runtime.network import subnets

        subnets.check_gateway(subnets.parse(subnet), gateway)
    record = NetworkRecord(
        name, os.urandom(32).hex(), f"network.{name}" if owner is None else owner, now(),
        dict(labels or {}), internal, subnet, gateway,
    )  # fmt: skip
    with _locked(root):
        if os.path.exists(_path(root, name)):
            raise NetworkTaken(f"network with name {name} already exists")
        write_atomically(_path(root, name), coding.to_bytes(record))
    return record


def find(root: str, text: str) -> NetworkRecord:
    """Return the network of a name, an id, or the beginning of one. Raises UnknownNetwork."""
    records = list_networks(root)
    found = [each for each in records if each.name == text]
    found = found or [each for each in records if text and each.id.startswith(text)]
    if len(found) != 1:
        raise _unknown(text)
    return found[0]


def list_networks(root: str) -> list[NetworkRecord]:
    """Return all networks that are remembered, sorted by name."""
    try:
        names = sorted(os.listdir(os.path.join(root, "networks")))
    except FileNotFoundError:
        return []
    records = []
    for name in names:
        if name.endswith(".json"):
            try:
                with open(os.path.join(root, "networks", name), "rb") as file:
                    data = file.read()
            except FileNotFoundError:
                continue
            record = coding.from_bytes(data, {"NetworkRecord": NetworkRecord}, f"network `{name}`")
            assert isinstance(record, NetworkRecord)
            records.append(record)
    return records


def users(root: str, name: str) -> list[containers.Known]:
    """Return the containers that are to be in a network, running or not."""
    return [
        known
        for known in containers.all_of(root)
        if any(use.name == name for use in known.spec.networks)
    ]


def pool(record: NetworkRecord, endpoints: Sequence[containers.Endpoint]) -> tuple[str, str]:
    """Return subnet and gateway of a network, as far as they are known; "" where not.

    endpoints: of containers that are in it now. What was not asked for is chosen when the first
    one joins, and can be another one the next time.
    """
    from ipaddress import IPv4Network

    for each in endpoints:
        network = IPv4Network((each.address, each.prefix), strict=False)
        return str(network), each.gateway
    if not record.subnet:
        return "", ""
    first = str(IPv4Network(record.subnet).network_address + 1)
    return record.subnet, record.gateway or first


def remove(root: str, name: str) -> None:
    """Forget a network. Raises NetworkInUse while a container in it runs, UnknownNetwork."""
    with _locked(root):
        active = [known.spec for known in users(root, name) if known.running]
        if active:
            raise in_use(name, active)
        try:
            os.unlink(_path(root, name))
        except FileNotFoundError:
            raise _unknown(name) from None


def in_use(name: str, inside: Iterable[containers.ContainerSpec]) -> NetworkInUse:
    """Return the complaint about a network that containers are in."""
    names = ", ".join(f'name:"{spec.name}" id:"{spec.id[:12]}"' for spec in inside)
    return NetworkInUse(f"network {name} has active endpoints ({names})")


def _unknown(text: str) -> UnknownNetwork:
    return UnknownNetwork(f"network {text} not found", hint="`pyengine network ls` lists them")


def _locked(root: str) -> Lock:
    for name in ("networks", "locks"):
        os.makedirs(os.path.join(root, name), mode=0o700, exist_ok=True)
    return Lock(os.path.join(root, "locks", "networks"))
