"""The private network of root, on the real kernel."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from buildkit_py.core.errors import HostError
from buildkit_py.runtime.kernel import netlink, nfnetlink
from buildkit_py.runtime.network import nat, resolve
from buildkit_py.runtime.network.network import Network
from tests.runtime.network.conftest import ANSWER, with_resolv_conf
from tests.runtime.network.people import PROJECT, Container, Refused

pytestmark = [pytest.mark.root]

MIRROR = "deb.debian.org"
Networks = Callable[[], Network]
Containers = Callable[[Network], Container]


def on_the_host(name: str) -> dict[str, list[str]]:
    """Everything that the host's own namespace shows of one network."""
    with netlink.Netlink() as kernel, nfnetlink.Nftables() as tables:
        links = [link.index for link in kernel.links() if link.name == name]
        return {
            "addresses": [a.address for a in kernel.addresses() if a.index in links],
            "routes": [route.destination for route in kernel.routes() if route.index in links],
            "tables": [table.name for table in tables.tables() if table.name == name],
        }


NOTHING: dict[str, list[str]] = {"addresses": [], "routes": [], "tables": []}


def wait_until_gone(name: str) -> None:
    """The kernel takes namespaces down in work of its own: wait for its word, not for a time."""
    assert name
    with netlink.open_socket(socket.NETLINK_ROUTE) as events:
        events.bind((0, 0x1))  # RTMGRP_LINK
        until = time.monotonic() + 10
        while on_the_host(name) != NOTHING or name in {n for _, n in socket.if_nameindex()}:
            assert time.monotonic() < until, on_the_host(name)
            select.select([events], [], [], 1)


class Firewall:
    """A firewall of somebody else that drops what is forwarded, made by `nft`."""

    def __init__(self, family: str, chain: str, *rules: str) -> None:
        self.name = f"test_{os.urandom(4).hex()}"
        self.family = {"ip": nfnetlink.NFPROTO_IPV4, "inet": nfnetlink.NFPROTO_INET}[family]
        self._table = [family, self.name]
        self._nft("add", "table", *self._table)
        self._nft("add", "chain", *self._table, "FORWARD", f"{{ {chain} }}")
        for rule in rules:
            self._nft("add", "rule", *self._table, "FORWARD", rule)

    def _nft(self, *words: str) -> None:
        subprocess.run(["nft", *words], check=True)

    def comments(self) -> list[str]:
        with nfnetlink.Nftables() as tables:
            rules = tables.rules(self.name, family=self.family)
        return [name for rule in rules if (name := nat.commented(rule.note))]

    def close(self) -> None:
        self._nft("delete", "table", *self._table)


FIREWALLS = {
    "docker's and ufw's way": ("ip", "type filter hook forward priority 0; policy drop;"),
    "RHEL's way": ("inet", "type filter hook forward priority 0;", "counter reject"),
}


@pytest.fixture(params=FIREWALLS)
def firewall(request: pytest.FixtureRequest) -> Iterator[Firewall]:
    made = Firewall(*FIREWALLS[request.param])
    yield made
    made.close()


def nameserver() -> str:
    return resolve.reachable(resolve.host_resolver().nameservers)[0]


@pytest.mark.network
def test_a_container_resolves_and_fetches_from_the_package_mirror(
    networks: Networks, containers: Containers
) -> None:
    container = containers(networks())
    address = container.ask(nameserver(), MIRROR)[0]

    # More than a few packets: with a wrong MTU connections open, and then hang.
    file = container.fetch(address, MIRROR, "/debian/dists/bookworm/main/binary-amd64/Packages.xz")

    assert file["status"] == "HTTP/1.1 200 OK"
    assert file["size"] > 1_000_000


def test_the_mtu_is_that_of_the_default_route(networks: Networks) -> None:
    with netlink.Netlink() as kernel:
        index = next(route.index for route in kernel.routes() if route.prefix == 0)
        mtu = next(link.mtu for link in kernel.links() if link.index == index)

    assert networks().reserve().mtu == mtu


