"""Tar as a stream, strictly and in bounded memory.

Python's tarfile keeps every member it has seen, reads PAX records of any size into memory, and
repairs what it does not understand. This reader holds one header, refuses metadata above a fixed
size, and raises BadLayer for what is not well-formed. Where the format leaves a choice, it does
what Go's archive/tar does, so that a layer means the same here as in docker.

Read: ustar, PAX, GNU (long names, base-256 numbers, old sparse files), PAX sparse 0.0, 0.1, 1.0,
star's prefix. Names and links stay bytes.
Source: pax(1) "ustar Interchange Format", GNU tar's manual, archive/tar/reader.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from buildkit_py.core.data import dataclass, field
from buildkit_py.store.layers.errors import BadLayer

BLOCK = 512
MOST_METADATA_BYTES = 1 << 20
"""A PAX header, a long name or a sparse map above this is refused, as in Go's archive/tar."""

_ZEROS = bytes(BLOCK)
_XATTR = b"SCHILY.xattr."
_MOST_SIZE = (1 << 63) - 1


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(slots=True)
class Member:
    """One entry of a tar.

    kind: one of b"-" file, b"h" hard link, b"l" symbolic link, b"d", b"c", b"b", b"p"
    size: bytes of the file when it is unpacked
    extents: for a sparse file, (offset, size) of its data in order; else None
    """

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    extents: tuple[tuple[int, int], ...] | None = None


_KINDS = {
    b"0": b"-",
    b"\0": b"-",
    b"7": b"-",
    b"S": b"-",
    b"1": b"h",
    b"2": b"l",
    b"3": b"c",
    b"4": b"b",
    b"5": b"d",
    b"6": b"p",
}


