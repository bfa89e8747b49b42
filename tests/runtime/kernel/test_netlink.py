"""rtnetlink: messages as bytes, and links, addresses and routes on the real kernel."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.runtime.kernel import netlink
from tests.runtime.network.people import Inhabitant


def test_a_route_request_as_the_kernels_headers_lay_it_out() -> None:
    request = netlink.add_route("10.1.0.0", 16, gateway="10.0.0.1", index=7)

    # rtmsg: AF_INET, 16 bits, no source, tos 0, table main, static, universe, unicast, no flags
    header = "02 10 00 00 fe 04 00 01 00 00 00 00"
    destination = "08 00 01 00 0a 01 00 00"
    gateway = "08 00 05 00 0a 00 00 01"
    link = "08 00 04 00 07 00 00 00"
    assert request.payload == bytes.fromhex(header + destination + gateway + link)
    assert (request.kind, request.flags) == (24, 0x600)
    assert request.operation == "add the route 10.1.0.0/16 via 10.0.0.1"


def test_an_address_request_as_the_kernels_headers_lay_it_out() -> None:
    request = netlink.add_address(2, "172.30.255.2", 25, what="eth0")

    header = "02 19 00 00 02 00 00 00"
    local = "08 00 02 00 ac 1e ff 02"
    address = "08 00 01 00 ac 1e ff 02"
    assert request.payload == bytes.fromhex(header + local + address)


def test_a_veth_request_nests_its_peer() -> None:
    request = netlink.add_veth("v", "eth0", peer_netns_fd=9, mtu=1400, master=3, up=True)

    outer = netlink.attributes(request.payload[netlink.LINK.size :])
    information = netlink.attributes(outer[netlink.IFLA_LINKINFO])
    data = netlink.attributes(information[netlink.IFLA_INFO_DATA])
    peer = netlink.attributes(data[netlink.VETH_INFO_PEER][netlink.LINK.size :])
    assert outer[netlink.IFLA_IFNAME] == b"v\0"
    assert outer[netlink.IFLA_MASTER] == (3).to_bytes(4, "little")
    assert information[netlink.IFLA_INFO_KIND] == b"veth"
    assert peer[netlink.IFLA_IFNAME] == b"eth0\0"
    assert peer[netlink.IFLA_NET_NS_FD] == (9).to_bytes(4, "little")
    assert peer[netlink.IFLA_MTU] == (1400).to_bytes(4, "little")


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=40)))
def test_attributes_are_read_as_they_were_written(given: dict[int, bytes]) -> None:
    data = b"".join(netlink.attribute(kind, value) for kind, value in given.items())

    assert len(data) % 4 == 0
    assert netlink.attributes(data) == given


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1), st.binary())))
def test_messages_are_read_as_they_were_written(given: list[tuple[int, int, bytes]]) -> None:
    padded = [(kind, number, body + bytes(-len(body) % 4)) for kind, number, body in given]
    data = b"".join(netlink.message(kind, 5, number, body) for kind, number, body in padded)

    assert [*netlink.messages(data)] == [(kind, 5, number, body) for kind, number, body in padded]


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_value_error(data: bytes) -> None:
    try:
        for _, _, _, body in netlink.messages(data):
            netlink.attributes(body)
    except ValueError:
        pass


def test_a_refusal_names_the_operation_the_error_and_the_kernels_words() -> None:
    error = netlink.NetlinkError("make the bridge `b`", errno.EEXIST, "name taken")

    assert error.message == "cannot make the bridge `b`: File exists (EEXIST): name taken"
    assert error.errno == errno.EEXIST


Made = tuple[netlink.Netlink, int]


@pytest.fixture
def elsewhere() -> Iterator[Made]:
    """A socket in a fresh network namespace, and that namespace."""
    zygote = Inhabitant()
    spec = (socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    netns_fd, (fd,) = zygote.new_network_namespace([spec])
    with netlink.Netlink(socket.socket(fileno=fd)) as kernel:
        yield kernel, netns_fd
    os.close(netns_fd)
    zygote.close()


@pytest.mark.root
def test_what_was_made_is_listed(elsewhere: Made) -> None:
    kernel, _ = elsewhere

    kernel.run(netlink.add_bridge("bridge", mtu=1400, mac=b"\2\x42\1\2\3\4"))
    bridge = kernel.link("bridge")
    kernel.run(
        netlink.without_ipv6(bridge.index, what="bridge"),
        netlink.change_link(bridge.index, what="bridge", up=True, forwarding=True),
        netlink.add_address(bridge.index, "10.9.0.1", 24, what="bridge"),
        netlink.add_route("10.8.0.0", 16, gateway="10.9.0.2", index=bridge.index),
        netlink.add_route("0.0.0.0", 0, gateway="10.9.0.3", index=bridge.index),
    )

    assert netlink.Link(bridge.index, "bridge", 1400, True, 0, "bridge") in kernel.links()
    assert netlink.Address(bridge.index, "10.9.0.1", 24) in kernel.addresses()
    main = [route for route in kernel.routes() if route.table == netlink.RT_TABLE_MAIN]
    assert {(route.destination, route.prefix, route.gateway) for route in main} == {
        ("0.0.0.0", 0, "10.9.0.3"),
        ("10.9.0.0", 24, ""),
        ("10.8.0.0", 16, "10.9.0.2"),
    }


@pytest.mark.root
def test_a_pair_joins_a_bridge_and_another_namespace_in_one_request(elsewhere: Made) -> None:
    kernel, _ = elsewhere
    zygote = Inhabitant()
    spec = (socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    far_fd, (fd,) = zygote.new_network_namespace([spec])
    kernel.run(netlink.add_bridge("bridge", mtu=1500, mac=b"\2\x42\1\2\3\4"))
    index = kernel.link("bridge").index

    kernel.run(
        netlink.add_veth("near", "eth0", peer_netns_fd=far_fd, mtu=1400, master=index, up=True)
    )

    near = kernel.link("near")
    assert (near.mtu, near.up, near.master, near.kind) == (1400, True, index, "veth")
    with netlink.Netlink(socket.socket(fileno=fd)) as far:
        assert (far.link("eth0").mtu, far.link("eth0").up) == (1400, False)
        far.run(netlink.delete_link(far.link("eth0").index, what="eth0"))
    assert "near" not in {link.name for link in kernel.links()}
    os.close(far_fd)
    zygote.close()


@pytest.mark.root
def test_the_first_refusal_of_a_batch_is_raised_and_tolerated_ones_are_not(
    elsewhere: Made,
) -> None:
    kernel, _ = elsewhere
    gone = 4711

    kernel.run(netlink.delete_link(gone, what="gone"))
    with pytest.raises(netlink.NetlinkError) as raised:
        kernel.run(
            netlink.delete_link(gone, what="gone"),
            netlink.change_link(gone, what="gone", up=True),
            netlink.add_address(gone, "10.0.0.1", 24, what="gone"),
        )

    assert raised.value.operation == "change the link `gone`"
    assert raised.value.errno == errno.ENODEV


@pytest.mark.root
def test_an_unknown_link_is_named(elsewhere: Made) -> None:
    kernel, _ = elsewhere

    with pytest.raises(netlink.NetlinkError, match=r"cannot find the link `nosuch`: .*ENODEV"):
        kernel.link("nosuch")


@pytest.mark.root
def test_long_lists_arrive_whole(elsewhere: Made) -> None:
    kernel, _ = elsewhere
    lo = kernel.link("lo")
    kernel.run(netlink.change_link(lo.index, what="lo", up=True))
    wanted = {f"10.1.{n // 250}.{n % 250 + 1}" for n in range(1000)}

    kernel.run(*(netlink.add_address(lo.index, a, 32, what="lo") for a in sorted(wanted)[:200]))
    for address in sorted(wanted)[200:]:
        kernel.run(netlink.add_address(lo.index, address, 32, what="lo"))

    assert wanted <= {each.address for each in kernel.addresses()}


Encoder = Callable[[], netlink.Request]


@pytest.mark.parametrize(
    "make",
    [
        lambda: netlink.add_bridge("b", mtu=1500, mac=bytes(6)),
        lambda: netlink.change_link(1, what="lo", up=False, mtu=1400, name="x", master=0),
        lambda: netlink.change_link(1, what="lo", netns_fd=4, forwarding=True),
        lambda: netlink.without_ipv6(1, what="lo"),
        lambda: netlink.delete_link(1, what="lo"),
        lambda: netlink.add_route("0.0.0.0", 0, index=1),
    ],
)
def test_every_payload_ends_on_four_bytes_and_is_attributes(make: Encoder) -> None:
    request = make()

    assert len(request.payload) % 4 == 0
    head = netlink.LINK.size if request.kind < netlink.RTM_NEWADDR else netlink.ROUTE.size
    assert netlink.attributes(request.payload[head:]) is not None
