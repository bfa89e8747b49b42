"""One private network of a process that builds or runs containers.

All of it lives in a network namespace of its own, which nothing but descriptors of this process
keeps alive: a bridge with the gateway's address, and for each container one end of a pair whose
other end is the container's `eth0`. Only the uplink (nat.py, helper.py) differs between root
and everybody else. So nothing is left after SIGKILL at any moment.

This process never enters that namespace: it holds a netlink socket that was opened there.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections import deque
from types import TracebackType

from buildkit_py.core.dirs import ensure_private
from buildkit_py.core.errors import Bug, HostError
from buildkit_py.runtime.kernel import netlink, nfnetlink
from buildkit_py.runtime.network import resolve, subnets
from buildkit_py.runtime.network.helper import MTU, Helper, choose_subnet, no_way_out
from buildkit_py.runtime.network.interface import LOOPBACK_INDEX
from buildkit_py.runtime.network.nat import Nat
from buildkit_py.runtime.network.publish import Bound, Port, Proxy
from buildkit_py.runtime.network.uplink import LINK_PREFIX, NetworkUnavailable, Uplink, Zygote
from buildkit_py.runtime.process import ZygoteLost
from buildkit_py.runtime.spec import Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal
    from typing import Protocol as Seam

    from buildkit_py.runtime.network.publish import Protocol
else:
    Seam = object

BRIDGE = "bridge"
UPLINK = "uplink"
DNS_PORT = 53

_MODULES = "the kernel modules bridge, veth, tun and nf_tables (with nft_masq) are needed"
_PERMISSION = "the capability CAP_NET_ADMIN is needed"
_UNAVAILABLE = {
    errno.EPERM: _PERMISSION,
    errno.EACCES: _PERMISSION,
    errno.EOPNOTSUPP: _MODULES,
    errno.EPROTONOSUPPORT: _MODULES,
    errno.ENOENT: _MODULES,  # nf_tables, about an expression that it does not know
}
"""What the kernel says where it gives us no network at all, and what would help."""


class Host(Seam):
    """What the network must know about this machine; runtime's host facts satisfy it."""

    @property
    def rootless(self) -> bool:
        """Whether containers run in a user namespace of ours."""


