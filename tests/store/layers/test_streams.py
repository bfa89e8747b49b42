"""Streams: told by their first bytes, checked, and read without the fast helpers too."""

from __future__ import annotations

import gzip
import io
import os
import sys

import pytest

from buildkit_py.core.digest import sha256
from buildkit_py.core.errors import HostError
from buildkit_py.store.content import DigestMismatch
from buildkit_py.store.layers.errors import BadLayer, LayerTooLarge
from buildkit_py.store.layers.streams import Hashed, opened

DATA = os.urandom(1000) * 700


def test_without_isal_gzip_is_read_by_zlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)

    assert opened(io.BytesIO(gzip.compress(DATA) + gzip.compress(b"more"))).read() == DATA + b"more"


@pytest.mark.parametrize("fast", [True, False])
def test_damaged_gzip_is_refused(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fast:
        monkeypatch.setitem(sys.modules, "isal", None)
    packed = bytearray(gzip.compress(DATA))
    packed[-6] ^= 1  # the checksum at the end
    with pytest.raises(BadLayer, match="damaged"):
        opened(io.BytesIO(packed)).read()
    with pytest.raises(BadLayer, match="cut off"):
        opened(io.BytesIO(gzip.compress(DATA)[:-9])).read()
    with pytest.raises(BadLayer, match=r"damaged|cut off"):
        opened(io.BytesIO(gzip.compress(DATA) + b"garbage")).read()


def test_zstd_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression", None)

    with pytest.raises(HostError, match="zstd") as caught:
        opened(io.BytesIO(b"\x28\xb5\x2f\xfd" + bytes(20)))

    assert "pip install zstandard" in (caught.value.hint or "")


def test_what_passes_is_counted_and_compared() -> None:
    stream = Hashed(io.BytesIO(DATA))
    taken = io.BufferedReader(stream).read()

    assert (taken, stream.size, stream.digest) == (DATA, len(DATA), sha256(DATA))
    stream.expect(sha256(DATA), len(DATA), "layer")
    with pytest.raises(DigestMismatch, match="expected 5 bytes"):
        stream.expect(None, 5, "layer")
    with pytest.raises(DigestMismatch, match="expected layer"):
        stream.expect(sha256(b""), None, "layer")


def test_what_is_too_large_is_cut_off() -> None:
    with pytest.raises(LayerTooLarge):
        io.BufferedReader(Hashed(io.BytesIO(DATA), most=1000)).read()
