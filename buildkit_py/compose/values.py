"""Values that no container, network or mount can have, each told at its text; all at once.

docker compose hands them on, and docker's daemon refuses them when half of the project is made.
The rules are the daemon's: moby daemon/container.go, daemon/daemon_unix.go, libnetwork/ipamutils.
"""

from __future__ import annotations

from buildkit_py.compose.errors import BadValue
from buildkit_py.compose.tree import dotted, find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from buildkit_py.compose.project import Project
    from buildkit_py.core.errors import InputError

    Data = Mapping[str, Any]

_AMOUNTS = (
    "cpus", "mem_limit", "mem_reservation", "shm_size", "cpu_count", "cpu_percent", "cpu_period",
    "cpu_shares",
)  # fmt: skip
_AMOUNTS_OR_NONE = ("memswap_limit", "pids_limit")
"""Where -1 is no limit."""
_RESTARTS = "`no`, `always`, `unless-stopped`, `on-failure`, `on-failure:3`"
_LEAST_NS = 1_000_000
_MOST_HOSTNAME = 64
"""What sethostname(2) takes."""
MOST_CONTAINERS = 10_000
"""Of one service. A plan has an action for each, and no machine here runs more."""


class _Service:
    """Collects complaints about the values of one service."""

    def __init__(self, project: Project, name: str, errors: list[InputError]) -> None:
        self.project = project
        self.name = name
        self.errors = errors

    def wrong(self, message: str, *path: str, label: str = "", hint: str | None = None) -> None:
        at = ("services", self.name, *path)
        text = f"`{dotted(at)}`: {message}"
        self.errors.append(
            BadValue(text, at=self.project.value_at(*at), label=label, hint=hint)
        )  # fmt: skip

    def key_of_host(self, name: str, address: str) -> str:
        """Return the key or the index of a further host in the files, which are not sorted."""
        node = find(self.project.root, ("services", self.name, "extra_hosts"))
        for at, item in enumerate(node.value if node is not None else ()):
            text = str(getattr(item, "value", ""))
            if text.startswith(name) and address in text:
                return str(at)
        return name

    def tried(self, check: Callable[[], object], *path: str) -> bool:
        """Say whether a check of the engine's passes; what it raises is told at its place."""
        from buildkit_py.core.errors import InputError

        try:
            check()
        except InputError as error:
            error.at = self.project.value_at("services", self.name, *path)
            self.errors.append(error)
            return False
        return True


def check(project: Project) -> list[InputError]:
    """Return what is wrong with the values of the services that are on, and of networks."""
    errors: list[InputError] = []
    for name, service in project.services.items():
        each = _Service(project, name, errors)
        _process(each, service)
        _zero_bytes(each, service)
        _addresses(each, service)
        _amounts(each, service)
        _counts(each, service)
        _ulimits(each, service)
        _mounts(each, service)
        _times(each, service)
        _granted(each, service)
        _logging(each, service)
    for name, network in project.parts("networks").items():
        for at, pool in enumerate((network.get("ipam") or {}).get("config") or ()):
            _pool(project, ("networks", name, "ipam", "config", str(at)), pool, errors)
    return errors


def _process(each: _Service, service: Data) -> None:
    if service.get("container_name"):
        from buildkit_py.engine.containers import check_name

        each.tried(lambda: check_name(service["container_name"]), "container_name")
    if len((service.get("hostname") or "").encode()) > _MOST_HOSTNAME:
        each.wrong(f"a host's name has {_MOST_HOSTNAME} bytes at the most", "hostname")
    folder = service.get("working_dir") or "/"
    if not _is_absolute(folder):
        each.wrong(f"the working directory `{folder}` must be absolute", "working_dir")
    for key in ("cap_add", "cap_drop"):
        for at, name in enumerate(service.get(key) or ()):
            _capability(each, name, key, str(at))
    if "image" in service:
        from buildkit_py.oci.reference import parse_reference

        each.tried(lambda: parse_reference(service["image"]), "image")
    if "stop_signal" in service:
        from buildkit_py.engine.signal_names import parse_signal

        each.tried(lambda: parse_signal(service["stop_signal"]), "stop_signal")
    if "platform" in service:
        from buildkit_py.oci.platform import parse_platform

        each.tried(lambda: parse_platform(service["platform"]), "platform")
    if not _is_restart(service.get("restart", "no")):
        message = f"`{service['restart']}` is no restart policy"
        each.wrong(message, "restart", label=f"one of {_RESTARTS}")
    for at, port in enumerate(service.get("expose") or ()):
        from buildkit_py.dockerfile.config import exposed_ports

        place = each.project.value_at("services", each.name, "expose", str(at))
        each.tried(lambda port=port, place=place: exposed_ports([port], place), "expose", str(at))  # type: ignore[misc]


