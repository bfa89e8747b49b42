"""The child's side of an interface, in a network namespace of its own."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from buildkit_py.runtime.kernel import netlink
from buildkit_py.runtime.spec import Interface
from tests.runtime.network.people import PROJECT, Inhabitant, Refused

pytestmark = [pytest.mark.root]

INTERFACE = Interface(address="10.9.8.2", prefix=25, gateway="10.9.8.1", mtu=1280)


def test_an_interface_that_was_not_plugged_is_named(
    inhabitants: Callable[[], Inhabitant],
) -> None:
    inhabitant = inhabitants()
    os.close(inhabitant.order_with_descriptors("enter")[1][0])

    with pytest.raises(Refused, match=r"cannot find the link `eth0`: .*ENODEV"):
        inhabitant.order("configure", **dataclasses.asdict(INTERFACE))


def test_a_plugged_interface_is_up_with_its_address_mtu_and_default_route(
    inhabitants: Callable[[], Inhabitant],
) -> None:
    zygote, inhabitant = inhabitants(), inhabitants()
    spec = (socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    near_fd, (fd,) = zygote.new_network_namespace([spec])
    _, (far_fd,) = inhabitant.order_with_descriptors("enter")
    with netlink.Netlink(socket.socket(fileno=fd)) as kernel:
        kernel.run(netlink.add_veth("near", "eth0", peer_netns_fd=far_fd, mtu=1280, up=True))

        inhabitant.order("configure", **dataclasses.asdict(INTERFACE))

        where = f"--net=/proc/{os.getpid()}/fd/{far_fd}"
        script = (
            "import os\n"
            "from buildkit_py.runtime.kernel.netlink import Netlink\n"
            "with Netlink() as kernel:\n"
            "    print(*((e.name, e.mtu, e.up) for e in kernel.links() if e.name != 'sit0'))\n"
            "    print(*((a.address, a.prefix) for a in kernel.addresses()))\n"
            "    print(*((r.prefix, r.gateway) for r in kernel.routes() if r.table == 254))\n"
            "path = '/proc/net/if_inet6'\n"
            "print(os.path.exists(path) and open(path).read().count('eth0'))\n"
        )
        told = subprocess.run(
            ["nsenter", where, sys.executable, "-c", script],
            env={"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            check=True,
        )
    os.close(near_fd)
    os.close(far_fd)

    links, addresses, routes, ipv6 = told.stdout.splitlines()
    assert "('eth0', 1280, True)" in links
    assert "('lo', 65536, True)" in links
    assert addresses == "('127.0.0.1', 8) ('10.9.8.2', 25)"
    assert routes == "(0, '10.9.8.1') (25, '')"
    assert ipv6 in ("0", "False")
