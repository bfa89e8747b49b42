"""Damaged tars: whatever a byte says, the answer is files inside or one of our own errors."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.core.errors import BuildkitError
from buildkit_py.store.layers.tar_read import TarReader, parse_pax
from buildkit_py.store.layers.unpack import Rules, unpack_layer
from tests.store.tars import file, folder, hard_link, link, member, pax, raw_header, tar, world

SPARSE = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9")]
WHOLE = tar(
    folder("d"),
    file("d/f", b"text", mode=0o755),
    link("l", "d"),
    hard_link("h", "d/f"),
    file("l/through", b"x"),
    pax([(b"path", b"long/" * 30), (b"mtime", b"1.5"), (b"SCHILY.xattr.user.a", b"b")]),
    file("x", b"y"),
    pax(SPARSE),
    file("s", b"1\n0\n3\n".ljust(512, b"\0") + b"abc"),
    member("././@LongLink", b"L", b"n" * 120 + b"\0"),
    file("short", b"z"),
    file("d/.wh.f"),
    raw_header(b"old", b"S", size=b"00000000000\0", real=b"00000000000\0"),
)

# A changed byte in a header mostly breaks its checksum: fields are changed with it made right.
FIELDS = st.sampled_from(
    [0, 1, 99, 100, 108, 116, 124, 125, 134, 136, 156, 157, 257, 329, 345, 386]
)
CHANGES = st.lists(
    st.tuples(st.integers(0, len(WHOLE) // 512 - 1), FIELDS, st.binary(min_size=1, max_size=12)),
    min_size=1,
    max_size=4,
)


def damaged(changes: list[tuple[int, int, bytes]]) -> bytes:
    data = bytearray(WHOLE)
    for block, place, value in changes:
        start = block * 512
        data[start + place : start + place + len(value)] = value
        header = data[start : start + 512]
        header[148:156] = b" " * 8
        data[start + 148 : start + 156] = b"%06o\0 " % sum(header)
    return bytes(data[: len(WHOLE)])


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(CHANGES)
def test_damaged_headers_do_no_harm(changes: list[tuple[int, int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder_:
        outside, inside = Path(folder_, "outside"), Path(folder_, "in", "fs")
        outside.mkdir()
        (outside / "victim").write_text("x")
        inside.mkdir(parents=True)
        before = world(outside), os.listdir(folder_), os.listdir(inside.parent)
        rules = Rules("copy", single_id=True, most_bytes=1 << 30)

        with contextlib.suppress(BuildkitError):
            unpack_layer(io.BytesIO(damaged(changes)), str(inside), rules)

        assert (world(outside), os.listdir(folder_), os.listdir(inside.parent)) == before


@settings(max_examples=300)
@given(st.binary(max_size=2000))
def test_any_bytes_are_a_tar_or_refused(data: bytes) -> None:
    reader = TarReader(io.BytesIO(data))
    members = []
    with contextlib.suppress(BuildkitError):
        members += list(reader)

    assert len(members) <= 4


@given(st.binary(max_size=200))
def test_any_bytes_are_pax_records_or_refused(data: bytes) -> None:
    try:
        records, _ = parse_pax(data)
    except BuildkitError:
        return
    assert sum(len(k) + len(v) for k, v in records.items()) <= len(data)


@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=30).filter(lambda k: not {0, 61, 10} & set(k)),
        st.binary(min_size=1, max_size=120).filter(lambda v: 0 not in v),
        max_size=5,
    ).filter(lambda d: not any(k.startswith(b"GNU.sparse.") for k in d))
)
def test_pax_records_are_read_as_they_were_written(records: dict[bytes, bytes]) -> None:
    block = pax(records.items())
    size = int(block[124:135], 8)

    assert parse_pax(block[512 : 512 + size]) == (records, [])