def _zero_bytes(each: _Service, service: Data) -> None:
    """No argument and no variable has a zero byte: it is where the kernel ends both."""
    for key in ("command", "entrypoint", "environment", "labels"):
        part = service.get(key) or ()
        items = part.items() if isinstance(part, dict) else enumerate(part)
        for name, value in items:
            if "\0" in f"{name}{value}":
                each.wrong("it holds a zero byte", key, str(name))


def _addresses(each: _Service, service: Data) -> None:
    """Addresses in networks, and those of further hosts, are addresses."""
    for host in service.get("extra_hosts") or ():
        name, _, address = host.partition("=")
        if address != "host-gateway" and not _is_address(address):
            message = f"`{address}` is no IP address, nor `host-gateway`"
            each.wrong(message, "extra_hosts", each.key_of_host(name, address))
    for key, use in (service.get("networks") or {}).items():
        network = each.project.parts("networks").get(key) or {}
        pools = (network.get("ipam") or {}).get("config") or ()
        subnets = [pool["subnet"] for pool in pools if pool.get("subnet")]
        for name in ("ipv4_address", "ipv6_address"):
            text, path = (use or {}).get(name), ("networks", key, name)
            if not text:
                continue
            if not _is_address(text) or (":" in text) != (name == "ipv6_address"):
                each.wrong(f"`{text}` is no {'IPv6' if '6' in name else 'IPv4'} address", *path)
            elif not network.get("external") and not subnets:
                hint = "give the network an `ipam` with a `subnet` that holds it"
                each.wrong(f"the network `{key}` has no subnet of its own choice", *path, hint=hint)
            elif subnets and all(map(_is_subnet, subnets)):
                from ipaddress import ip_address, ip_network

                found = [ip_network(each, strict=False) for each in subnets]
                if not any(ip_address(text) in network for network in found):
                    each.wrong(f"`{text}` is not in the subnet `{subnets[0]}`", *path)
                elif what := _taken(text, pools):
                    each.wrong(f"`{text}` is {what}: no container can have it", *path)


def _taken(text: str, pools: Sequence[Data]) -> str:
    """Say what else an address of a network is, "" if it is free for a container."""
    from ipaddress import ip_address, ip_network

    address = ip_address(text)
    for pool in pools:
        if pool.get("gateway") and text == str(pool["gateway"]):
            return "the gateway"
        subnet = ip_network(pool["subnet"], strict=False) if pool.get("subnet") else None
        if subnet is None or subnet.version == 6 or address not in subnet:
            continue
        if address == subnet.network_address:
            return "the network's own address"
        if address == subnet.broadcast_address:
            return "the network's broadcast address"
        if not pool.get("gateway") and address == subnet.network_address + 1:
            return "the gateway"
    return ""


def _is_address(text: str) -> bool:
    from buildkit_py.compose.ports import is_address

    return is_address(text)


def _is_subnet(text: str) -> bool:
    from ipaddress import ip_network

    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _capability(each: _Service, name: str, *path: str) -> None:
    from buildkit_py.core.text import did_you_mean
    from buildkit_py.runtime.kernel.capabilities import NAMES

    short = name.upper().removeprefix("CAP_")
    if short != "ALL" and short not in NAMES:
        hint = did_you_mean(short, NAMES) or "capabilities(7) has their names"
        each.wrong(f"there is no capability `{name}`", *path, hint=hint)


def _is_absolute(path: str) -> bool:
    from buildkit_py.compose.mounts import is_windows_path

    # What is for Windows is not ours to judge.
    return path.startswith("/") or is_windows_path(path)


def _is_restart(text: str) -> bool:
    name, colon, most = text.partition(":")
    if name == "on-failure":
        return not colon or (most.isascii() and most.isdigit())
    return not colon and name in ("no", "always", "unless-stopped")


