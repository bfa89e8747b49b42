"""The uplink of root: a pair of links to the host, and NAT there by a table of ours.

Everything disappears without us: the pair with the namespace at its far end, the table with the
socket that owns it (kernel >= 5.12; on older ones the next network sweeps it). What may be left
after SIGKILL, rules in firewalls of others, names a link that no longer exists; it matches
nothing, and the next network removes it.

A packet passes *all* forward chains of a host, so an `accept` of ours cannot save it from the
policy `drop` of docker's or ufw's. There we put two rules on top, one for each direction of our
one link, with the link's name as their comment. They let nothing else pass, and what comes in
is first cut down to answers by our own chain. Chains of iptables-legacy cannot be seen through
nftables; with those in place traffic may be dropped, and we do not know it.
"""

from __future__ import annotations

import errno
import os
from ipaddress import IPv4Address, IPv4Network

from buildkit_py.core.data import dataclass
from buildkit_py.core.files import Lock
from buildkit_py.runtime.kernel import netlink, nfnetlink
from buildkit_py.runtime.network import subnets
from buildkit_py.runtime.network.uplink import LINK_PREFIX, NetworkUnavailable

LOCK = "network.lock"
"""In the folder of run-time files; who holds it may choose what the host is to route."""
FORWARD_SWITCH = "/proc/sys/net/ipv4/ip_forward"
_FAMILIES = (nfnetlink.NFPROTO_INET, nfnetlink.NFPROTO_IPV4)
_NO_OWNED_TABLES = frozenset({errno.EOPNOTSUPP, errno.EINVAL})


@dataclass(frozen=True, slots=True)
class Translation:
    """What comes to a port of the host from elsewhere, and where in the network it goes.

    host_ip: "" is every address of the host; protocol: 6 or 17
    inner_port: at the network's end of the uplink
    """

    host_ip: str
    host_port: int
    protocol: int
    inner_port: int


