"""Tar headers as BuildKit writes them: ustar, with PAX records only where ustar cannot say it.

The bytes are those of Go's archive/tar with `Format: FormatPAX`, whole seconds, and no names of
users, so that the same files give the same layer here and there.
Source: archive/tar/writer.go; containerd pkg/archive/tar.go (ChangeWriter).
"""

from __future__ import annotations

from collections.abc import Mapping

BLOCK = 512
END = bytes(2 * BLOCK)

_LARGEST_8 = 0o7777777
_LARGEST_12 = 0o77777777777


def padding(size: int) -> bytes:
    """Return the zeros after a file of `size` bytes."""
    return bytes(-size % BLOCK)


def header(
    name: bytes,
    kind: bytes,
    *,
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
    xattrs: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """Return the header blocks of one member.

    kind: tar's type flag: b"0" file, b"1" hard link, b"2" link, b"3" c, b"4" b, b"5" d, b"6" p
    mtime: whole seconds since 1970, which may be negative
    """
    records: dict[bytes, bytes] = {}
    if len(name) > 100 or not name.isascii():
        records[b"path"] = name
    if len(link) > 100 or not link.isascii():
        records[b"linkpath"] = link
    for key, value, largest in (
        (b"uid", uid, _LARGEST_8),
        (b"gid", gid, _LARGEST_8),
        (b"size", size, _LARGEST_12),
        (b"mtime", mtime, _LARGEST_12),
    ):
        if not 0 <= value <= largest:
            records[key] = b"%d" % value
    for attribute, content in (xattrs or {}).items():
        records[b"SCHILY.xattr." + attribute] = content
    prefix = _prefix(name) if list(records) == [b"path"] else b""
    if prefix:
        records.clear()
        name = name[len(prefix) + 1 :]
    block = _block(name, kind, mode, uid, gid, size, mtime, link, major, minor, prefix)
    if not records:
        return block
    data = b"".join(_pax_record(key, records[key]) for key in sorted(records))
    folder, _, base = name.rpartition(b"/")
    pax_name = (folder + b"/" if folder else b"") + b"PaxHeaders.0/" + base
    pax_name = _ascii(pax_name)[:100].rstrip(b"/")
    return _block(pax_name, b"x", 0, 0, 0, len(data), 0) + data + padding(len(data)) + block


def _block(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
    prefix: bytes = b"",
) -> bytes:
    head = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        _field(name),
        mode,
        uid if uid <= _LARGEST_8 else 0,
        gid if gid <= _LARGEST_8 else 0,
        size if size <= _LARGEST_12 else 0,
        mtime if 0 <= mtime <= _LARGEST_12 else 0,
    )
    # Go leaves these two empty in the header of a PAX header.
    devices = bytes(16) if kind == b"x" else b"%07o\0%07o\0" % (major, minor)
    tail = b"%s%sustar\x0000%s%s%s" % (kind, _field(link), bytes(64), devices, prefix)
    checksum = sum(head) + sum(tail) + 8 * 0x20
    return (head + b"%06o\0 " % checksum + tail).ljust(BLOCK, b"\0")


def _prefix(name: bytes) -> bytes:
    """Return the part of a long name that goes into ustar's prefix, b"" where none fits.

    As Go's splitUSTARPath: the last slash that leaves a prefix of 155 bytes at the most.
    """
    if not name.isascii():
        return b""
    end = min(len(name), 156)
    if end == len(name) and name.endswith(b"/"):
        end -= 1
    slash = name.rfind(b"/", 0, end)
    rest = len(name) - slash - 1
    return name[:slash] if slash > 0 and 0 < rest <= 100 else b""


def _field(text: bytes) -> bytes:
    return _ascii(text)[:100].ljust(100, b"\0")


def _ascii(text: bytes) -> bytes:
    return text if text.isascii() else bytes(byte for byte in text if byte < 128)


def _pax_record(key: bytes, value: bytes) -> bytes:
    """Return `LENGTH KEY=VALUE\\n`, where the length counts its own digits too."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
