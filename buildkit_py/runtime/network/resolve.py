"""The text of /etc/resolv.conf and /etc/hosts for one container.

Counterparts: moby daemon/libnetwork/resolvconf, etchosts. The functions that make text are
pure; only `host_resolver` and `host_hosts` read files.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import HostError

RESOLV_CONF = "/etc/resolv.conf"
# What systemd-resolved itself asks; its stub 127.0.0.53 is out of a container's reach.
RESOLVED_CONF = "/run/systemd/resolve/resolv.conf"
PUBLIC_NAMESERVERS = ("8.8.8.8", "8.8.4.4")  # docker's own last resort
HOST_GATEWAY = "host-gateway"

_FIXED_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


class HostOutOfReach(HostError):
    code = "network/host-out-of-reach"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"`{name}:{HOST_GATEWAY}` has no address: containers cannot reach this host",
            hint="use the network of the host, or an address of another machine",
        )


@dataclass(frozen=True, slots=True)
class Resolver:
    """What a resolv.conf says; search and options are single lines, "" when absent."""

    nameservers: tuple[str, ...] = ()
    search: str = ""
    options: str = ""


def parse(text: str) -> Resolver:
    """Read a resolv.conf as resolv.conf(5) has it: of `search` and `domain` the last one wins."""
    nameservers, search, options = [], "", []
    for line in text.splitlines():
        keyword, *values = line.split("#")[0].split(";")[0].split() or [""]
        if keyword == "nameserver" and values:
            nameservers.append(values[0])
        elif keyword in ("search", "domain"):
            search = " ".join(values)
        elif keyword == "options":
            options += values
    return Resolver(tuple(nameservers), search, " ".join(options))


def reachable(nameservers: Sequence[str]) -> list[str]:
    """Return those that a container can ask: IPv4, and not on a loopback."""
    found = []
    for text in nameservers:
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError:
            continue  # IPv6, with or without a zone, or nonsense that the host ignores too
        if not address.is_loopback and not address.is_unspecified:
            found.append(text)
    return found


def on_loopback(nameservers: Sequence[str]) -> str:
    """Return the first IPv4 nameserver on the loopback, "" where there is none."""
    for text in nameservers:
        try:
            if ipaddress.IPv4Address(text).is_loopback:
                return text
        except ValueError:
            continue
    return ""


def host_resolver(path: str = RESOLV_CONF, resolved: str = RESOLVED_CONF) -> Resolver:
    """Read the host's resolver; behind systemd-resolved's stub, the servers that it asks itself."""
    resolver = parse(_read(path))
    if resolver.nameservers and not reachable(resolver.nameservers):
        behind = parse(_read(resolved))
        if reachable(behind.nameservers):
            return behind
    return resolver


def resolv_conf(host: Resolver, *, forwarder: str = "") -> tuple[str, list[str]]:
    """Return the text of a container's resolv.conf, and notices.

    forwarder: address of the uplink's own forwarder, used where no server of the host's can be
    """
    notices = []
    nameservers = reachable(host.nameservers)
    if not nameservers and forwarder:
        nameservers = [forwarder]
    if not nameservers:
        nameservers = list(PUBLIC_NAMESERVERS)
        notices.append(
            "no nameserver of this host can be reached from a container: "
            f"using {' and '.join(nameservers)}"
        )
    lines = [f"nameserver {address}" for address in nameservers]
    if host.search:
        lines.append(f"search {host.search}")
    if host.options:
        lines.append(f"options {host.options}")
    return "\n".join(lines) + "\n", notices


def inner_resolv_conf(host: Resolver, address: str) -> str:
    """Return the text of a resolv.conf that leads to a nameserver of ours, as docker writes it."""
    lines = [f"nameserver {address}"]
    if host.search:
        lines.append(f"search {host.search}")
    options = host.options.split()
    if not any(each.startswith("ndots:") for each in options):
        options.append("ndots:0")
    lines.append(f"options {' '.join(options)}")
    return "\n".join(lines) + "\n"


def hosts(
    *,
    address: str = "",
    hostname: str = "",
    add: Sequence[tuple[str, str]] = (),
    host_address: str = "",
) -> str:
    """Return the text of a container's /etc/hosts: docker's lines, then added ones, then its own.

    address: of the container; "" in a network that gives none
    add: (name, address) pairs; the address `host-gateway` stands for `host_address`

    Raises HostOutOfReach where `host-gateway` is asked for and there is no such address.
    """
    lines = [_FIXED_HOSTS]
    for name, given in add:
        if given == HOST_GATEWAY and not host_address:
            raise HostOutOfReach(name)
        lines.append(f"{host_address if given == HOST_GATEWAY else given}\t{name}\n")
    if address and hostname:
        lines.append(f"{address}\t{hostname}\n")
    return "".join(lines)


def host_hosts(add: Sequence[tuple[str, str]] = (), path: str = "/etc/hosts") -> str:
    """Return the host's own /etc/hosts with added lines, for a container in the host's network.

    `host-gateway` is the loopback there.
    """
    text = _read(path)
    if text and not text.endswith("\n"):
        text += "\n"
    return text + "".join(
        f"{'127.0.0.1' if given == HOST_GATEWAY else given}\t{name}\n" for name, given in add
    )


def _read(path: str) -> str:
    """Return the text of a file, "" for one that is absent: both files are optional."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except FileNotFoundError:
        return ""