def _amounts(each: _Service, service: Data) -> None:
    """Amounts are not negative; those of memory are enough, and fit together."""
    found: list[tuple[str, tuple[str, ...], int]] = [(key, (key,), 0) for key in _AMOUNTS]
    found += [(key, (key,), -1) for key in _AMOUNTS_OR_NONE]
    resources = (service.get("deploy") or {}).get("resources") or {}
    for section in ("limits", "reservations"):
        found += [
            (key, ("deploy", "resources", section, key), -1 if key == "pids" else 0)
            for key in ("cpus", "memory", "pids")
        ]
    count, is_bounded = len(each.errors), False
    for key, path, least in found:
        part: Any = service if len(path) == 1 else resources.get(path[2])
        value = (part or {}).get(key)
        is_bounded = is_bounded or (value is not None and "mem" in key)
        # Not a number compares with nothing.
        if value is not None and not least <= float(value) < float("inf"):
            none = ", or `-1` for no limit" if least < 0 else ""
            each.wrong(f"`{_shown(value)}` is no amount: it must be 0 or more{none}", *path)
    if is_bounded and len(each.errors) == count:
        _memory(each, service, resources)


def _counts(each: _Service, service: Data) -> None:
    for part, path in ((service, ("scale",)), (service.get("deploy"), ("deploy", "replicas"))):
        if ((part or {}).get(path[-1]) or 0) > MOST_CONTAINERS:
            each.wrong(f"a service has {MOST_CONTAINERS} containers at the most", *path)


def _shown(value: object) -> str:
    from buildkit_py.compose.scalars import go_text

    return go_text(value)


def _memory(each: _Service, service: Data, resources: Data) -> None:
    from buildkit_py.engine.limit_checks import BadLimit
    from buildkit_py.engine.limit_checks import check as check_limits
    from buildkit_py.runtime.spec import Limits

    paths: dict[str, tuple[str, ...]] = {"swap": ("memswap_limit",)}
    sizes = {"swap": int(service.get("memswap_limit") or 0)}
    for name, key, section in (
        ("memory", "mem_limit", "limits"),
        ("reservation", "mem_reservation", "reservations"),
    ):
        there = (resources.get(section) or {}).get("memory")
        paths[name] = (key,) if there is None else ("deploy", "resources", section, "memory")
        sizes[name] = int((service.get(key) or 0) if there is None else there)
    try:
        check_limits(
            Limits(
                memory_bytes=sizes["memory"],
                swap_bytes=sizes["swap"],
                reservation_bytes=sizes["reservation"],
            )
        )
    except BadLimit as error:
        error.at = each.project.value_at("services", each.name, *paths[error.about])
        each.errors.append(error)


def _ulimits(each: _Service, service: Data) -> None:
    from buildkit_py.core.text import did_you_mean
    from buildkit_py.runtime.spec import RLIMITS

    for name, value in (service.get("ulimits") or {}).items():
        if name not in RLIMITS:
            path = ("services", each.name, "ulimits", name)
            each.errors.append(
                BadValue(
                    f"`{dotted(path)}`: there is no such limit",
                    at=each.project.at(*path),
                    label=f"one of {', '.join(f'`{known}`' for known in RLIMITS)}",
                    hint=did_you_mean(name, RLIMITS),
                )
            )
            continue
        soft, hard = (value["soft"], value["hard"]) if type(value) is dict else (value, value)
        for key, number in (("soft", soft), ("hard", hard)):
            if number < -1:
                inner = (key,) if type(value) is dict else ()
                message = f"`{number}` is no limit: it must be 0 or more, or `-1` for none"
                each.wrong(message, "ulimits", name, *inner)
                break
        else:
            if 0 <= hard < (soft if soft >= 0 else hard + 1):
                each.wrong(
                    f"the soft limit `{soft}` is above the hard one", "ulimits", name, "soft"
                )


