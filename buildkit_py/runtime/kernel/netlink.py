"""Links, addresses and routes through rtnetlink: hand-written, `socket` and `struct` only.

A `Request` is one change as plain data, made by the pure functions below; `Netlink.run` sends
several in one datagram and checks the kernel's answer to each. The socket belongs to the network
namespace in which it was opened, wherever the process that holds it is: that is how a builder
that never leaves its own namespace sets up links in another one.

Why not pyroute2: its import costs 260 ms. Sources: netlink(7), rtnetlink(7),
include/uapi/linux/{netlink,rtnetlink,if_link,if_addr}.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import HostError

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_ACK_TLVS = 0x200
NLA_F_NESTED = 0x8000
NLMSGERR_ATTR_MSG = 1

SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

IFF_UP = 0x1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 10, 18
IFLA_AF_SPEC, IFLA_NET_NS_FD = 26, 28
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IFLA_INET_CONF, IPV4_DEVCONF_FORWARDING = 1, 1
IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE = 8, 1
VETH_INFO_PEER = 1

IFA_ADDRESS, IFA_LOCAL, IFA_LABEL = 1, 2, 3
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_METRICS, RTA_TABLE = 1, 4, 5, 8, 15
RTN_UNICAST, RT_TABLE_MAIN, RTPROT_STATIC = 1, 254, 4
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_HOST = 0, 253, 254

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix, flags, scope, index
ROUTE = struct.Struct(
    "=BBBBBBBBI"
)  # rtmsg: family, dst, src, tos, table, proto, scope, type, flags
U32 = struct.Struct("=I")

IPV6_ABSENT = frozenset({errno.EAFNOSUPPORT, errno.EOPNOTSUPP})
_BUFFER_BYTES = 1 << 16
_PATIENCE = struct.pack("@ll", 5, 0)  # timeval; the kernel answers within sendmsg(2) itself


class NetlinkError(HostError):
    """The kernel refused a change to the network.

    operation: what was asked for, in words
    errno: the kernel's answer
    """

    code = "network/netlink"

    def __init__(self, operation: str, number: int, detail: str = "") -> None:
        name = errno.errorcode.get(number, str(number))
        words = f"{os.strerror(number)} ({name})" + (f": {detail}" if detail else "")
        super().__init__(f"cannot {operation}: {words}")
        self.operation = operation
        self.errno = number


@dataclass(frozen=True, slots=True)
class Request:
    """One message to the kernel.

    operation: what it does, in words that follow "cannot"
    tolerate: error numbers that mean that there is nothing to do
    """

    operation: str
    kind: int
    payload: bytes
    flags: int = 0
    tolerate: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Link:
    """One interface; `master` is the index of its bridge or 0."""

    index: int
    name: str
    mtu: int
    up: bool
    master: int
    kind: str


@dataclass(frozen=True, slots=True)
class Address:
    index: int
    address: str
    prefix: int


@dataclass(frozen=True, slots=True)
class Route:
    """One IPv4 route; the default one has the destination 0.0.0.0 and the prefix 0.

    kind: rtm_type, 1 is unicast; gateway: "" for a destination on the link
    """

    destination: str
    prefix: int
    gateway: str
    index: int
    table: int
    kind: int


def attribute(kind: int, data: bytes) -> bytes:
    """Encode one attribute, padded to 4 bytes."""
    return ATTRIBUTE.pack(4 + len(data), kind) + data + bytes(-len(data) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, U32.pack(value))


def message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """Encode one message; every payload of ours is a multiple of 4 bytes already."""
    return HEADER.pack(16 + len(payload), kind, flags, sequence, 0) + payload


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Take a datagram apart into (type, flags, sequence, payload).

    Raises ValueError on a length that does not fit.
    """
    at = 0
    while at + 16 <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
        if length < 16 or at + length > len(data):
            raise ValueError(f"a netlink message of {length} bytes in {len(data) - at}")
        yield kind, flags, sequence, data[at + 16 : at + length]
        at += length + -length % 4


