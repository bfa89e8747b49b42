"""The choice of a subnet: pure arithmetic."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.runtime.network.subnets import POOLS, NoSubnet, Subnet, choose, mac_of

NETWORKS = st.builds(
    lambda pool, prefix, number: IPv4Network(
        (int(pool.network_address) + number % pool.num_addresses, max(prefix, pool.prefixlen)),
        strict=False,
    ),
    st.sampled_from(POOLS),
    st.integers(8, 32),
    st.integers(0, 2**24),
)


def test_a_host_without_private_routes_gives_the_last_subnet_of_the_first_pool() -> None:
    assert choose([], []).network == IPv4Network("172.30.255.0/24")


def test_a_pool_that_somebody_has_a_part_of_is_left_alone() -> None:
    docker = [IPv4Network("172.30.0.0/24"), IPv4Network("172.29.4.4/32")]

    assert choose(docker, []).network == IPv4Network("172.28.255.0/24")


def test_our_own_networks_share_a_pool() -> None:
    first = choose([], [])

    second = choose([], [first.containers, IPv4Network("172.30.255.128/30")])

    assert second.network == IPv4Network("172.30.254.0/24")


def test_a_pool_in_use_is_still_taken_from_where_there_is_no_other() -> None:
    everywhere = [IPv4Network((pool.network_address, 24)) for pool in POOLS]

    assert choose(everywhere, []).network == IPv4Network("172.30.255.0/24")


def test_nameservers_stay_reachable() -> None:
    nameserver = IPv4Address("172.30.255.53")

    assert nameserver not in choose([], [], [nameserver]).network


def test_without_a_free_network_there_is_a_hint() -> None:
    with pytest.raises(NoSubnet) as raised:
        choose(POOLS, [])

    assert raised.value.hint == "run with the network of the host: `--network host`"


@given(st.lists(NETWORKS, max_size=30), st.lists(NETWORKS, max_size=30))
def test_a_chosen_subnet_overlaps_nothing(
    foreign: list[IPv4Network], ours: list[IPv4Network]
) -> None:
    try:
        network = choose(foreign, ours).network
    except NoSubnet:
        return

    assert not any(network.overlaps(each) for each in (*foreign, *ours))
    assert any(network.subnet_of(pool) for pool in POOLS)


def test_the_roles_of_the_addresses() -> None:
    subnet = Subnet(IPv4Network("10.1.2.0/24"))
    addresses = [*subnet.container_addresses()]

    assert (subnet.gateway, subnet.host_end, subnet.near_end) == (
        "10.1.2.1",
        "10.1.2.129",
        "10.1.2.130",
    )
    assert (addresses[0], addresses[-1], len(addresses)) == ("10.1.2.2", "10.1.2.126", 125)
    assert all(IPv4Address(each) in subnet.containers for each in addresses)


def test_a_mac_follows_from_the_address() -> None:
    assert mac_of("172.30.255.2").hex(":") == "02:42:ac:1e:ff:02"
