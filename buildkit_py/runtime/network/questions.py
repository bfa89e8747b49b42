"""DNS messages of a nameserver for containers: read a question, write an answer. Pure.

What docker's embedded server does (moby daemon/libnetwork/resolver.go), without its faults: a
name that we know has an answer for every type, mostly an empty one, so that it is never asked of
others. RFC 1035 section 4, RFC 6891.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from buildkit_py.core.data import dataclass, replace

A, PTR, AAAA, OPT = 1, 12, 28, 41
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, REFUSED = 0, 1, 2, 3, 5
TTL_SECONDS = 5
"""Short: a container that is started again may have another address."""
LEAST_UDP_BYTES = 512
MOST_TCP_BYTES = 65535
_HEADER = struct.Struct(">6H")
_MOST_NAME_BYTES = 255


class BadQuestion(ValueError):
    """It is no question that we could read."""


@dataclass(frozen=True, slots=True)
class Question:
    """name: lower case, without the last dot; raw: the question as it was written

    id, flags: of the header; udp_bytes: how long an answer over UDP may be
    """

    id: int
    flags: int
    name: str
    kind: int
    raw: bytes
    udp_bytes: int

    @property
    def address(self) -> str:
        """The IPv4 address that is asked about in reverse, or ""."""
        if self.kind != PTR or not self.name.endswith(".in-addr.arpa"):
            return ""
        parts = self.name.removesuffix(".in-addr.arpa").split(".")
        if len(parts) != 4 or not all(each.isdigit() and int(each) < 256 for each in parts):
            return ""
        return ".".join(reversed(parts))


def read(data: bytes) -> Question:
    """Read a message with one question. Raises BadQuestion."""
    try:
        id, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
        if flags & 0x8000 or flags & 0x7800 or questions != 1 or answers or authorities:
            raise BadQuestion("not a plain question")
        at = _HEADER.size
        labels = []
        while length := data[at]:
            # A question has nothing before it that it could point to.
            if length > 63 or at - _HEADER.size > _MOST_NAME_BYTES:
                raise BadQuestion("not a name")
            labels.append(data[at + 1 : at + 1 + length])
            at += 1 + length
        kind, _ = struct.unpack_from(">2H", data, at + 1)
        end = at + 5
        name = b".".join(labels).decode("ascii", "replace").lower()
        most = LEAST_UDP_BYTES
        if additional and data[end : end + 3] == b"\0\0\x29":
            most = max(most, struct.unpack_from(">H", data, end + 3)[0])
    except (struct.error, IndexError):
        raise BadQuestion("cut off") from None
    return Question(id, flags, name, kind, data[_HEADER.size : end], most)


def without_limit(question: Question) -> Question:
    """Return a question that came over TCP, where answers may be as long as they are."""
    return replace(question, udp_bytes=MOST_TCP_BYTES)


def answer(
    question: Question, addresses: Sequence[str] = (), *, name: str = "", code: int = NOERROR
) -> bytes:
    """Write an answer: addresses, or the name for an address, or none.

    Cut short, with the flag that says so, where UDP does not take all of it.
    """
    records = b""
    count = 0
    truncated = 0
    rows = [bytes(int(part) for part in each.split(".")) for each in addresses]
    if name:
        rows = [_name(name)]
    kind = PTR if name else A
    for row in rows:
        # The name is the question's, at byte 12: a pointer to it.
        record = b"\xc0\x0c" + struct.pack(">2HIH", kind, IN, TTL_SECONDS, len(row)) + row
        if _HEADER.size + len(question.raw) + len(records) + len(record) > question.udp_bytes:
            truncated = 0x0200
            break
        records += record
        count += 1
    # An answer, recursion desired as asked, recursion available.
    flags = 0x8080 | question.flags & 0x0100 | truncated | code
    return _HEADER.pack(question.id, flags, 1, count, 0, 0) + question.raw + records


def _name(text: str) -> bytes:
    parts = (label.encode("ascii", "replace")[:63] for label in text.split("."))
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