def attributes(data: bytes) -> dict[int, bytes]:
    """Decode attributes by type, without the flag bits; of equal types the last one stands.

    Raises ValueError on a length that does not fit.
    """
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < 4 or at + length > len(data):
            raise ValueError(f"a netlink attribute of {length} bytes in {len(data) - at}")
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += length + -length % 4
    return found


def _ipv4(value: str) -> bytes:
    return socket.inet_aton(value)


def add_bridge(name: str, *, mtu: int, mac: bytes) -> Request:
    """Make a bridge. mac: 6 bytes; without one of its own it would change with its ports."""
    payload = (
        LINK.pack(0, 0, 0, 0, 0)
        + text(IFLA_IFNAME, name)
        + u32(IFLA_MTU, mtu)
        + attribute(IFLA_ADDRESS, mac)
        + nested(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"bridge"))
    )
    return Request(f"make the bridge `{name}`", RTM_NEWLINK, payload, NLM_F_CREATE | NLM_F_EXCL)


def add_veth(
    name: str,
    peer: str,
    *,
    peer_netns_fd: int,
    mtu: int,
    master: int = 0,
    up: bool = False,
    peer_mac: bytes = b"",
) -> Request:
    """Make a pair of links, one here and its peer at once in another network namespace.

    peer_netns_fd: descriptor of the peer's namespace, over which we need CAP_NET_ADMIN too
    master: index of the bridge that the near end joins; 0 is none
    peer_mac: 6 bytes; the kernel picks one where it is empty
    """
    flags = IFF_UP if up else 0
    far = (
        LINK.pack(0, 0, 0, 0, 0)
        + text(IFLA_IFNAME, peer)
        + u32(IFLA_MTU, mtu)
        + (attribute(IFLA_ADDRESS, peer_mac) if peer_mac else b"")
        + u32(IFLA_NET_NS_FD, peer_netns_fd)
    )
    payload = (
        LINK.pack(0, 0, 0, flags, flags)
        + text(IFLA_IFNAME, name)
        + u32(IFLA_MTU, mtu)
        + (u32(IFLA_MASTER, master) if master else b"")
        + nested(
            IFLA_LINKINFO,
            attribute(IFLA_INFO_KIND, b"veth"),
            nested(IFLA_INFO_DATA, nested(VETH_INFO_PEER, far)),
        )
    )
    return Request(
        f"make the link pair `{name}` and `{peer}`", RTM_NEWLINK, payload, NLM_F_CREATE | NLM_F_EXCL
    )


def change_link(
    index: int,
    *,
    what: str,
    up: bool | None = None,
    mtu: int = 0,
    name: str = "",
    master: int | None = None,
    netns_fd: int = -1,
    forwarding: bool | None = None,
) -> Request:
    """Change a link; arguments left out leave things as they are.

    what: name of the link for messages
    master: 0 takes it out of its bridge
    forwarding: whether IPv4 packets that arrive here may be forwarded. The per-device switch is
        all that the kernel asks (net/ipv4/route.c, IN_DEV_FORWARD), and unlike the sysctl it is
        reached from outside of the namespace.
    """
    flags = IFF_UP if up else 0
    payload = LINK.pack(0, 0, index, flags, 0 if up is None else IFF_UP)
    if mtu:
        payload += u32(IFLA_MTU, mtu)
    if name:
        payload += text(IFLA_IFNAME, name)
    if master is not None:
        payload += u32(IFLA_MASTER, master)
    if netns_fd >= 0:
        payload += u32(IFLA_NET_NS_FD, netns_fd)
    if forwarding is not None:
        conf = nested(IFLA_INET_CONF, u32(IPV4_DEVCONF_FORWARDING, int(forwarding)))
        payload += nested(IFLA_AF_SPEC, nested(socket.AF_INET, conf))
    return Request(f"change the link `{what}`", RTM_NEWLINK, payload)


def without_ipv6(index: int, *, what: str) -> Request:
    """Give a link that is still down no IPv6 address of its own; fine where there is no IPv6."""
    mode = attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([IN6_ADDR_GEN_MODE_NONE]))
    payload = LINK.pack(0, 0, index, 0, 0) + nested(IFLA_AF_SPEC, nested(socket.AF_INET6, mode))
    return Request(f"keep IPv6 off `{what}`", RTM_NEWLINK, payload, tolerate=IPV6_ABSENT)