def _mounts(each: _Service, service: Data) -> None:
    for at, mount in enumerate(service.get("volumes") or ()):
        target, path = mount.get("target", ""), ("volumes", str(at), "target")
        if not _is_absolute(target):
            each.wrong(f"the mount path `{target}` must be absolute", *path)
        elif target == "/" and mount.get("type") not in ("npipe", "cluster"):
            each.wrong("nothing can be mounted at `/`", *path)
        elif _is_in_proc(target) and mount.get("type") not in ("npipe", "cluster"):
            each.wrong("nothing can be mounted in `/proc`", *path)
    if service.get("tmpfs"):
        from buildkit_py.engine.mounts import parse_tmpfs

        for at, text in enumerate(service["tmpfs"]):
            each.tried(lambda text=text: parse_tmpfs(text), "tmpfs", str(at))  # type: ignore[misc]


def _is_in_proc(target: str) -> bool:
    from buildkit_py.compose.mounts import clean

    return clean(target).split("/")[1:2] == ["proc"]


def _times(each: _Service, service: Data) -> None:
    from buildkit_py.compose.units import duration_ns

    if duration_ns(service.get("stop_grace_period", "0")) < 0:
        each.wrong(f"`{service['stop_grace_period']}` is negative", "stop_grace_period")
    check = service.get("healthcheck") or {}
    for key in ("interval", "timeout", "start_period", "start_interval"):
        time = duration_ns(check.get(key, "0"))
        if time and time < _LEAST_NS:
            each.wrong(f"`{check[key]}` is less than a millisecond", "healthcheck", key)
    for path, part in (
        (("healthcheck", "retries"), check),
        (
            ("deploy", "restart_policy", "max_attempts"),
            (service.get("deploy") or {}).get("restart_policy") or {},
        ),
    ):
        if (part.get(path[-1]) or 0) < 0:
            each.wrong(f"`{part[path[-1]]}` is negative", *path)


def _granted(each: _Service, service: Data) -> None:
    for section in ("secrets", "configs"):
        for at, granted in enumerate(service.get(section) or ()):
            if ".." in (granted.get("target") or "").split("/"):
                each.wrong("a target has no `..`", section, str(at), "target")
            for key in ("uid", "gid"):
                number = granted.get(key) or "0"
                if not (number.isascii() and number.isdigit()):
                    message = f"`{number}` is no number: names are not looked up"
                    each.wrong(message, section, str(at), key)


def _logging(each: _Service, service: Data) -> None:
    """Bounds of logs are amounts; other drivers and options are not ours to judge."""
    logging = service.get("logging") or {}
    options = logging.get("options") or {}
    if not options or logging.get("driver", "json-file") not in ("json-file", "local"):
        return
    from buildkit_py.engine.log_bounds import OPTIONS, parse

    for key in OPTIONS:
        if key in options:
            given = {key: options[key]}
            each.tried(lambda given=given: parse("", given), "logging", "options", key)  # type: ignore[misc]


def _pool(project: Project, path: tuple[str, ...], pool: Data, errors: list[InputError]) -> None:
    """A subnet is one, and addresses lie in it."""
    from ipaddress import ip_address, ip_network

    def wrong(message: str, *more: str, hint: str | None = None) -> None:
        at = (*path, *more)
        errors.append(BadValue(f"`{dotted(at)}`: {message}", at=project.value_at(*at), hint=hint))

    network = None
    if text := pool.get("subnet"):
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            wrong(f"`{text}` is no subnet", "subnet", hint="write it as `10.1.2.0/24`")
            return
        bits = network.max_prefixlen
        if "/" not in text:
            wrong(f"`{text}` has no prefix length", "subnet", hint=f"`{text}/24`, say")
        elif str(network.network_address) != str(ip_address(text.partition("/")[0])):
            wrong(
                f"`{text}` has bits behind its prefix", "subnet", hint=f"it should be `{network}`"
            )
        elif bits == 32 and not 8 <= network.prefixlen <= 30:
            wrong(f"`{text}` must have a prefix from /8 to /30", "subnet")
    addresses: list[tuple[tuple[str, ...], str]] = [
        (("aux_addresses", name), each) for name, each in (pool.get("aux_addresses") or {}).items()
    ]
    if gateway := pool.get("gateway"):
        addresses.insert(0, (("gateway",), gateway))
        if network is None:
            wrong("a gateway needs a subnet", "gateway", hint="add the `subnet` that it is in")
    for key, address in addresses:
        try:
            number = ip_address(address)
        except ValueError:
            wrong(f"`{address}` is no IP address", *key)
            continue
        if network is not None and number not in network:
            wrong(f"`{address}` is not in the subnet `{network}`", *key)