def test_nothing_is_made_before_an_interface_is_asked_for(networks: Networks) -> None:
    network = networks()

    assert network.kind == "bridge"
    assert network.netns_fd == -1
    assert network.host_link == ""


def test_a_closed_network_leaves_nothing_on_the_host(
    networks: Networks, containers: Containers
) -> None:
    network = networks()
    containers(network).inhabitant.close()
    name, address = network.host_link, network.host_address
    during = on_the_host(name)

    network.close()

    assert during["addresses"] == [address]
    assert len(during["routes"]) >= 2
    assert during["tables"] == [name]
    assert on_the_host(name)["tables"] == []
    wait_until_gone(name)


def test_neighbours_reach_each_other_and_the_host_reaches_them(
    networks: Networks, containers: Containers
) -> None:
    network = networks()
    one, two = containers(network), containers(network)
    two.serve(8000, "two")

    seen = one.connect(two.interface.address, 8000)
    with socket.create_connection((two.interface.address, 8000), timeout=5) as connection:
        connection.sendall(b"hello")
        seen_by_host = connection.recv(100).decode()

    assert seen == f"two {one.interface.address}"
    assert seen_by_host == f"two {network.host_address}"


def test_a_container_reaches_the_host_under_its_own_and_the_gateways_address(
    networks: Networks, containers: Containers
) -> None:
    network = networks()
    container = containers(network)
    with socket.create_server(("0.0.0.0", 0)) as server:
        server.settimeout(5)
        inhabitant = container.inhabitant
        port = server.getsockname()[1]
        order = {"address": network.host_address, "port": port, "seconds": 5, "source": ""}
        inhabitant.send("connect", **order)
        connection, peer = server.accept()
        connection.sendall(b"host")
        connection.close()

        assert inhabitant.receive()[0] == {"said": "host"}
        assert peer[0] == container.interface.address


def test_two_networks_have_other_subnets_and_do_not_reach_each_other(
    networks: Networks, containers: Containers
) -> None:
    mine, yours = containers(networks()), containers(networks())
    yours.serve(8000, "yours")

    with pytest.raises(Refused, match="timed out"):
        mine.connect(yours.interface.address, 8000, seconds=1)

    subnets = [IPv4Network((c.interface.address, 24), strict=False) for c in (mine, yours)]
    assert not subnets[0].overlaps(subnets[1])


@pytest.mark.network
def test_a_container_cannot_send_under_another_address(
    networks: Networks, containers: Containers
) -> None:
    container = containers(networks())
    address = container.ask(nameserver(), MIRROR)[0]
    container.inhabitant.order("address", name="eth0", address="203.0.113.200")

    with pytest.raises(Refused, match="timed out"):
        container.connect(address, 80, seconds=1, source="203.0.113.200")


@pytest.mark.network
@pytest.mark.peer("nft")
def test_traffic_passes_a_firewall_that_drops_what_is_forwarded(
    networks: Networks, containers: Containers, firewall: Firewall
) -> None:
    network = networks()
    container = containers(network)

    address = container.ask(nameserver(), MIRROR)[0]
    said = container.connect(address, 80)
    name, during = network.host_link, firewall.comments()
    network.close()

    assert said.startswith("HTTP/1.")
    drops = f"the firewall chain `{firewall.name}/FORWARD` drops forwarded packets"
    assert any(notice.startswith(drops) for notice in network.notices)
    assert during.count(name) == 2
    assert name not in firewall.comments()


@pytest.mark.peer("nft")
def test_a_network_that_was_killed_leaves_nothing_but_rules_that_the_next_one_sweeps(
    networks: Networks, firewall: Firewall, tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        "from buildkit_py.runtime.network.network import Network\n"
        "from tests.runtime.network.people import Inhabitant, Machine\n"
        "network = Network.open(Machine(), Inhabitant(), run_dir=sys.argv[1], purpose='test')\n"
        "network.reserve()\n"
        "print(network.host_link, flush=True)\n"
        "sys.stdin.read()\n"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=PROJECT,
    )
    assert killed.stdin is not None
    assert killed.stdout is not None
    with killed.stdin, killed.stdout:
        name = killed.stdout.readline().decode().strip()
        living = on_the_host(name)

        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()

    assert len(living["addresses"]) == len(living["tables"]) == 1
    wait_until_gone(name)
    left = firewall.comments()
    networks().reserve()
    assert left.count(name) == 2
    assert name not in firewall.comments()


