"""The text of /etc/resolv.conf and /etc/hosts for a container."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.runtime.network import resolve


def test_a_resolver_is_read_as_resolv_conf_5_has_it() -> None:
    text = (
        "# made by something\n"
        "nameserver 10.0.0.1\n"
        "nameserver 10.0.0.2 # second\n"
        "domain first.example\n"
        "search a.example b.example ; the last one wins\n"
        "options ndots:2\n"
        "options edns0 trust-ad\n"
        "sortlist 130.155.160.0\n"
        "nameserver\n"
    )

    assert resolve.parse(text) == resolve.Resolver(
        ("10.0.0.1", "10.0.0.2"), "a.example b.example", "ndots:2 edns0 trust-ad"
    )


@given(st.text())
def test_any_text_is_a_resolver(text: str) -> None:
    resolver = resolve.parse(text)

    assert all(" " not in each for each in resolver.nameservers)


def test_what_a_container_cannot_ask_is_left_out() -> None:
    given = ["127.0.0.53", "::1", "10.0.0.1", "fe80::1%eth0", "2001:db8::1", "0.0.0.0", "nonsense"]

    assert resolve.reachable(given) == ["10.0.0.1"]


def test_search_and_options_are_kept() -> None:
    host = resolve.Resolver(("127.0.0.1", "10.0.0.1"), "a.example", "ndots:2")

    text, notices = resolve.resolv_conf(host)

    assert text == "nameserver 10.0.0.1\nsearch a.example\noptions ndots:2\n"
    assert notices == []


def test_the_uplinks_forwarder_stands_in_for_a_loopback() -> None:
    host = resolve.Resolver(("127.0.0.1",))

    assert resolve.resolv_conf(host, forwarder="10.0.2.3") == ("nameserver 10.0.2.3\n", [])


def test_the_last_resort_is_told() -> None:
    text, notices = resolve.resolv_conf(resolve.Resolver(("127.0.0.1",)))

    assert text == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    assert notices == [
        "no nameserver of this host can be reached from a container: using 8.8.8.8 and 8.8.4.4"
    ]


def test_behind_a_stub_the_servers_that_it_asks_are_read(tmp_path: Path) -> None:
    stub, behind, absent = tmp_path / "stub", tmp_path / "behind", tmp_path / "absent"
    stub.write_text("nameserver 127.0.0.53\nsearch stub.example\n")
    behind.write_text("nameserver 10.0.0.1\nsearch real.example\n")

    real = resolve.host_resolver(str(stub), str(behind))
    alone = resolve.host_resolver(str(stub), str(absent))
    nothing = resolve.host_resolver(str(absent), str(absent))

    assert real == resolve.Resolver(("10.0.0.1",), "real.example")
    assert alone == resolve.Resolver(("127.0.0.53",), "stub.example")
    assert nothing == resolve.Resolver()


def test_hosts_are_dockers_lines_then_added_ones_then_its_own() -> None:
    text = resolve.hosts(
        address="172.30.255.2",
        hostname="box",
        add=[("db", "10.0.0.9"), ("host.docker.internal", "host-gateway")],
        host_address="172.30.255.129",
    )

    assert text == (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::\tip6-localnet\n"
        "ff00::\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n"
        "10.0.0.9\tdb\n"
        "172.30.255.129\thost.docker.internal\n"
        "172.30.255.2\tbox\n"
    )


def test_a_host_out_of_reach_is_an_error_that_names_the_entry() -> None:
    with pytest.raises(resolve.HostOutOfReach) as raised:
        resolve.hosts(add=[("me", "host-gateway")])

    assert raised.value.message == (
        "`me:host-gateway` has no address: containers cannot reach this host"
    )


def test_in_the_hosts_network_its_own_hosts_are_used(tmp_path: Path) -> None:
    own = tmp_path / "hosts"
    own.write_text("127.0.0.1 localhost\n10.0.0.3 printer")

    text = resolve.host_hosts([("me", "host-gateway"), ("db", "10.0.0.9")], str(own))

    assert text == "127.0.0.1 localhost\n10.0.0.3 printer\n127.0.0.1\tme\n10.0.0.9\tdb\n"
