"""The table of a group's networks: which packets pass, and under which addresses they go on.

It is made anew, in one transaction, with every network that comes or goes:

    forward      answers; from a bridge to the uplink, unless its network is internal; from the
                 host to a bridge; nothing else
    input        answers; pings of gateways. A container has no business in here: what is
                 published is reached through the host
    prerouting   what comes by the uplink to a published port goes to its container, which sees
                 who sent it; what a container sends to its gateway goes to the host, which is
                 what the gateway is with docker
    postrouting  what leaves by the uplink has the uplink's address; what the host sends to a
                 container comes from the container's gateway, so that an internal network needs
                 no route back
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network

from buildkit_py.core.data import dataclass
from buildkit_py.runtime.kernel import nfnetlink
from buildkit_py.runtime.kernel.netlink import Request
from buildkit_py.runtime.network.nat import Translation
from buildkit_py.runtime.network.network import UPLINK
from buildkit_py.runtime.network.uplink import LINK_PREFIX

_ICMP, _TCP, _UDP = 1, 6, 17
_ACCEPT = nfnetlink.verdict(nfnetlink.NF_ACCEPT)
_DROP = nfnetlink.verdict(nfnetlink.NF_DROP)
_BY_UPLINK = tuple(nfnetlink.link_is(nfnetlink.NFT_META_IIFNAME, UPLINK))
_TO_UPLINK = tuple(nfnetlink.link_is(nfnetlink.NFT_META_OIFNAME, UPLINK))

_Rules = list[list[bytes]]


@dataclass(frozen=True, slots=True)
class Segment:
    """What the table knows of one network. link: name of its bridge"""

    link: str
    network: IPv4Network
    gateway: str
    internal: bool


@dataclass(frozen=True, slots=True)
class Published:
    """A port of the host that leads to a container by the kernel's NAT."""

    outer: Translation
    network: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Ends:
    """Addresses of the uplink; each is "" where there is none.

    host: under which containers reach the host
    near: of this namespace, to which the host sends what comes to published ports
    source: under which the host itself sends to containers
    """

    host: str = ""
    near: str = ""
    source: str = ""


def replacement(
    segments: Iterable[Segment], published: Iterable[Published], ends: Ends
) -> list[Request]:
    """Return the transaction that replaces the table by one for these networks and ports."""
    segments, published = list(segments), list(published)
    requests = [
        nfnetlink.add_table(LINK_PREFIX),  # so that there is one to delete
        nfnetlink.delete_table(LINK_PREFIX),
        nfnetlink.add_table(LINK_PREFIX),
    ]
    chains = (
        ("nat", "postrouting", nfnetlink.PRIORITY_SRCNAT, False, _postrouting(ends)),
        (
            "nat",
            "prerouting",
            nfnetlink.PRIORITY_DSTNAT,
            False,
            [*_to_published(published, ends), *_to_host(segments, ends)],
        ),
        (
            "filter",
            "forward",
            nfnetlink.PRIORITY_FILTER,
            True,
            _forward(segments, ends, has_published=bool(published)),
        ),
        ("filter", "input", nfnetlink.PRIORITY_FILTER, True, _input(segments)),
    )
    for kind, hook, priority, drop, rules in chains:
        requests.append(
            nfnetlink.add_base_chain(
                LINK_PREFIX, hook, kind=kind, hook=hook, priority=priority, drop=drop
            )
        )
        # Each goes to the top of its chain.
        requests += [nfnetlink.add_rule(LINK_PREFIX, hook, *rule) for rule in reversed(rules)]
    return requests


def _postrouting(ends: Ends) -> _Rules:
    rules = [[*_TO_UPLINK, nfnetlink.masquerade()]]
    if ends.source:
        rules.append([*_from(ends.source), nfnetlink.masquerade()])
    return rules


def _to_published(published: list[Published], ends: Ends) -> _Rules:
    return [
        [
            *_BY_UPLINK,
            # A container of this network may have the same port open for the host.
            *nfnetlink.address_in(nfnetlink.IPV4_DESTINATION_OFFSET, ends.near, 32),
            *nfnetlink.destination_port(each.outer.protocol, each.outer.inner_port),
            *nfnetlink.destination_nat(each.address, each.port),
        ]
        for each in published
    ]


def _to_host(segments: list[Segment], ends: Ends) -> _Rules:
    if not ends.host:
        return []
    return [
        [
            *nfnetlink.link_is(nfnetlink.NFT_META_IIFNAME, each.link),
            *nfnetlink.address_in(nfnetlink.IPV4_DESTINATION_OFFSET, each.gateway, 32),
            *nfnetlink.of_protocol(protocol),
            *nfnetlink.destination_nat(ends.host),
        ]
        for each in segments
        for protocol in (_TCP, _UDP)
        if not each.internal
    ]


def _forward(segments: list[Segment], ends: Ends, *, has_published: bool) -> _Rules:
    rules = [[*nfnetlink.of_a_known_connection(), _ACCEPT]]
    if has_published:
        rules.append([*_BY_UPLINK, *nfnetlink.of_a_translated_destination(), _ACCEPT])
    for each in segments:
        arriving = nfnetlink.link_is(nfnetlink.NFT_META_IIFNAME, each.link)
        leaving = nfnetlink.link_is(nfnetlink.NFT_META_OIFNAME, each.link)
        address, prefix = str(each.network.network_address), each.network.prefixlen
        source = (nfnetlink.IPV4_SOURCE_OFFSET, address, prefix)
        # Nobody sends under an address of another network.
        rules.append([*arriving, *nfnetlink.address_in(*source, equal=False), _DROP])
        # With br_netfilter what stays on the bridge comes by, too.
        rules.append([*arriving, *leaving, _ACCEPT])
        if not each.internal:
            rules.append([*arriving, *_TO_UPLINK, _ACCEPT])
        if ends.source:
            rules.append([*_BY_UPLINK, *_from(ends.source), *leaving, _ACCEPT])
    return rules


def _from(address: str) -> list[bytes]:
    return nfnetlink.address_in(nfnetlink.IPV4_SOURCE_OFFSET, address, 32)


def _input(segments: list[Segment]) -> _Rules:
    rules = [
        [*nfnetlink.link_is(nfnetlink.NFT_META_IIFNAME, "lo"), _ACCEPT],
        [*nfnetlink.of_a_known_connection(), _ACCEPT],
    ]
    for each in segments:
        arriving = nfnetlink.link_is(nfnetlink.NFT_META_IIFNAME, each.link)
        own = nfnetlink.address_in(nfnetlink.IPV4_DESTINATION_OFFSET, each.gateway, 32)
        rules.append([*arriving, *own, *nfnetlink.of_protocol(_ICMP), _ACCEPT])
    return rules
