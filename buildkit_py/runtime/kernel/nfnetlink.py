"""nftables through nfnetlink: tables, base chains and rules, without the program `nft`.

A rule is a list of expressions, each made by one small function below; the registers of the
kernel's little machine are 4 bytes wide and numbered from 8 (NFT_REG32_00). What is sent together
is one transaction: all of it holds or nothing does.

A table made with `owned=True` belongs to the socket and disappears with it, also after SIGKILL
(NFT_TABLE_F_OWNER, kernel >= 5.12).

Sources: include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h, net/netfilter/nf_tables_api.c.
"""

from __future__ import annotations

import socket
import struct

from buildkit_py.core.data import dataclass, field
from buildkit_py.runtime.kernel.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NetlinkError,
    Request,
    attribute,
    attributes,
    message,
    messages,
    nested,
    open_socket,
    prepare_socket,
    refusal,
    text,
)

NETLINK_NETFILTER = 12  # not in the socket module of every Python
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 0x10, 0x11
NFNL_SUBSYS_NFTABLES = 10
NFT = NFNL_SUBSYS_NFTABLES << 8
NFT_MSG_NEWTABLE, NFT_MSG_GETTABLE, NFT_MSG_DELTABLE = NFT | 0, NFT | 1, NFT | 2
NFT_MSG_NEWCHAIN, NFT_MSG_GETCHAIN = NFT | 3, NFT | 4
NFT_MSG_NEWRULE, NFT_MSG_GETRULE, NFT_MSG_DELRULE = NFT | 6, NFT | 7, NFT | 8

NFPROTO_UNSPEC, NFPROTO_INET, NFPROTO_IPV4 = 0, 1, 2
HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}
NF_DROP, NF_ACCEPT = 0, 1

NFTA_TABLE_NAME, NFTA_TABLE_FLAGS, NFTA_TABLE_USERDATA = 1, 2, 6
NFT_TABLE_F_OWNER = 0x2
NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE = (
    1,
    3,
    4,
    5,
    7,
)
NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY = 1, 2
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_RULE_EXPRESSIONS = 1, 2, 3, 4
NFTA_RULE_USERDATA = 7
NFTA_LIST_ELEM, NFTA_EXPR_NAME, NFTA_EXPR_DATA = 1, 1, 2
NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_VERDICT_CODE = 1, 2, 1

NFT_REG_VERDICT, REGISTER_A, REGISTER_B = 0, 8, 9
NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER = 1, 2
NFT_META_IIFNAME, NFT_META_OIFNAME, NFT_META_L4PROTO = 6, 7, 16
NFT_CMP_EQ, NFT_CMP_NEQ = 0, 1
NFT_CT_STATE, NFT_CT_STATUS = 0, 2
IPS_DST_NAT = 0x20
NFTA_FIB_F_DADDR, NFT_FIB_RESULT_ADDRTYPE, RTN_LOCAL = 0x2, 3, 2
CT_ESTABLISHED_OR_RELATED = 0x2 | 0x4
IPV4_SOURCE_OFFSET, IPV4_DESTINATION_OFFSET, DESTINATION_PORT_OFFSET = 12, 16, 2
IFNAMSIZ = 16

PRIORITY_DSTNAT, PRIORITY_FILTER, PRIORITY_SRCNAT = -100, 0, 100

NFGENMSG = struct.Struct(">BBH")  # family, version, resource; the last one in network order


def _be32(kind: int, value: int) -> bytes:
    """Encode a number; nf_tables wants its attributes in network order."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def _generic(family: int) -> bytes:
    return NFGENMSG.pack(family, 0, 0)


def _expression(name: str, *data: bytes) -> bytes:
    return nested(NFTA_LIST_ELEM, text(NFTA_EXPR_NAME, name), nested(NFTA_EXPR_DATA, *data))


def meta(key: int, register: int = REGISTER_A) -> bytes:
    """Load a fact about the packet: a link's name, the transport protocol."""
    return _expression("meta", _be32(2, key), _be32(1, register))


def payload(base: int, offset: int, length: int, register: int = REGISTER_A) -> bytes:
    """Load bytes of a header."""
    return _expression(
        "payload", _be32(1, register), _be32(2, base), _be32(3, offset), _be32(4, length)
    )


def bitwise(mask: bytes, register: int = REGISTER_A) -> bytes:
    """Keep the bits of `mask`."""
    return _expression(
        "bitwise",
        _be32(1, register),
        _be32(2, register),
        _be32(3, len(mask)),
        nested(4, attribute(NFTA_DATA_VALUE, mask)),
        nested(5, attribute(NFTA_DATA_VALUE, bytes(len(mask)))),
    )


