"""The networks of one group of containers: bridges in one namespace, behind one uplink.

As `network.py` has it for a build, all of it lives in a network namespace that only descriptors
of this process keep alive, so nothing is left after SIGKILL. Here there is a bridge for each
network, each with a subnet of its own; what passes between them, to the world and to this
namespace itself is decided by one table (`table.py`). The uplink of root is made with the first
network, that of others for the first network that leads out.

As root the host reaches every container by its address: it has a route to each subnet, so two
groups have different ones. Without root no subnet is seen by the host. This process never enters
the namespace: it holds netlink sockets that were opened there. One thread.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from ipaddress import IPv4Network
from types import TracebackType

from buildkit_py.core.data import dataclass, field
from buildkit_py.core.dirs import ensure_private
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.core.files import Lock
from buildkit_py.runtime.kernel import netlink, nfnetlink
from buildkit_py.runtime.network import resolve, subnets, table
from buildkit_py.runtime.network.helper import MTU, Helper, no_way_out
from buildkit_py.runtime.network.interface import LOOPBACK_INDEX
from buildkit_py.runtime.network.nat import LOCK, Nat, Translation, host_networks
from buildkit_py.runtime.network.network import UPLINK, Host
from buildkit_py.runtime.network.uplink import NetworkUnavailable, Uplink, Zygote
from buildkit_py.runtime.spec import Interface

_SUBNET_BITS = 16  # the largest subnet whose addresses are listed


class AddressTaken(InputError):
    code = "network/address-taken"


@dataclass(slots=True)
class _Bridge:
    """One network.

    is_routed: the host has a route to it
    free: addresses that nobody has, the one that was free for the longest first
    """

    segment: table.Segment
    index: int
    mtu: int
    is_routed: bool
    free: deque[str] = field(default_factory=deque)


_FIRST_INNER_PORT = 1024
_PROTOCOLS = {"tcp": 6, "udp": 17}


class Switch:
    """The networks of one group of containers; made when the first one is added.

    notices: what people should know, after the first `add`
    """

    def __init__(self, host: Host, zygote: Zygote, *, run_dir: str) -> None:
        self._host = host
        self._zygote = zygote
        self._run_dir = run_dir
        self._bridges: dict[str, _Bridge] = {}
        self._made = 0
        self._plugged = 0
        self.netns_fd = -1
        self.notices: list[str] = []
        self._kernel: netlink.Netlink | None = None
        self._tables: nfnetlink.Nftables | None = None
        self._events: socket.socket | None = None
        self._uplink: Uplink | None = None
        self._has_no_uplink = False
        self._resolver = resolve.Resolver(())
        self._avoid: list[IPv4Network] = []
        self._published: dict[int, table.Published] = {}

    @property
    def host_address(self) -> str:
        """The address under which containers reach this host, "" where they cannot."""
        return self._uplink.host_address if self._uplink else ""

    def __contains__(self, name: str) -> bool:
        return name in self._bridges

    def gateway(self, name: str) -> str:
        return self._bridges[name].segment.gateway

    def subnet(self, name: str) -> str:
        return str(self._bridges[name].segment.network)

    def is_internal(self, name: str) -> bool:
        return self._bridges[name].segment.internal

    def add(
        self, name: str, *, internal: bool = False, subnet: str = "", gateway: str = ""
    ) -> None:
        """Make a network; one that is there already stays as it is.

        internal: without a way out
        subnet, gateway: "" are chosen, apart from what the host routes
        Without root, where no helper connects it to the world, it stays a network among containers,
        and published ports lead into it; `notices` then says why.
        Raises NetworkUnavailable, NoSubnet, BadSubnet, NetlinkError.
        """
        if name in self._bridges:
            return
        if self._kernel is None:
            try:
                self._open()
            except BaseException:
                self.close()
                raise
        assert self._kernel is not None
        self._connect(self._kernel, internal=internal)
        with Lock(os.path.join(self._run_dir, LOCK)):
            network = self._choose(subnet)
            chosen = subnets.check_gateway(network, gateway)
            is_routed = self._route(network)
        self._made += 1
        segment = table.Segment(f"net{self._made}", network, chosen, internal)
        try:
            bridge = self._make_bridge(self._kernel, segment, is_routed=is_routed)
        except BaseException:
            if is_routed:
                self._unroute(network)
            raise
        last = min(network.num_addresses - 1, 1 << _SUBNET_BITS)
        addresses = (str(network.network_address + number) for number in range(1, last))
        bridge.free.extend(each for each in addresses if each != chosen)
        self._bridges[name] = bridge
        self._write_table()

    def _make_bridge(
        self, kernel: netlink.Netlink, segment: table.Segment, *, is_routed: bool
    ) -> _Bridge:
        link, mac = segment.link, subnets.mac_of(segment.gateway)
        mtu = self._uplink.mtu if self._uplink else MTU
        kernel.run(netlink.add_bridge(link, mtu=mtu, mac=mac))
        index = kernel.link(link).index
        kernel.run(
            netlink.without_ipv6(index, what=link),
            netlink.change_link(index, what=link, up=True, forwarding=True),
            netlink.add_address(index, segment.gateway, segment.network.prefixlen, what=link),
        )
        return _Bridge(segment, index, mtu, is_routed)

    def reserve(
        self, name: str, *, interface: str = "eth0", address: str = "", leads_out: bool = True
    ) -> Interface:
        """Return the interface of a container that joins a network.

        interface: what it is called in there; address: "" is chosen
        leads_out: it has the container's default route, if its network has a way out
        Raises HostError when all addresses are in use, AddressTaken, BadSubnet.
        """
        bridge = self._bridges[name]
        network, own = bridge.segment.network, bridge.segment.gateway
        if address:
            if not subnets.is_in(address, network):
                raise subnets.BadSubnet(f"the address `{address}` is not in {network} of `{name}`")
            if address not in bridge.free:
                raise AddressTaken(f"the address `{address}` of `{name}` is in use")
            bridge.free.remove(address)
        elif not bridge.free:
            raise HostError(
                f"all addresses of {network} are in use", code="network/addresses-exhausted"
            )
        else:
            address = bridge.free.popleft()
        gateway = own if leads_out and not bridge.segment.internal else ""
        return Interface(address, network.prefixlen, gateway, interface, mtu=bridge.mtu)

    def plug(self, name: str, interface: Interface, netns_fd: int) -> None:
        """Put the interface into a container's namespace, still down. Raises NetlinkError."""
        assert self._kernel is not None
        self._plugged += 1
        # A name of its own each time: the kernel removes an old pair later than we do.
        self._kernel.run(
            netlink.add_veth(
                f"port{self._plugged}",
                interface.name,
                peer_netns_fd=netns_fd,
                mtu=interface.mtu,
                master=self._bridges[name].index,
                up=True,
                peer_mac=subnets.mac_of(interface.address),
            )
        )

    def release(self, name: str, interface: Interface) -> None:
        """Give the address back; the link went with the container's namespace."""
        bridge = self._bridges.get(name)
        if bridge is not None:
            bridge.free.append(interface.address)

    def publish(
        self, number: int, network: str, address: str, port: int, *, host_ip: str, host_port: int,
        protocol: str,
    ) -> None:  # fmt: skip
        """Let the kernel send what comes to a port of the host from elsewhere to a container.

        number: by which `unpublish` knows it. Without root, for an address of IPv6, and for one
        of the loopback link nothing is done: the proxy of the port serves those, and this host.
        """
        nat = self._uplink
        if not isinstance(nat, Nat) or ":" in host_ip or host_ip.startswith("127."):
            return
        used = {each.outer.inner_port for each in self._published.values()}
        inner = next((n for n in range(_FIRST_INNER_PORT, 1 << 16) if n not in used), 0)
        if not inner:
            return  # tens of thousands of ports: the proxy serves this one
        any_address = host_ip in ("", "0.0.0.0")
        outer = Translation(
            "" if any_address else host_ip, host_port, _PROTOCOLS[protocol], inner
        )  # fmt: skip
        self._published[number] = table.Published(outer, network, address, port)
        try:
            self._write_published(nat)
        except netlink.NetlinkError as error:
            del self._published[number]
            self.notices.append(
                f"containers see a proxy as the source of what comes to port {host_port}:"
                f" {error.message}"
            )

    def unpublish(self, number: int) -> None:
        """Take back what `publish` did, if it did anything."""
        if self._published.pop(number, None) is not None and isinstance(self._uplink, Nat):
            self._write_published(self._uplink)

    def _write_published(self, nat: Nat) -> None:
        self._write_table()
        nat.publish([each.outer for each in self._published.values()])

    def remove(self, name: str) -> None:
        """Remove a network in which no container is any more."""
        bridge = self._bridges.pop(name)
        assert self._kernel is not None
        if bridge.is_routed:
            self._unroute(bridge.segment.network)
        self._kernel.run(netlink.delete_link(bridge.index, what=bridge.segment.link))
        self._write_table()

    def close(self) -> None:
        """Remove everything. Safe to call twice."""
        uplink, self._uplink = self._uplink, None
        kernel, self._kernel = self._kernel, None
        tables, self._tables = self._tables, None
        events, self._events = self._events, None
        self._bridges.clear()
        self._has_no_uplink = False
        try:
            if uplink is not None:
                uplink.close()
        finally:
            if events is not None:
                events.close()
            if kernel is not None:
                kernel.close()
            if tables is not None:
                tables.close()
            if self.netns_fd >= 0:
                os.close(self.netns_fd)
                self.netns_fd = -1

    def __enter__(self) -> Switch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> None:
        """Make the namespace, without an uplink yet."""
        ensure_private(self._run_dir)
        kinds = (socket.NETLINK_ROUTE, nfnetlink.NETLINK_NETFILTER, socket.NETLINK_ROUTE)
        specs = [(int(socket.AF_NETLINK), int(socket.SOCK_RAW), kind) for kind in kinds]
        self.netns_fd, made = self._zygote.new_network_namespace(specs)
        for_links, for_tables, self._events = (socket.socket(fileno=fd) for fd in made)
        self._kernel = netlink.Netlink(for_links)
        self._tables = nfnetlink.Nftables(for_tables)
        self._resolver = resolve.host_resolver()
        servers = resolve.reachable(self._resolver.nameservers)
        self._avoid = [IPv4Network(each) for each in servers]
        self._kernel.run(netlink.change_link(LOOPBACK_INDEX, what="lo", up=True))

    def _connect(self, kernel: netlink.Netlink, *, internal: bool) -> None:
        """Make the uplink, if it is not there and the next network needs it."""
        if self._uplink is not None or self._has_no_uplink:
            return
        try:
            if not self._host.rootless:
                self._connect_by_nat(kernel)
            elif not internal:
                self._connect_by_helper(kernel)
        except BaseException:
            if not self._bridges:
                self.close()
            raise

    def _connect_by_helper(self, kernel: netlink.Netlink) -> None:
        events, self._events = self._events, None
        assert events is not None
        self._has_no_uplink = True  # it is tried once
        try:
            helper = Helper(self._zygote, self.netns_fd, events, UPLINK, self._resolver)
        except NetworkUnavailable as error:
            self.notices.append(no_way_out(error))
            return
        try:
            uplink = kernel.link(UPLINK)
            kernel.run(netlink.change_link(uplink.index, what=UPLINK, forwarding=True))
        except BaseException:
            helper.close()
            raise
        helper.mtu = uplink.mtu
        self._uplink, self._has_no_uplink = helper, False
        self._avoid.append(helper.subnet.network)

    def _connect_by_nat(self, kernel: netlink.Netlink) -> None:
        servers = resolve.reachable(self._resolver.nameservers)
        nat = Nat(self.netns_fd, UPLINK, run_dir=self._run_dir, avoid=servers, removes_link=True)
        subnet = nat.subnet
        try:
            index = kernel.link(UPLINK).index
            kernel.run(
                netlink.without_ipv6(index, what=UPLINK),
                netlink.change_link(index, what=UPLINK, up=True, forwarding=True),
                netlink.add_address(index, subnet.near_end, subnets.UPLINK_PREFIX, what=UPLINK),
                netlink.add_route("0.0.0.0", 0, gateway=subnet.host_end, index=index),
            )
        except BaseException:
            nat.close()
            raise
        self._uplink = nat
        self.notices += nat.notices
        self._avoid.append(subnet.network)

    def _choose(self, wanted: str) -> IPv4Network:
        mine = [each.segment.network for each in self._bridges.values()]
        if not wanted:
            with netlink.Netlink() as kernel:
                foreign, ours = host_networks(
                    kernel.routes(), {link.index: link for link in kernel.links()}
                )
            return subnets.choose(foreign, [*ours, *mine, *self._avoid]).network
        network = subnets.parse(wanted)
        if any(network.overlaps(each) for each in (*mine, *self._avoid)):
            raise subnets.BadSubnet(
                "invalid pool request: Pool overlaps with other one on this address space"
            )
        return network

    def _route(self, network: IPv4Network) -> bool:
        """Let the host reach a network, as it does with docker; tell whether it does.

        Under the lock: `_choose` has just seen which networks are routed.
        """
        nat = self._uplink
        if not isinstance(nat, Nat):
            return False
        if any(network.overlaps(each) for each in nat.routed()):
            self.notices.append(
                f"this host routes {network}, or a part of it, elsewhere already: it reaches"
                " the containers there by published ports only, not by their addresses"
            )
            return False
        nat.add_route(network)
        return True

    def _unroute(self, network: IPv4Network) -> None:
        if isinstance(self._uplink, Nat):
            self._uplink.delete_route(network)

    def _write_table(self) -> None:
        assert self._tables is not None
        segments = [each.segment for each in self._bridges.values()]
        requests = table.replacement(segments, self._published.values(), self._ends())
        self._tables.run(*requests)

    def _ends(self) -> table.Ends:
        if isinstance(self._uplink, Nat):
            subnet = self._uplink.subnet
            return table.Ends(self.host_address, subnet.near_end, subnet.host_end)
        return table.Ends(self.host_address)