class Network:
    """A private network, made when the first container asks for an address. Thread-safe.

        with Network.open(host, zygote, run_dir=run_dir(), purpose="build") as network:
            interface = network.reserve()
            ...                                  # clone the container, with a new namespace
            network.plug(interface, netns_fd)    # then let its child configure(interface)
            ...
            network.release(interface)           # after its namespace is gone

    kind: `bridge`; `host` once it is known that this machine gives no private network
    notices: what the user should know, known after the first `reserve`
    """

    def __init__(
        self, host: Host, zygote: Zygote, *, run_dir: str, purpose: str, may_be_alone: bool
    ) -> None:
        self.purpose = purpose
        self._may_be_alone = may_be_alone
        self._mtu = MTU
        self._host = host
        self._zygote = zygote
        self._run_dir = run_dir
        self._lock = threading.Lock()
        self._refusal: NetworkUnavailable | None = None
        self._closed = False
        self._netns_fd = -1
        self._kernel: netlink.Netlink | None = None
        self._tables: nfnetlink.Nftables | None = None
        self._uplink: Uplink | None = None
        self._subnet: subnets.Subnet | None = None
        self._bridge_index = 0
        self._plugged = 0
        self._free: deque[str] = deque()
        self._notices: list[str] = []
        self._forwarder: Proxy | None = None

    @classmethod
    def open(
        cls,
        host: Host,
        zygote: Zygote,
        *,
        run_dir: str,
        purpose: str,
        may_be_alone: bool = False,
    ) -> Network:
        """Return a network that is not made yet.

        run_dir: folder of run-time files, in which the lock of this host's networks lies
        purpose: who uses it, for messages
        may_be_alone: where it can have no way out, have it without one, and say so in `notices`
        """
        return cls(host, zygote, run_dir=run_dir, purpose=purpose, may_be_alone=may_be_alone)

    @property
    def kind(self) -> Literal["bridge", "host"]:
        return "bridge" if self._refusal is None else "host"

    @property
    def notices(self) -> list[str]:
        return list(self._notices)

    @property
    def nameserver(self) -> str:
        """A forwarder of DNS questions, for a host whose nameserver is on its loopback, or ""."""
        if self._forwarder is not None and self._subnet is not None:
            return self._subnet.gateway
        return self._uplink.nameserver if self._uplink else ""

    @property
    def host_address(self) -> str:
        """The address under which containers reach this host, "" where they cannot."""
        return self._uplink.host_address if self._uplink else ""

    @property
    def host_link(self) -> str:
        """The name of our link and of our table on this host; "" where none is needed."""
        return self._uplink.host_link if self._uplink else ""

    @property
    def netns_fd(self) -> int:
        """The descriptor of the network's own namespace, -1 before it is made."""
        return self._netns_fd

    def reserve(self) -> Interface:
        """Return the interface of a new container.

        Raises NetworkUnavailable where this machine gives no private network, again each time,
        and HostError when all addresses are in use.
        """
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            if self._subnet is None:
                try:
                    self._make()
                except NetworkUnavailable as error:
                    self._close()
                    self._refusal = error
                    raise
                except netlink.NetlinkError as error:
                    self._close()
                    if error.errno not in _UNAVAILABLE:
                        raise
                    self._refusal = NetworkUnavailable(
                        error.message, hint=_UNAVAILABLE[error.errno]
                    )
                    raise self._refusal from error
                except BaseException:
                    self._close()
                    raise
            assert self._subnet is not None
            if not self._free:
                raise HostError(
                    f"all addresses of {self._subnet.containers} are in use",
                    code="network/addresses-exhausted",
                )
            return Interface(
                address=self._free.popleft(),
                prefix=subnets.CONTAINERS_PREFIX,
                gateway=self._subnet.gateway,
                mtu=self._mtu,
            )

    def plug(self, interface: Interface, netns_fd: int) -> None:
        """Put the interface into a container's namespace, still down. Raises NetlinkError.

        Cost: 0.6 ms (measured).
        """
        with self._lock:
            assert self._kernel is not None
            self._plugged += 1
            # A name of its own each time: the kernel removes an old pair later than we do.
            self._kernel.run(
                netlink.add_veth(
                    f"port{self._plugged}",
                    interface.name,
                    peer_netns_fd=netns_fd,
                    mtu=interface.mtu,
                    master=self._bridge_index,
                    up=True,
                    peer_mac=subnets.mac_of(interface.address),
                )
            )

    def release(self, interface: Interface) -> None:
        """Give the address back; the link went with the container's namespace.

        An address is used again as late as possible.
        """
        with self._lock:
            self._free.append(interface.address)

    def close(self) -> None:
        """Remove the network. Safe to call twice."""
        with self._lock:
            self._closed = True
            self._close()

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _make(self) -> None:
        if self._closed:
            raise Bug(f"the network of this {self.purpose} is closed")
        ensure_private(self._run_dir)
        for_links, for_tables, for_events, *doors = self._enter_by_descriptors()
        self._kernel = netlink.Netlink(for_links)
        self._tables = nfnetlink.Nftables(for_tables)
        resolver = resolve.host_resolver()
        if self._host.rootless:
            self._subnet = self._connect(for_events, resolver)
        else:
            for_events.close()
            nat = Nat(
                self._netns_fd,
                UPLINK,
                run_dir=self._run_dir,
                avoid=resolve.reachable(resolver.nameservers),
            )
            self._uplink, self._subnet, self._mtu = nat, nat.subnet, nat.mtu
            self._join(nat.subnet)
            self._notices += nat.notices
        self._make_bridge(self._subnet, self._mtu)
        if not self._host.rootless:
            self._forward_questions(self._subnet, resolver, doors)
        self._free.extend(self._subnet.container_addresses())

    def _connect(self, events: socket.socket, resolver: resolve.Resolver) -> subnets.Subnet:
        """Make the uplink of others than root, if there can be one; return the subnet."""
        assert self._kernel is not None
        try:
            helper = Helper(self._zygote, self._netns_fd, events, UPLINK, resolver)
        except NetworkUnavailable as error:
            if not self._may_be_alone:
                raise
            self._notices.append(no_way_out(error))
            return choose_subnet(resolver)
        self._uplink = helper
        self._mtu = helper.mtu = self._kernel.link(UPLINK).mtu
        self._translate(helper.subnet)
        return helper.subnet

    def _enter_by_descriptors(self) -> list[socket.socket]:
        """Have the namespace made, with sockets in it: links, tables, events, UDP, TCP."""
        kinds = (socket.NETLINK_ROUTE, nfnetlink.NETLINK_NETFILTER, socket.NETLINK_ROUTE)
        specs = [(int(socket.AF_NETLINK), int(socket.SOCK_RAW), kind) for kind in kinds]
        doors = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        specs += [(int(socket.AF_INET), int(kind | socket.SOCK_NONBLOCK), 0) for kind in doors]
        try:
            self._netns_fd, made = self._zygote.new_network_namespace(specs)
        except ZygoteLost:
            raise  # no reason to use the host's network instead
        except HostError as error:
            raise NetworkUnavailable(error.message, hint=error.hint) from error
        return [socket.socket(fileno=fd) for fd in made]

    def _forward_questions(
        self, subnet: subnets.Subnet, resolver: resolve.Resolver, doors: list[socket.socket]
    ) -> None:
        """Answer at the gateway for a nameserver on the host's loopback, as helpers do.

        doors: a UDP and a TCP socket of the namespace
        """
        server = resolve.on_loopback(resolver.nameservers)
        if not server or resolve.reachable(resolver.nameservers):
            for door in doors:
                door.close()
            return
        self._forwarder = Proxy(self._zygote)
        protocols: tuple[Protocol, ...] = ("udp", "tcp")
        for protocol, door in zip(protocols, doors, strict=True):
            door.bind((subnet.gateway, DNS_PORT))
            if protocol == "tcp":
                door.listen()
            bound = Bound(Port(DNS_PORT, protocol=protocol), DNS_PORT, (door,))
            self._forwarder.carry(bound, server)

    def _translate(self, subnet: subnets.Subnet) -> None:
        """Hide the containers behind the address of a helper's link, which knows no other."""
        assert self._kernel is not None
        assert self._tables is not None
        network = subnet.network
        self._tables.run(
            nfnetlink.add_table(LINK_PREFIX),
            nfnetlink.add_base_chain(
                LINK_PREFIX,
                "postrouting",
                kind="nat",
                hook="postrouting",
                priority=nfnetlink.PRIORITY_SRCNAT,
            ),
            nfnetlink.add_rule(
                LINK_PREFIX,
                "postrouting",
                *nfnetlink.address_in(
                    nfnetlink.IPV4_SOURCE_OFFSET, str(network.network_address), network.prefixlen
                ),
                *nfnetlink.link_is(nfnetlink.NFT_META_OIFNAME, UPLINK),
                nfnetlink.masquerade(),
            ),
            # What connection tracking calls invalid is not translated back, so it would arrive
            # at this namespace itself, which answers with a reset: pasta of 2023 repeats
            # segments so, and the connection died with its first byte (measured).
            nfnetlink.add_base_chain(
                LINK_PREFIX,
                "input",
                kind="filter",
                hook="input",
                priority=nfnetlink.PRIORITY_FILTER,
            ),
            nfnetlink.add_rule(
                LINK_PREFIX,
                "input",
                *nfnetlink.link_is(nfnetlink.NFT_META_IIFNAME, UPLINK),
                nfnetlink.verdict(nfnetlink.NF_DROP),
            ),
        )
        index = self._kernel.link(UPLINK).index
        self._kernel.run(netlink.change_link(index, what=UPLINK, forwarding=True))

    def _join(self, subnet: subnets.Subnet) -> None:
        """Configure the near end of the pair to the host."""
        assert self._kernel is not None
        index = self._kernel.link(UPLINK).index
        self._kernel.run(
            netlink.without_ipv6(index, what=UPLINK),
            netlink.change_link(index, what=UPLINK, up=True, forwarding=True),
            netlink.add_address(index, subnet.near_end, subnets.UPLINK_PREFIX, what=UPLINK),
            netlink.add_route("0.0.0.0", 0, gateway=subnet.host_end, index=index),
        )

    def _make_bridge(self, subnet: subnets.Subnet, mtu: int) -> None:
        assert self._kernel is not None
        self._kernel.run(
            netlink.change_link(LOOPBACK_INDEX, what="lo", up=True),
            netlink.add_bridge(BRIDGE, mtu=mtu, mac=subnets.mac_of(subnet.gateway)),
        )
        index = self._bridge_index = self._kernel.link(BRIDGE).index
        self._kernel.run(
            netlink.without_ipv6(index, what=BRIDGE),
            netlink.change_link(index, what=BRIDGE, up=True, forwarding=True),
            netlink.add_address(index, subnet.gateway, subnets.CONTAINERS_PREFIX, what=BRIDGE),
        )

    def _close(self) -> None:
        forwarder, self._forwarder = self._forwarder, None
        uplink, self._uplink = self._uplink, None
        kernel, self._kernel = self._kernel, None
        tables, self._tables = self._tables, None
        self._subnet = None
        self._free.clear()
        try:
            if forwarder is not None:
                forwarder.close()
            if uplink is not None:
                uplink.close()
        finally:
            if kernel is not None:
                kernel.close()
            if tables is not None:
                tables.close()
            if self._netns_fd >= 0:
                os.close(self._netns_fd)
                self._netns_fd = -1