def compare(value: bytes, *, equal: bool = True, register: int = REGISTER_A) -> bytes:
    """Go on with the rule only where the register is, or is not, `value`."""
    return _expression(
        "cmp",
        _be32(1, register),
        _be32(2, NFT_CMP_EQ if equal else NFT_CMP_NEQ),
        nested(3, attribute(NFTA_DATA_VALUE, value)),
    )


def conntrack_state(register: int = REGISTER_A) -> bytes:
    return _expression("ct", _be32(2, NFT_CT_STATE), _be32(1, register))


def counter() -> bytes:
    """Count packets and bytes; iptables-nft expects one in every rule that it lists."""
    return _expression("counter", attribute(1, bytes(8)), attribute(2, bytes(8)))


def verdict(code: int) -> bytes:
    return _expression(
        "immediate",
        _be32(1, NFT_REG_VERDICT),
        nested(2, nested(NFTA_DATA_VERDICT, _be32(NFTA_VERDICT_CODE, code))),
    )


def masquerade() -> bytes:
    return _expression("masq")


def destination_nat(address: str, port: int = 0) -> list[bytes]:
    """Send the packet to another IPv4 address, and to another port unless that is 0."""
    # nat: type (1 is DNAT), family, first address register, first port register
    nat = [_be32(1, 1), _be32(2, NFPROTO_IPV4), _be32(3, REGISTER_A)]
    expressions = [_immediate(socket.inet_aton(address), REGISTER_A)]
    if port:
        expressions.append(_immediate(struct.pack(">H", port), REGISTER_B))
        nat.append(_be32(5, REGISTER_B))
    return [*expressions, _expression("nat", *nat)]


def _immediate(value: bytes, register: int) -> bytes:
    return _expression(
        "immediate", _be32(1, register), nested(2, attribute(NFTA_DATA_VALUE, value))
    )


def link_is(key: int, name: str, *, equal: bool = True) -> list[bytes]:
    """Match the link a packet came by (NFT_META_IIFNAME) or leaves by (NFT_META_OIFNAME)."""
    return [meta(key), compare(name.encode().ljust(IFNAMSIZ, b"\0"), equal=equal)]


