"""nftables without `nft`: what the kernel made of our bytes, as `nft` and `iptables` read it."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from buildkit_py.runtime.kernel import netlink, nfnetlink
from tests.runtime.network.people import Inhabitant

Made = tuple[nfnetlink.Nftables, int]


@pytest.fixture
def elsewhere() -> Iterator[Made]:
    """A socket in a fresh network namespace, and that namespace."""
    zygote = Inhabitant()
    spec = (socket.AF_NETLINK, socket.SOCK_RAW, nfnetlink.NETLINK_NETFILTER)
    netns_fd, (fd,) = zygote.new_network_namespace([spec])
    with nfnetlink.Nftables(socket.socket(fileno=fd)) as tables:
        yield tables, netns_fd
    os.close(netns_fd)
    zygote.close()


def tell(netns_fd: int, *argv: str) -> str:
    """Run a program in the namespace."""
    command = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns_fd}", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_base_chain_as_the_kernels_headers_lay_it_out() -> None:
    request = nfnetlink.add_base_chain(
        "t", "c", kind="nat", hook="postrouting", priority=nfnetlink.PRIORITY_SRCNAT
    )

    header = "02 00 00 00"  # AF_INET, version 0, resource 0
    table = "06 00 01 00 74 00 00 00"
    name = "06 00 03 00 63 00 00 00"
    hook = "14 00 04 80  08 00 01 00 00 00 00 04  08 00 02 00 00 00 00 64"
    policy = "08 00 05 00 00 00 00 01"
    kind = "08 00 07 00 6e 61 74 00"
    assert request.payload == bytes.fromhex(header + table + name + hook + policy + kind)
    assert request.kind == 0x0A03


def test_a_batch_is_framed_by_its_marks() -> None:
    request = nfnetlink.add_table("t")

    kinds = [
        (kind, flags, number)
        for kind, flags, number, _ in netlink.messages(nfnetlink.batch((request, request), 10))
    ]

    assert kinds == [
        (nfnetlink.NFNL_MSG_BATCH_BEGIN, 0x1, 9),
        (nfnetlink.NFT_MSG_NEWTABLE, 0x405, 10),
        (nfnetlink.NFT_MSG_NEWTABLE, 0x405, 11),
        (nfnetlink.NFNL_MSG_BATCH_END, 0x1, 12),
    ]


@pytest.mark.root
@pytest.mark.peer("nft")
def test_nft_reads_our_rules_as_we_mean_them(elsewhere: Made) -> None:
    tables, netns_fd = elsewhere
    accept, drop = nfnetlink.verdict(nfnetlink.NF_ACCEPT), nfnetlink.verdict(nfnetlink.NF_DROP)
    leaving = nfnetlink.link_is(nfnetlink.NFT_META_OIFNAME, "bkpy01")
    arriving = nfnetlink.link_is(nfnetlink.NFT_META_IIFNAME, "bkpy01", equal=False)
    source = nfnetlink.address_in(nfnetlink.IPV4_SOURCE_OFFSET, "10.1.2.128", 25)
    target = nfnetlink.address_in(nfnetlink.IPV4_DESTINATION_OFFSET, "10.0.0.0", 8, equal=False)

    tables.run(
        nfnetlink.add_table("ours"),
        nfnetlink.add_base_chain("ours", "post", kind="nat", hook="postrouting", priority=100),
        nfnetlink.add_rule("ours", "post", *source, *target, nfnetlink.masquerade()),
        nfnetlink.add_base_chain("ours", "pre", kind="nat", hook="prerouting", priority=-100),
        nfnetlink.add_rule(
            "ours",
            "pre",
            *nfnetlink.destination_port(6, 8080),
            *nfnetlink.destination_nat("10.1.2.130", 80),
        ),
        nfnetlink.add_base_chain(
            "ours", "fwd", kind="filter", hook="forward", priority=0, drop=True
        ),
        nfnetlink.add_rule("ours", "fwd", *arriving, nfnetlink.counter(), drop),
        nfnetlink.add_rule("ours", "fwd", *leaving, *nfnetlink.of_a_known_connection(), accept),
    )

    # Of rules added one by one the last stands first.
    assert tell(netns_fd, "nft", "list", "table", "ip", "ours") == (
        "table ip ours {\n"
        "\tchain post {\n"
        "\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
        "\t\tip saddr 10.1.2.128/25 ip daddr != 10.0.0.0/8 masquerade\n"
        "\t}\n"
        "\n"
        "\tchain pre {\n"
        "\t\ttype nat hook prerouting priority dstnat; policy accept;\n"
        "\t\ttcp dport 8080 dnat to 10.1.2.130:80\n"
        "\t}\n"
        "\n"
        "\tchain fwd {\n"
        "\t\ttype filter hook forward priority filter; policy drop;\n"
        '\t\toifname "bkpy01" ct state established,related accept\n'
        '\t\tiifname != "bkpy01" counter packets 0 bytes 0 drop\n'
        "\t}\n"
        "}\n"
    )


@pytest.mark.root
@pytest.mark.peer("iptables-nft")
def test_iptables_reads_the_rules_that_we_put_into_its_chain(elsewhere: Made) -> None:
    tables, netns_fd = elsewhere
    tell(netns_fd, "iptables-nft", "-P", "FORWARD", "DROP")
    dropping = [chain for chain in tables.chains() if chain.drops]

    (chain,) = dropping
    tables.run(
        nfnetlink.add_rule(
            chain.table,
            chain.name,
            *nfnetlink.link_is(nfnetlink.NFT_META_IIFNAME, "bkpy01"),
            nfnetlink.counter(),
            nfnetlink.verdict(nfnetlink.NF_ACCEPT),
            note=b"\0\7bkpy01\0",
        )
    )

    assert (chain.hook, chain.kind) == ("forward", "filter")
    assert tell(netns_fd, "iptables-nft", "-S", "FORWARD") == (
        "-P FORWARD DROP\n-A FORWARD -i bkpy01 -m comment --comment bkpy01 -j ACCEPT\n"
    )


@pytest.mark.root
def test_an_owned_table_is_nobody_elses_and_goes_with_its_socket() -> None:
    with nfnetlink.Nftables() as ours:
        ours.run(nfnetlink.add_table("test-owned-table", owned=True, note=b"hello"))
        with nfnetlink.Nftables() as others:
            listed = [table for table in others.tables() if table.name == "test-owned-table"]
            with pytest.raises(netlink.NetlinkError) as raised:
                others.run(nfnetlink.delete_table("test-owned-table"))

    assert listed == [nfnetlink.Table(nfnetlink.NFPROTO_IPV4, "test-owned-table", True, b"hello")]
    assert raised.value.errno == errno.EPERM
    with nfnetlink.Nftables() as others:
        assert "test-owned-table" not in {table.name for table in others.tables()}


@pytest.mark.root
def test_all_of_a_transaction_holds_or_nothing(elsewhere: Made) -> None:
    tables, _ = elsewhere
    accept = nfnetlink.verdict(nfnetlink.NF_ACCEPT)

    with pytest.raises(netlink.NetlinkError) as raised:
        tables.run(nfnetlink.add_table("t"), nfnetlink.add_rule("t", "nosuch", accept))
    assert raised.value.operation == "add a rule to the nftables chain `t/nosuch`"
    assert raised.value.errno == errno.ENOENT
    assert tables.tables() == []

    tables.run(nfnetlink.add_table("t"))  # the socket is still good
    assert [table.name for table in tables.tables()] == ["t"]


@pytest.mark.root
def test_rules_are_listed_with_their_notes_and_deleted_by_handle(elsewhere: Made) -> None:
    tables, _ = elsewhere
    tables.run(
        nfnetlink.add_table("t"),
        nfnetlink.add_base_chain("t", "c", kind="filter", hook="forward", priority=0),
        nfnetlink.add_rule("t", "c", nfnetlink.verdict(nfnetlink.NF_ACCEPT), note=b"one"),
        nfnetlink.add_rule("t", "c", nfnetlink.verdict(nfnetlink.NF_DROP), note=b"two"),
    )

    two, one = tables.rules("t")
    tables.run(nfnetlink.delete_rule("t", "c", two.handle))

    assert (two.note, one.note) == (b"two", b"one")
    assert tables.rules("t") == [one]