class Nat:
    """The uplink of root; see the module.

    The constructor raises NetlinkError, and NetworkUnavailable where packets are not forwarded.
    """

    nameserver = ""

    def __init__(
        self,
        netns_fd: int,
        far_name: str,
        *,
        run_dir: str,
        avoid: list[str],
        removes_link: bool = False,
    ) -> None:
        """Join the namespace to the host and choose the subnet.

        far_name: what the pair's end in the namespace is called
        run_dir: where the lock lies under which networks of this host are made
        avoid: addresses that must stay reachable outside, such as nameservers
        removes_link: at the end the link is gone when `close` returns
        """
        self._removes_link = removes_link
        self.notices: list[str] = []
        self.host_link = LINK_PREFIX + os.urandom(4).hex()
        self._accepting: list[nfnetlink.Rule] = []
        self._translating = False
        self._index = 0
        self._host = netlink.Netlink()
        self._tables = nfnetlink.Nftables()
        try:
            with Lock(os.path.join(run_dir, LOCK)):
                self._open(netns_fd, far_name, avoid)
        except BaseException:
            self.close()
            raise

    def _open(self, netns_fd: int, far_name: str, avoid: list[str]) -> None:
        links = {link.index: link for link in self._host.links()}
        names = {link.name for link in links.values()}
        routes = self._host.routes()
        self._sweep(names)
        self.mtu = default_mtu(routes, links)
        foreign, ours = host_networks(routes, links)
        self.subnet = subnets.choose(foreign, ours, [IPv4Address(each) for each in avoid])
        self.host_address = self.subnet.host_end
        self._host.run(
            netlink.add_veth(
                self.host_link, far_name, peer_netns_fd=netns_fd, mtu=self.mtu, up=True
            )
        )
        index = self._index = self._host.link(self.host_link).index
        containers = self.subnet.containers
        self._host.run(
            netlink.without_ipv6(index, what=self.host_link),
            netlink.add_address(
                index, self.host_address, subnets.UPLINK_PREFIX, what=self.host_link
            ),
            netlink.add_route(
                str(containers.network_address),
                containers.prefixlen,
                gateway=self.subnet.near_end,
                index=index,
            ),
        )
        self._translate()
        self._pass_other_firewalls()
        self._switch_forwarding_on()

    def _translate(self) -> None:
        table, network = self.host_link, self.subnet.network
        source = (nfnetlink.IPV4_SOURCE_OFFSET, str(network.network_address), network.prefixlen)
        leaving = nfnetlink.link_is(nfnetlink.NFT_META_OIFNAME, self.host_link)
        arriving = nfnetlink.link_is(nfnetlink.NFT_META_IIFNAME, self.host_link)
        drop, accept = nfnetlink.verdict(nfnetlink.NF_DROP), nfnetlink.verdict(nfnetlink.NF_ACCEPT)
        # Rules go to the top of their chain, so the last one added is the first one asked.
        chains = (
            nfnetlink.add_base_chain(
                table,
                "postrouting",
                kind="nat",
                hook="postrouting",
                priority=nfnetlink.PRIORITY_SRCNAT,
            ),
            nfnetlink.add_rule(
                table,
                "postrouting",
                *nfnetlink.address_in(*source),
                *nfnetlink.link_is(nfnetlink.NFT_META_OIFNAME, self.host_link, equal=False),
                nfnetlink.masquerade(),
            ),
            nfnetlink.add_base_chain(
                table,
                "forward",
                kind="filter",
                hook="forward",
                priority=nfnetlink.PRIORITY_FILTER,
            ),
            # Nobody beyond this host begins a connection to a container, and no container
            # sends under an address that is not its network's.
            nfnetlink.add_rule(table, "forward", *leaving, drop),
            # But to a port that is published: `publish` has sent it here.
            nfnetlink.add_rule(
                table,
                "forward",
                *leaving,
                *nfnetlink.address_in(nfnetlink.IPV4_DESTINATION_OFFSET, self.subnet.near_end, 32),
                *nfnetlink.of_a_translated_destination(),
                accept,
            ),
            nfnetlink.add_rule(
                table, "forward", *leaving, *nfnetlink.of_a_known_connection(), accept
            ),
            nfnetlink.add_rule(
                table, "forward", *arriving, *nfnetlink.address_in(*source, equal=False), drop
            ),
        )
        try:
            self._tables.run(nfnetlink.add_table(table, owned=True), *chains)
        except netlink.NetlinkError as error:
            if error.errno not in _NO_OWNED_TABLES:
                raise
            self._tables.run(nfnetlink.add_table(table), *chains)
        self._translating = True

    def routed(self) -> list[IPv4Network]:
        """Return what the host routes: of others, of our other networks, and of this one."""
        foreign, ours = host_networks(
            self._host.routes(), {link.index: link for link in self._host.links()}
        )
        return [*foreign, *ours]

    def add_route(self, network: IPv4Network) -> None:
        """Let the host reach a network behind this link. Raises NetlinkError."""
        address, prefix = str(network.network_address), network.prefixlen
        self._host.run(
            netlink.add_route(address, prefix, gateway=self.subnet.near_end, index=self._index)
        )

    def delete_route(self, network: IPv4Network) -> None:
        """Take back what `add_route` did; all routes go with the link. Raises NetlinkError."""
        address, prefix = str(network.network_address), network.prefixlen
        self._host.run(
            netlink.delete_route(address, prefix, gateway=self.subnet.near_end, index=self._index)
        )

    def publish(self, translations: list[Translation]) -> None:
        """Send what comes from elsewhere to these ports into the network; no others any more.

        What this host itself sends does not pass here: published ports have a proxy, too.
        Raises NetlinkError, where the kernel has no `fib` expression, say.
        """
        table = self.host_link
        requests = [
            nfnetlink.add_base_chain(
                table, "prerouting", kind="nat", hook="prerouting",
                priority=nfnetlink.PRIORITY_DSTNAT,
            ),
            nfnetlink.flush_chain(table, "prerouting"),
        ]  # fmt: skip
        for each in translations:
            destination = (
                nfnetlink.address_in(nfnetlink.IPV4_DESTINATION_OFFSET, each.host_ip, 32)
                if each.host_ip
                else nfnetlink.to_this_host()
            )
            requests.append(
                nfnetlink.add_rule(
                    table, "prerouting",
                    # Our own network would meet itself on the way back.
                    *nfnetlink.link_is(nfnetlink.NFT_META_IIFNAME, self.host_link, equal=False),
                    *nfnetlink.link_is(nfnetlink.NFT_META_IIFNAME, "lo", equal=False),
                    *destination,
                    *nfnetlink.destination_port(each.protocol, each.host_port),
                    *nfnetlink.destination_nat(self.subnet.near_end, each.inner_port),
                )
            )  # fmt: skip
        self._tables.run(*requests)

    def _pass_other_firewalls(self) -> None:
        for chain in self._closed_chains():
            note = _comment(self.host_link)
            try:
                self._tables.run(
                    *(
                        nfnetlink.add_rule(
                            chain.table,
                            chain.name,
                            *nfnetlink.link_is(key, self.host_link),
                            nfnetlink.counter(),
                            nfnetlink.verdict(nfnetlink.NF_ACCEPT),
                            family=chain.family,
                            note=note,
                        )
                        for key in (nfnetlink.NFT_META_IIFNAME, nfnetlink.NFT_META_OIFNAME)
                    )
                )
            except netlink.NetlinkError as error:
                self.notices.append(
                    f"the firewall chain `{chain.table}/{chain.name}` may drop what this network "
                    f"forwards, and takes no rule from us ({error.message}): if there is no "
                    f"network inside, let it accept the links `{LINK_PREFIX}*`"
                )
                continue
            self._accepting += [
                rule
                for rule in self._tables.rules(chain.table, family=chain.family)
                if rule.note == note
            ]
            self.notices.append(
                f"the firewall chain `{chain.table}/{chain.name}` drops forwarded packets: "
                "it accepts those of this network while this network lives"
            )

    def _closed_chains(self) -> list[nfnetlink.Chain]:
        """Find the forward chains of others that end in a drop, by policy or by a last rule."""
        closed = []
        for chain in self._tables.chains():
            if chain.hook != "forward" or chain.kind != "filter" or chain.family not in _FAMILIES:
                continue
            if chain.table.startswith(LINK_PREFIX):
                continue
            if chain.drops or self._ends_in_reject(chain):
                closed.append(chain)
        return closed

    def _ends_in_reject(self, chain: nfnetlink.Chain) -> bool:
        rules = [
            rule
            for rule in self._tables.rules(chain.table, family=chain.family)
            if rule.chain == chain.name
        ]
        return bool(rules) and set(rules[-1].names) - {"counter"} == {"reject"}

    def _switch_forwarding_on(self) -> None:
        try:
            with open(FORWARD_SWITCH, "r+b", buffering=0) as switch:
                if switch.read().strip() != b"0":
                    return
                switch.seek(0)  # the kernel ignores what is written further on
                switch.write(b"1")
        except OSError as error:
            raise NetworkUnavailable(
                f"IPv4 forwarding is off and cannot be switched on: {error.strerror}",
                hint="switch it on: `sysctl net.ipv4.ip_forward=1`",
            ) from error
        self.notices.append(
            "switched IPv4 forwarding on (`net.ipv4.ip_forward`); it stays on, "
            "and other links of this host forward now too"
        )

    def _sweep(self, links: set[str]) -> None:
        """Remove tables and rules of networks whose link is gone: their process was killed."""
        for table in self._tables.tables():
            ours = table.name.startswith(LINK_PREFIX) and not table.owned
            if ours and table.name not in links:
                self._tables.run(nfnetlink.delete_table(table.name, family=table.family))
        for chain in self._closed_chains():
            for rule in self._tables.rules(chain.table, family=chain.family):
                name = commented(rule.note)
                if name.startswith(LINK_PREFIX) and name not in links:
                    self._remove(rule)

    def _remove(self, rule: nfnetlink.Rule) -> None:
        try:
            self._tables.run(
                nfnetlink.delete_rule(rule.table, rule.chain, rule.handle, family=rule.family)
            )
        except netlink.NetlinkError as error:
            if error.errno != errno.ENOENT:  # its firewall was reloaded: it is gone
                raise

    def close(self) -> None:
        """Remove our rules from the host. Safe to call twice.

        Unless it is to go now, the pair of links, with its address and route, goes a moment later
        with the namespace at its far end: in the kernel's own work it costs nothing, here 20 ms
        (measured).
        """
        try:
            while self._accepting:
                self._remove(self._accepting.pop())
            if self._translating:
                self._translating = False
                # Quicker than what the kernel does to the tables of a closed socket.
                self._tables.run(nfnetlink.delete_table(self.host_link))
            if self._removes_link:
                self._removes_link = False
                self._remove_link()
        finally:
            self._tables.close()
            self._host.close()

    def _remove_link(self) -> None:
        for link in self._host.links():
            if link.name == self.host_link:
                self._host.run(netlink.delete_link(link.index, what=link.name))