class TarReader:
    """Iterate over the members of a tar; between two of them `read` gives the data.

    source.read(n) must return n bytes, fewer only at the end
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        while (member := self._next()) is not None:
            yield member

    def read(self, size: int) -> bytes:
        """Return the next bytes of the current member's data, b"" at their end."""
        if size > self._left:
            size = self._left
        data = self._source.read(size)
        if len(data) != size:
            raise BadLayer("the tar ends in the middle of a file")
        self._left -= size
        return data

    def _skip(self) -> None:
        left = self._left + self._padding
        while left:
            taken = len(self._source.read(min(left, 1 << 18)))
            if not taken:
                raise BadLayer("the tar ends in the middle of a file")
            left -= taken
        self._left = self._padding = 0

    def _begin_data(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _next(self) -> Member | None:
        records: dict[bytes, bytes] = {}
        sparse_0: list[bytes] = []
        long_name: bytes | None = None
        long_link: bytes | None = None
        while True:
            self._skip()
            block = self._header()
            if block is None:
                if records or long_name is not None or long_link is not None:
                    raise BadLayer("the tar ends after an extended header")
                return None
            flag = block[156:157]
            if flag == b"x":
                records, sparse_0 = parse_pax(self._metadata(block))
            elif flag == b"g":
                # Docker and containerd skip global headers: `git archive` puts its commit there.
                parse_pax(self._metadata(block))
            elif flag == b"L":
                long_name = self._metadata(block).partition(b"\0")[0]
            elif flag == b"K":
                long_link = self._metadata(block).partition(b"\0")[0]
            else:
                return self._member(block, flag, records, sparse_0, long_name, long_link)

    def _header(self) -> bytes | None:
        """Return the next header block, or None at the end of the tar."""
        block = self._source.read(BLOCK)
        if not block:
            return None
        if len(block) != BLOCK:
            raise BadLayer("the tar ends in the middle of a header")
        if block == _ZEROS:
            second = self._source.read(BLOCK)
            if second and second != _ZEROS:
                raise BadLayer("a single block of zeros stands in the tar")
            return None
        text = block[148:156].strip(b" \0").partition(b"\0")[0]
        checksum = int(text, 8) if text and not text.strip(b"01234567") else -1
        total = sum(block) - sum(block[148:156]) + 256
        if checksum != total:
            # Some old programs added the bytes as signed ones.
            signed = total - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
            if checksum != signed:
                raise BadLayer("a header's checksum is wrong: this is not a tar, or a damaged one")
        return block

    def _metadata(self, block: bytes) -> bytes:
        size = _number(block[124:136], "size")
        if not 0 <= size <= MOST_METADATA_BYTES:
            raise BadLayer(f"an extended header of {size} bytes is too large")
        self._begin_data(size)
        return self.read(size)

    def _member(
        self,
        block: bytes,
        flag: bytes,
        records: dict[bytes, bytes],
        sparse_0: list[bytes],
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> Member:
        kind = _KINDS.get(flag)
        name = _name(block)
        if kind is None:
            raise BadLayer(f"`{_shown(name)}` is of unknown type `{_shown(flag)}`")
        if records.get(b"path"):
            name = records[b"path"]
        if long_name is not None:
            name = long_name
        link = _text(block[157:257])
        if records.get(b"linkpath"):
            link = records[b"linkpath"]
        if long_link is not None:
            link = long_link
        if flag == b"\0" and name.endswith(b"/"):
            kind = b"d"
        size = _record(records, b"size", block[124:136])
        if not 0 <= size <= _MOST_SIZE:
            raise BadLayer(f"`{_shown(name)}` has an impossible size")
        member = Member(
            name=name,
            kind=kind,
            mode=_number(block[100:108], "mode") & 0o7777,
            uid=_record(records, b"uid", block[108:116]),
            gid=_record(records, b"gid", block[116:124]),
            size=size if kind == b"-" else 0,
            mtime_ns=_mtime(records.get(b"mtime"), block[136:148]),
            link=link,
            major=_number(block[329:337], "device") if kind in (b"c", b"b") else 0,
            minor=_number(block[337:345], "device") if kind in (b"c", b"b") else 0,
            xattrs={
                key[len(_XATTR) :]: value
                for key, value in records.items()
                if key.startswith(_XATTR)
            },
        )
        # Go's reader, and so docker, takes no data for links and directories, whatever size says.
        self._begin_data(member.size)
        if kind == b"-":
            self._sparse(member, block, flag, records, sparse_0)
        return member

    def _sparse(
        self,
        member: Member,
        block: bytes,
        flag: bytes,
        records: dict[bytes, bytes],
        sparse_0: list[bytes],
    ) -> None:
        """Find out whether the member is a sparse file, and where its data belongs."""
        if flag == b"S":
            padding = self._padding
            numbers = self._old_gnu_map(block)
            self._padding = padding
            real = _number(block[483:495], "size")
        else:
            version = records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor")
            real_text = records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size")
            if version == (b"1", b"0"):
                numbers = self._map_in_data()
            elif version == (b"0", b"1") or b"GNU.sparse.map" in records:
                text = records.get(b"GNU.sparse.map", b"")
                numbers = [_decimal(part) for part in text.split(b",")] if text else []
            elif version == (b"0", b"0") or sparse_0:
                numbers = [_decimal(part) for part in sparse_0]
            elif version == (None, None):
                return
            else:
                raise BadLayer(f"`{_shown(member.name)}` is sparse in an unknown way")
            if real_text is None:
                raise BadLayer(f"`{_shown(member.name)}` is sparse and has no size")
            real = _decimal(real_text)
            member.name = records.get(b"GNU.sparse.name") or member.name
        member.extents = _extents(numbers, real, self._left, member.name)
        member.size = real

    def _old_gnu_map(self, block: bytes) -> list[int]:
        fields, extended = block[386:482], block[482]
        numbers = _old_gnu_numbers(fields)
        taken = 0
        while extended:
            taken += BLOCK
            if taken > MOST_METADATA_BYTES:
                raise BadLayer("a sparse file's map is too large")
            more = self._source.read(BLOCK)
            if len(more) != BLOCK:
                raise BadLayer("the tar ends in the middle of a sparse file's map")
            numbers += _old_gnu_numbers(more[:504])
            extended = more[504]
        return numbers

    def _map_in_data(self) -> list[int]:
        """Read the map of sparse format 1.0, which stands in front of the file's data."""
        text = b""
        numbers: list[int] = []
        wanted = 1
        taken = 0
        while len(numbers) < wanted:
            line, end, rest = text.partition(b"\n")
            if end:
                numbers.append(_decimal(line))
                text = rest
                if len(numbers) == 1:
                    wanted = 1 + 2 * numbers[0]
                continue
            taken += BLOCK
            if taken > MOST_METADATA_BYTES:
                raise BadLayer("a sparse file's map is too large")
            more = self.read(BLOCK)
            if len(more) != BLOCK:
                raise BadLayer("a sparse file's map is cut off")
            text += more
        return numbers[1:]


def parse_pax(data: bytes) -> tuple[dict[bytes, bytes], list[bytes]]:
    """Return the records of a PAX header, and apart from them those of sparse format 0.0.

    The latter repeat two keys once per extent; for all others the last one counts.
    """
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    position = 0
    while position < len(data):
        blank = data.find(b" ", position, position + 20)
        if blank < 0 or not data[position:blank].isdigit():
            raise BadLayer("a PAX record has no length")
        end = position + int(data[position:blank])
        if not blank + 1 < end <= len(data) or data[end - 1] != 0x0A:
            raise BadLayer("a PAX record's length is wrong")
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise BadLayer("a PAX record has no key")
        if b"\0" in key or (b"\0" in value and not key.startswith(_XATTR)):
            raise BadLayer("a PAX record holds a zero byte")
        if key == b"GNU.sparse.offset" or key == b"GNU.sparse.numbytes":
            if (key == b"GNU.sparse.offset") != (len(sparse) % 2 == 0):
                raise BadLayer("the PAX records of a sparse file are out of order")
            sparse.append(value)
        else:
            records[key] = value
        position = end
    return records, sparse


def _name(block: bytes) -> bytes:
    name = _text(block[:100])
    if block[257:263] == b"ustar\0":
        prefix = _text(block[345:476] if block[508:512] == b"tar\0" else block[345:500])
        if prefix:
            return prefix + b"/" + name
    return name


def _text(field_: bytes) -> bytes:
    return field_.partition(b"\0")[0]


def _number(field_: bytes, what: str) -> int:
    """Read a number: octal digits, or base 256 with the first bit set (GNU)."""
    first = field_[0]
    if first & 0x80:
        value = int.from_bytes(field_, "big") & ((1 << (8 * len(field_) - 1)) - 1)
        if first & 0x40:
            value -= 1 << (8 * len(field_) - 1)
        if not -_MOST_SIZE <= value <= _MOST_SIZE:
            raise BadLayer(f"a header's {what} is impossible")
        return value
    text = field_.strip(b" \0").partition(b"\0")[0]
    if not text:
        return 0
    if text.strip(b"01234567"):
        raise BadLayer(f"a header's {what} is no number")
    return int(text, 8)


def _record(records: dict[bytes, bytes], key: bytes, field_: bytes) -> int:
    text = records.get(key)
    return _decimal(text) if text else _number(field_, key.decode())


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19 or int(text) > _MOST_SIZE:
        raise BadLayer(f"`{_shown(text)}` is no possible number")
    return int(text)


def _mtime(record: bytes | None, field_: bytes) -> int:
    """Return nanoseconds since 1970. PAX writes decimal seconds, perhaps with a fraction."""
    if not record:
        return _number(field_, "time") * 1_000_000_000
    whole, _, fraction = record.partition(b".")
    negative = whole.startswith(b"-")
    seconds = _decimal(whole.removeprefix(b"-")) if whole not in (b"", b"-") else 0
    if fraction and not fraction.isdigit():
        raise BadLayer(f"`{_shown(record)}` is no time")
    value = seconds * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return -value if negative else value


def _old_gnu_numbers(fields: bytes) -> list[int]:
    numbers: list[int] = []
    for start in range(0, len(fields) - 23, 24):
        if not fields[start] and not fields[start + 12]:
            break
        numbers.append(_number(fields[start : start + 12], "sparse offset"))
        numbers.append(_number(fields[start + 12 : start + 24], "sparse size"))
    return numbers


def _extents(
    numbers: list[int], size: int, stored: int, name: bytes
) -> tuple[tuple[int, int], ...]:
    """Check a sparse map: in order, without overlap, inside the file, as long as its data."""
    if len(numbers) % 2 or not 0 <= size <= _MOST_SIZE:
        raise BadLayer(f"the map of the sparse file `{_shown(name)}` is broken")
    extents = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    end = total = 0
    for offset, length in extents:
        if offset < end or length < 0 or offset + length > size:
            raise BadLayer(f"the map of the sparse file `{_shown(name)}` is broken")
        end = offset + length
        total += length
    if total != stored:
        raise BadLayer(f"the sparse file `{_shown(name)}` has {stored} bytes, its map {total}")
    return extents


def _shown(name: bytes) -> str:
    return name[:200].decode("utf-8", "backslashreplace")