def delete_link(index: int, *, what: str) -> Request:
    gone = frozenset({errno.ENODEV})
    return Request(
        f"delete the link `{what}`", RTM_DELLINK, LINK.pack(0, 0, index, 0, 0), tolerate=gone
    )


def add_address(index: int, address: str, prefix: int, *, what: str) -> Request:
    scope = RT_SCOPE_HOST if address.startswith("127.") else RT_SCOPE_UNIVERSE
    payload = (
        ADDRESS.pack(socket.AF_INET, prefix, 0, scope, index)
        + attribute(IFA_LOCAL, _ipv4(address))
        + attribute(IFA_ADDRESS, _ipv4(address))
    )
    return Request(
        f"give `{what}` the address {address}/{prefix}",
        RTM_NEWADDR,
        payload,
        NLM_F_CREATE | NLM_F_EXCL,
    )


def add_route(destination: str, prefix: int, *, gateway: str = "", index: int) -> Request:
    """Add a route to the main table; `0.0.0.0`, 0 is the default route."""
    via = f" via {gateway}" if gateway else ""
    return Request(
        f"add the route {destination}/{prefix}{via}",
        RTM_NEWROUTE,
        _route(destination, prefix, gateway, index),
        NLM_F_CREATE | NLM_F_EXCL,
    )


def delete_route(destination: str, prefix: int, *, gateway: str = "", index: int) -> Request:
    """Delete what `add_route` added; fine where it is gone, as it is with its link."""
    return Request(
        f"delete the route {destination}/{prefix}",
        RTM_DELROUTE,
        _route(destination, prefix, gateway, index),
        tolerate=frozenset({errno.ESRCH, errno.ENODEV}),
    )


def _route(destination: str, prefix: int, gateway: str, index: int) -> bytes:
    payload = ROUTE.pack(
        socket.AF_INET,
        prefix,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_STATIC,
        RT_SCOPE_UNIVERSE if gateway else RT_SCOPE_LINK,
        RTN_UNICAST,
        0,
    )
    if prefix:
        payload += attribute(RTA_DST, _ipv4(destination))
    if gateway:
        payload += attribute(RTA_GATEWAY, _ipv4(gateway))
    return payload + u32(RTA_OIF, index)


def open_socket(protocol: int) -> socket.socket:
    """Open a netlink socket in the current network namespace. Raises OSError."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)


def prepare_socket(handle: socket.socket) -> None:
    """Ask for short answers, for words with errors, and never to wait for ever."""
    handle.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
    handle.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)


def refusal(flags: int, payload: bytes) -> tuple[int, str]:
    """Decode an NLMSG_ERROR: the error number (0 is an acknowledgement) and the kernel's words."""
    (code,) = struct.unpack_from("=i", payload)
    detail = ""
    if flags & NLM_F_ACK_TLVS and code:
        # With NETLINK_CAP_ACK only the header of the request stands before the attributes.
        found = attributes(payload[4 + 16 :])
        detail = found.get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")
    return -code, detail