def address_in(offset: int, network: str, prefix: int, *, equal: bool = True) -> list[bytes]:
    """Match an IPv4 address at `offset` of the header against a network."""
    mask = struct.pack(">I", (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF)
    return [
        payload(NFT_PAYLOAD_NETWORK_HEADER, offset, 4),
        bitwise(mask),
        compare(socket.inet_aton(network), equal=equal),
    ]


def of_a_known_connection() -> list[bytes]:
    """Match packets that belong to a connection already seen, or are about one."""
    return [
        conntrack_state(),
        bitwise(struct.pack("=I", CT_ESTABLISHED_OR_RELATED)),
        compare(bytes(4), equal=False),
    ]


def of_a_translated_destination() -> list[bytes]:
    """Match packets of connections that a `nat` chain sent elsewhere."""
    return [
        _expression("ct", _be32(2, NFT_CT_STATUS), _be32(1, REGISTER_A)),
        bitwise(struct.pack("=I", IPS_DST_NAT)),
        compare(bytes(4), equal=False),
    ]


def to_this_host() -> list[bytes]:
    """Match packets to an address of this host, whichever it has now."""
    return [
        _expression(
            "fib",
            _be32(1, REGISTER_A),
            _be32(2, NFT_FIB_RESULT_ADDRTYPE),
            _be32(3, NFTA_FIB_F_DADDR),
        ),
        compare(struct.pack("=I", RTN_LOCAL)),
    ]


def of_protocol(number: int) -> list[bytes]:
    """Match a transport protocol: TCP (6), UDP (17), ICMP (1)."""
    return [meta(NFT_META_L4PROTO), compare(bytes([number]))]


def destination_port(protocol: int, port: int) -> list[bytes]:
    """Match a port of TCP (6) or UDP (17)."""
    return [
        *of_protocol(protocol),
        payload(NFT_PAYLOAD_TRANSPORT_HEADER, DESTINATION_PORT_OFFSET, 2),
        compare(struct.pack(">H", port)),
    ]


def add_table(
    name: str, *, family: int = NFPROTO_IPV4, owned: bool = False, note: bytes = b""
) -> Request:
    """Make a table. note: bytes of ours kept with it (NFTA_TABLE_USERDATA, kernel >= 5.10)."""
    body = _generic(family) + text(NFTA_TABLE_NAME, name)
    body += _be32(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER if owned else 0)
    if note:
        body += attribute(NFTA_TABLE_USERDATA, note)
    return Request(f"make the nftables table `{name}`", NFT_MSG_NEWTABLE, body, NLM_F_CREATE)


def delete_table(name: str, *, family: int = NFPROTO_IPV4) -> Request:
    return Request(
        f"delete the nftables table `{name}`",
        NFT_MSG_DELTABLE,
        _generic(family) + text(NFTA_TABLE_NAME, name),
    )


def add_base_chain(
    table: str,
    name: str,
    *,
    kind: str,
    hook: str,
    priority: int,
    family: int = NFPROTO_IPV4,
    drop: bool = False,
) -> Request:
    """Make a chain that packets pass at `hook`.

    kind: `nat` or `filter`; drop: the policy, for packets that no rule decides about
    """
    body = (
        _generic(family)
        + text(NFTA_CHAIN_TABLE, table)
        + text(NFTA_CHAIN_NAME, name)
        + nested(
            NFTA_CHAIN_HOOK,
            _be32(NFTA_HOOK_HOOKNUM, HOOKS[hook]),
            _be32(NFTA_HOOK_PRIORITY, priority),
        )
        + _be32(NFTA_CHAIN_POLICY, NF_DROP if drop else NF_ACCEPT)
        + text(NFTA_CHAIN_TYPE, kind)
    )
    return Request(
        f"make the nftables chain `{table}/{name}`", NFT_MSG_NEWCHAIN, body, NLM_F_CREATE
    )


def add_rule(
    table: str,
    chain: str,
    *expressions: bytes,
    family: int = NFPROTO_IPV4,
    note: bytes = b"",
) -> Request:
    """Put a rule at the *top* of a chain: without NLM_F_APPEND a rule goes first."""
    body = (
        _generic(family)
        + text(NFTA_RULE_TABLE, table)
        + text(NFTA_RULE_CHAIN, chain)
        + nested(NFTA_RULE_EXPRESSIONS, *expressions)
    )
    if note:
        body += attribute(NFTA_RULE_USERDATA, note)
    return Request(
        f"add a rule to the nftables chain `{table}/{chain}`", NFT_MSG_NEWRULE, body, NLM_F_CREATE
    )


def flush_chain(table: str, chain: str, *, family: int = NFPROTO_IPV4) -> Request:
    """Delete all rules of a chain."""
    body = _generic(family) + text(NFTA_RULE_TABLE, table) + text(NFTA_RULE_CHAIN, chain)
    return Request(f"empty the nftables chain `{table}/{chain}`", NFT_MSG_DELRULE, body)


def delete_rule(table: str, chain: str, handle: int, *, family: int = NFPROTO_IPV4) -> Request:
    body = (
        _generic(family)
        + text(NFTA_RULE_TABLE, table)
        + text(NFTA_RULE_CHAIN, chain)
        + attribute(NFTA_RULE_HANDLE, struct.pack(">Q", handle))
    )
    return Request(f"delete a rule of the nftables chain `{table}/{chain}`", NFT_MSG_DELRULE, body)


@dataclass(frozen=True, slots=True)
class Table:
    """note: what was given to `add_table`, or another program's own bytes"""

    family: int
    name: str
    owned: bool
    note: bytes


@dataclass(frozen=True, slots=True)
class Chain:
    """hook: name of the hook, "" for a chain that is only jumped to; drops: policy drop"""

    family: int
    table: str
    name: str
    hook: str
    kind: str
    drops: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """expressions: the bytes of NFTA_RULE_EXPRESSIONS"""

    family: int
    table: str
    chain: str
    handle: int
    note: bytes
    expressions: bytes = field(repr=False)

    @property
    def names(self) -> list[str]:
        """The kinds of its expressions, in order."""
        found = []
        at = 0
        while at + 4 <= len(self.expressions):
            (length,) = struct.unpack_from("=H", self.expressions, at)
            element = attributes(self.expressions[at + 4 : at + length])
            found.append(_text(element, NFTA_EXPR_NAME))
            at += max(4, length + -length % 4)
        return found


def batch(requests: tuple[Request, ...], first: int) -> bytes:
    """Encode one transaction; message i of it has the sequence number first + i.

    The marks of begin and end take the numbers before and after.
    """
    mark = NFGENMSG.pack(0, 0, NFNL_SUBSYS_NFTABLES)
    parts = [message(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, first - 1, mark)]
    parts += [
        message(each.kind, each.flags | NLM_F_REQUEST | NLM_F_ACK, first + i, each.payload)
        for i, each in enumerate(requests)
    ]
    parts.append(message(NFNL_MSG_BATCH_END, NLM_F_REQUEST, first + len(requests), mark))
    return b"".join(parts)


class Nftables:
    """One nfnetlink socket, used by one thread at a time; it owns the tables made `owned`.

    given: a socket made in another namespace, which this object owns from now on; by default
        one is opened in the current namespace

    Raises NetlinkError, from every method.
    """

    def __init__(self, given: socket.socket | None = None) -> None:
        try:
            self._socket = given if given is not None else open_socket(NETLINK_NETFILTER)
            prepare_socket(self._socket)
        except OSError as error:
            raise NetlinkError("open an nfnetlink socket", error.errno or 0) from error
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Nftables:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, *requests: Request) -> None:
        """Make the changes in one transaction."""
        first = self._sequence + 2
        self._sequence = first + len(requests)
        operation = requests[0].operation
        self._send(operation, batch(requests, first))
        waiting = len(requests)
        while waiting:
            for kind, flags, sequence, body in messages(self._receive(operation)):
                if kind != NLMSG_ERROR or not first - 1 <= sequence <= self._sequence:
                    continue
                number, detail = refusal(flags, body)
                # A complaint about the marks (EPERM, no such subsystem) is about all of it.
                index = min(max(sequence - first, 0), len(requests) - 1)
                if number:
                    raise NetlinkError(requests[index].operation, number, detail)
                waiting -= 1

    def tables(self) -> list[Table]:
        found = []
        for family, body in self._dump("list the nftables tables", NFT_MSG_GETTABLE, b""):
            (flags,) = struct.unpack(">I", body.get(NFTA_TABLE_FLAGS, bytes(4)))
            found.append(
                Table(
                    family=family,
                    name=_text(body, NFTA_TABLE_NAME),
                    owned=bool(flags & NFT_TABLE_F_OWNER),
                    note=body.get(NFTA_TABLE_USERDATA, b""),
                )
            )
        return found

    def chains(self) -> list[Chain]:
        found = []
        names = {number: name for name, number in HOOKS.items()}
        for family, body in self._dump("list the nftables chains", NFT_MSG_GETCHAIN, b""):
            hook = attributes(body.get(NFTA_CHAIN_HOOK, b"")).get(NFTA_HOOK_HOOKNUM)
            (policy,) = struct.unpack(">I", body.get(NFTA_CHAIN_POLICY, b"\0\0\0\1"))
            found.append(
                Chain(
                    family=family,
                    table=_text(body, NFTA_CHAIN_TABLE),
                    name=_text(body, NFTA_CHAIN_NAME),
                    hook=names.get(struct.unpack(">I", hook)[0], "") if hook else "",
                    kind=_text(body, NFTA_CHAIN_TYPE),
                    drops=hook is not None and policy == NF_DROP,
                )
            )
        return found

    def rules(self, table: str, *, family: int = NFPROTO_IPV4) -> list[Rule]:
        asked = text(NFTA_RULE_TABLE, table)
        found = []
        operation = f"list the rules of the nftables table `{table}`"
        for answered, body in self._dump(operation, NFT_MSG_GETRULE, asked, family):
            (handle,) = struct.unpack(">Q", body.get(NFTA_RULE_HANDLE, bytes(8)))
            rule = Rule(
                family=answered,
                table=_text(body, NFTA_RULE_TABLE),
                chain=_text(body, NFTA_RULE_CHAIN),
                handle=handle,
                note=body.get(NFTA_RULE_USERDATA, b""),
                expressions=body.get(NFTA_RULE_EXPRESSIONS, b""),
            )
            if rule.table == table:
                found.append(rule)
        return found

    def _dump(
        self, operation: str, kind: int, asked: bytes, family: int = NFPROTO_UNSPEC
    ) -> list[tuple[int, dict[int, bytes]]]:
        self._sequence += 1
        flags = NLM_F_REQUEST | NLM_F_DUMP
        self._send(operation, message(kind, flags, self._sequence, _generic(family) + asked))
        found: list[tuple[int, dict[int, bytes]]] = []
        while True:
            for answer, mark, sequence, body in messages(self._receive(operation)):
                if sequence != self._sequence:
                    continue
                if answer == NLMSG_DONE:
                    return found
                if answer == NLMSG_ERROR:
                    raise NetlinkError(operation, *refusal(mark, body))
                found.append((body[0], attributes(body[NFGENMSG.size :])))

    def _send(self, operation: str, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise NetlinkError(operation, error.errno or 0) from error

    def _receive(self, operation: str) -> bytes:
        try:
            return self._socket.recv(1 << 16)
        except OSError as error:
            raise NetlinkError(operation, error.errno or 0) from error


def _text(body: dict[int, bytes], kind: int) -> str:
    return body.get(kind, b"").rstrip(b"\0").decode(errors="replace")
