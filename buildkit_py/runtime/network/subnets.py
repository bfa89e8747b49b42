"""Which addresses a network of ours gets: pure arithmetic over what the host has already.

A network takes one /24. Its lower half is for containers, its upper half for the pair of links
that joins it to the host:

    .1    gateway of the containers (the bridge)     .129  the host's end of the uplink
    .2 …  containers, as far as .126                 .130  the network's end of it
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import HostError, InputError

CONTAINERS_PREFIX = 25
UPLINK_PREFIX = 30

# moby's default address pools (libnetwork/ipamutils), then private space that is used less often.
# The highest first: dockerd takes the lowest ones, so the two rarely meet. 172.31 comes late:
# it is the default of AWS, whose neighbours no route of the host shows.
POOLS = tuple(
    IPv4Network(pool)
    for pool in (
        *(f"172.{n}.0.0/16" for n in range(30, 16, -1)),
        "172.31.0.0/16",
        "192.168.0.0/16",
        "10.0.0.0/8",
    )
)


class NoSubnet(HostError):
    code = "network/no-subnet"

    def __init__(self) -> None:
        super().__init__(
            "every private IPv4 network is routed on this host already",
            hint="run with the network of the host: `--network host`",
        )


class BadSubnet(InputError):
    """A subnet, gateway or address that was asked for cannot be."""

    code = "network/bad-subnet"


@dataclass(frozen=True, slots=True)
class Subnet:
    """A /24 and the roles of its addresses."""

    network: IPv4Network

    def _at(self, number: int) -> str:
        return str(self.network.network_address + number)

    @property
    def containers(self) -> IPv4Network:
        return IPv4Network((self.network.network_address, CONTAINERS_PREFIX))

    @property
    def gateway(self) -> str:
        return self._at(1)

    @property
    def host_end(self) -> str:
        return self._at(129)

    @property
    def near_end(self) -> str:
        return self._at(130)

    def container_addresses(self) -> Iterator[str]:
        return (self._at(number) for number in range(2, 127))


def parse(text: str) -> IPv4Network:
    """Read a subnet that somebody asks for. Raises BadSubnet."""
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise BadSubnet(f"invalid subnet {text}: {error}") from None
    if network.prefixlen > 30 or network.prefixlen < 8:
        raise BadSubnet(f"invalid subnet {text}: between /8 and /30 it can be")
    return network


def check_gateway(network: IPv4Network, gateway: str) -> str:
    """Return the gateway of a network, its first address for "". Raises BadSubnet."""
    if not gateway:
        return str(network.network_address + 1)
    if not is_in(gateway, network):
        raise BadSubnet(f"no matching subnet for gateway {gateway}")
    return gateway


def is_in(address: str, network: IPv4Network) -> bool:
    """Tell whether a text is an address of a network."""
    try:
        return IPv4Address(address) in network
    except ValueError:
        return False


def choose(
    foreign: Iterable[IPv4Network],
    ours: Iterable[IPv4Network],
    avoid: Iterable[IPv4Address] = (),
) -> Subnet:
    """Return a free /24.

    foreign: destinations of the host's routes, without the default route and those of ours
    ours: destinations of routes over links of ours
    avoid: single addresses that must stay reachable, such as the nameservers

    A pool that somebody else has a part of is left alone while there is another: what we see
    of it may not be all of it. Raises NoSubnet.
    """
    taken = [*foreign, *(IPv4Network(address) for address in avoid)]
    mine = list(ours)
    free = [pool for pool in POOLS if not any(pool.overlaps(each) for each in taken)]
    rest = [pool for pool in POOLS if pool not in free]
    for pool in (*free, *rest):
        # The subnets of one pool are tried from the last one; 4096 of 10/8 are enough.
        last = int(pool.broadcast_address) - 255
        for number in range(min(pool.num_addresses // 256, 4096)):
            candidate = IPv4Network((last - number * 256, 24))
            near = (*mine, *taken) if pool in rest else mine
            if not any(candidate.overlaps(each) for each in near):
                return Subnet(candidate)
    raise NoSubnet


def mac_of(address: str) -> bytes:
    """Return the locally administered MAC address of a container.

    It follows from the IPv4 address, as docker's did before 28: an address that is used again
    then finds no stale neighbour entry anywhere.
    """
    return b"\x02\x42" + IPv4Address(address).packed