class Netlink:
    """One rtnetlink socket, used by one thread at a time.

    given: a socket made in another namespace, which this object owns from now on; by default
        one is opened in the current namespace

    Raises NetlinkError, from every method.
    """

    def __init__(self, given: socket.socket | None = None) -> None:
        try:
            self._socket = given if given is not None else open_socket(socket.NETLINK_ROUTE)
            prepare_socket(self._socket)
        except OSError as error:
            raise NetlinkError("open a netlink socket", error.errno or 0) from error
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, *requests: Request) -> None:
        """Make the changes, in order, in one datagram.

        The kernel goes on after a refusal, and then the first one is raised: so what follows
        a request must be harmless without it.
        """
        first = self._sequence + 1
        self._sequence += len(requests)
        self._send(
            requests[0].operation,
            b"".join(
                message(each.kind, each.flags | NLM_F_REQUEST | NLM_F_ACK, first + i, each.payload)
                for i, each in enumerate(requests)
            ),
        )
        waiting = len(requests)
        failed: NetlinkError | None = None
        while waiting:
            for kind, flags, sequence, payload in messages(self._receive(requests[0].operation)):
                if kind != NLMSG_ERROR or not first <= sequence < first + len(requests):
                    continue
                waiting -= 1
                number, detail = refusal(flags, payload)
                request = requests[sequence - first]
                if number and number not in request.tolerate and failed is None:
                    failed = NetlinkError(request.operation, number, detail)
        if failed is not None:
            raise failed

    def links(self) -> list[Link]:
        return [
            _link(payload)
            for payload in self.dump("list the links", RTM_GETLINK, LINK.pack(0, 0, 0, 0, 0))
        ]

    def addresses(self) -> list[Address]:
        """List the IPv4 addresses of the namespace."""
        asked = ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)
        found = []
        for payload in self.dump("list the addresses", RTM_GETADDR, asked):
            _, prefix, _, _, index = ADDRESS.unpack_from(payload)
            given = attributes(payload[ADDRESS.size :])
            local = given.get(IFA_LOCAL) or given.get(IFA_ADDRESS)
            if local is not None:
                found.append(Address(index, socket.inet_ntoa(local), prefix))
        return found

    def routes(self) -> list[Route]:
        """List the IPv4 routes of all tables, those of the kernel's own included."""
        asked = ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        return [
            decode_route(payload) for payload in self.dump("list the routes", RTM_GETROUTE, asked)
        ]

    def link(self, name: str) -> Link:
        """Look one link up by its name."""
        operation = f"find the link `{name}`"
        self._sequence += 1
        asked = LINK.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name)
        self._send(operation, message(RTM_GETLINK, NLM_F_REQUEST, self._sequence, asked))
        while True:
            for kind, flags, sequence, payload in messages(self._receive(operation)):
                if sequence != self._sequence:
                    continue
                if kind == NLMSG_ERROR:
                    raise NetlinkError(operation, *refusal(flags, payload))
                return _link(payload)

    def dump(self, operation: str, kind: int, payload: bytes) -> list[bytes]:
        """Return the payload of each answer to a question about all there are."""
        self._sequence += 1
        self._send(operation, message(kind, NLM_F_REQUEST | NLM_F_DUMP, self._sequence, payload))
        found: list[bytes] = []
        while True:
            for answer, flags, sequence, body in messages(self._receive(operation)):
                if sequence != self._sequence:
                    continue
                if answer == NLMSG_DONE:
                    return found
                if answer == NLMSG_ERROR:
                    raise NetlinkError(operation, *refusal(flags, body))
                found.append(body)

    def _send(self, operation: str, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise NetlinkError(operation, error.errno or 0) from error

    def _receive(self, operation: str) -> bytes:
        try:
            return self._socket.recv(_BUFFER_BYTES)
        except OSError as error:
            raise NetlinkError(operation, error.errno or 0) from error


def _link(payload: bytes) -> Link:
    _, _, index, flags, _ = LINK.unpack_from(payload)
    given = attributes(payload[LINK.size :])
    information = attributes(given.get(IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=given.get(IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
        mtu=U32.unpack(given.get(IFLA_MTU, bytes(4)))[0],
        up=bool(flags & IFF_UP),
        master=U32.unpack(given.get(IFLA_MASTER, bytes(4)))[0],
        kind=information.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode(errors="replace"),
    )


def decode_route(payload: bytes) -> Route:
    """Decode the payload of a RTM_NEWROUTE."""
    _, prefix, _, _, table, _, _, kind, _ = ROUTE.unpack_from(payload)
    given = attributes(payload[ROUTE.size :])
    return Route(
        destination=socket.inet_ntoa(given.get(RTA_DST, bytes(4))),
        prefix=prefix,
        gateway=socket.inet_ntoa(given[RTA_GATEWAY]) if RTA_GATEWAY in given else "",
        index=U32.unpack(given.get(RTA_OIF, bytes(4)))[0],
        table=U32.unpack(given[RTA_TABLE])[0] if RTA_TABLE in given else table,
        kind=kind,
    )