def default_mtu(routes: list[netlink.Route], links: dict[int, netlink.Link]) -> int:
    """Return the MTU of the link of the default route, 1500 where there is none.

    A larger one than the way out has is the classic trap of bridges: small packets pass, so
    connections open and then hang.
    """
    for route in routes:
        if route.prefix == 0 and route.kind == netlink.RTN_UNICAST and route.index in links:
            return links[route.index].mtu
    return 1500


def host_networks(
    routes: list[netlink.Route], links: dict[int, netlink.Link]
) -> tuple[list[IPv4Network], list[IPv4Network]]:
    """Return the destinations of a host's routes: those of others, and those of our networks."""
    foreign: list[IPv4Network] = []
    ours: list[IPv4Network] = []
    for route in routes:
        if route.prefix == 0:
            continue
        network = IPv4Network((route.destination, route.prefix), strict=False)
        link = links.get(route.index)
        mine = link is not None and link.name.startswith(LINK_PREFIX)
        (ours if mine else foreign).append(network)
    return foreign, ours


def _comment(text: str) -> bytes:
    """Encode a rule's comment as libnftnl does, so that `nft` and `iptables` show it."""
    data = text.encode() + b"\0"
    return bytes([0, len(data)]) + data


def commented(note: bytes) -> str:
    """Return a rule's comment, "" where it has none."""
    if len(note) < 2 or note[0] != 0:
        return ""
    return note[2 : 2 + note[1]].rstrip(b"\0").decode(errors="replace")