def test_a_table_of_a_killed_network_on_an_old_kernel_is_swept(networks: Networks) -> None:
    with nfnetlink.Nftables() as tables:
        tables.run(nfnetlink.add_table("bkpydeadbeef"))

    networks().reserve()

    assert on_the_host("bkpydeadbeef")["tables"] == []


def test_switching_forwarding_on_is_told(tmp_path: Path) -> None:
    # In a network namespace of its own, in which this test is the host.
    script = (
        "import sys\n"
        "from buildkit_py.runtime.network.network import Network\n"
        "from tests.runtime.network.people import Inhabitant, Machine\n"
        "switch = open('/proc/sys/net/ipv4/ip_forward', 'r+')\n"
        "switch.write('0')\n"
        "switch.flush()\n"
        "for _ in range(2):\n"
        "    zygote = Inhabitant()\n"
        "    with Network.open(Machine(), zygote, run_dir=sys.argv[1], purpose='') as network:\n"
        "        network.reserve()\n"
        "        switch.seek(0)\n"
        "        print(switch.read().strip(), *network.notices)\n"
        "    zygote.close()\n"
    )

    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", script, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )

    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first.startswith("1 switched IPv4 forwarding on (`net.ipv4.ip_forward`); it stays on")
    assert second == "1"


def test_addresses_are_used_again_as_late_as_possible_and_then_run_out(
    networks: Networks,
) -> None:
    network = networks()
    first = network.reserve()
    network.release(first)

    others = [network.reserve() for _ in range(124)]
    again = network.reserve()

    assert first.address not in {each.address for each in others}
    assert again == first
    with pytest.raises(HostError, match=r"all addresses of .*/25 are in use"):
        network.reserve()


def test_without_permission_the_network_is_unavailable_and_says_so_each_time(
    tmp_path: Path,
) -> None:
    script = (
        "import sys\n"
        "from buildkit_py.runtime.network.network import Network\n"
        "from buildkit_py.runtime.network.uplink import NetworkUnavailable\n"
        "from tests.runtime.network.people import Inhabitant, Machine\n"
        "network = Network.open(Machine(), Inhabitant(), run_dir=sys.argv[1], purpose='test')\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        network.reserve()\n"
        "    except NetworkUnavailable as error:\n"
        "        print(network.kind, error.message)\n"
    )
    done = subprocess.run(
        ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", sys.executable]
        + ["-c", script, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )

    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert lines[0].startswith("host cannot ")
    assert lines[0].endswith("Operation not permitted (EPERM)")


def test_a_nameserver_on_the_hosts_loopback_is_asked_through_the_gateway(
    loopback_nameserver: None, tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        "from buildkit_py.runtime.network import resolve\n"
        "from buildkit_py.runtime.network.network import Network\n"
        "from tests.runtime.network.people import Inhabitant, Machine, plugged\n"
        "zygote = Inhabitant()\n"
        "with Network.open(Machine(), zygote, run_dir=sys.argv[1], purpose='') as network:\n"
        "    container = plugged(network, Inhabitant())\n"
        "    forwarder = network.nameserver\n"
        "    text, notices = resolve.resolv_conf(resolve.host_resolver(), forwarder=forwarder)\n"
        "    print(text == f'nameserver {container.interface.gateway}\\n', *notices)\n"
        "    print(*container.ask(forwarder, 'name.example'))\n"
    )

    done = subprocess.run(
        with_resolv_conf(tmp_path, [sys.executable, "-c", script, str(tmp_path / "run")]),
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=60,
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["True", ANSWER]
