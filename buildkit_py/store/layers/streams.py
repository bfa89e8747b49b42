"""Byte streams of layers: compressed ones opened, and digests taken while the bytes pass.

What a stream is compressed with is told by its first bytes, as docker does, not by what its
descriptor claims. isal unpacks gzip two to three times as fast as zlib, which takes its place
where it is missing.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from buildkit_py.core.digest import Digest, hasher
from buildkit_py.core.errors import HostError
from buildkit_py.store.content import DigestMismatch
from buildkit_py.store.layers.errors import BadLayer, LayerTooLarge

CHUNK = 1 << 18


class Hashed(io.RawIOBase):
    """A stream that knows the digest and the size of what was read from it.

    most: bytes after which LayerTooLarge is raised, or None
    """

    def __init__(self, source: BinaryIO, *, most: int | None = None) -> None:
        self._source = source
        self._hash = hasher()
        self._most = most
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        taken = self._source.readinto(view) if hasattr(self._source, "readinto") else None
        if taken is None:
            data = self._source.read(len(view))
            taken = len(data)
            view[:taken] = data
        if taken:
            self._hash.update(view[:taken])
            self.size += taken
            if self._most is not None and self.size > self._most:
                raise LayerTooLarge(f"the layer is larger than {self._most} bytes")
        return taken

    @property
    def digest(self) -> Digest:
        return Digest("sha256:" + self._hash.hexdigest())

    def expect(self, digest: Digest | None, size: int | None, what: str) -> None:
        """Raise DigestMismatch unless this much was read, and these bytes."""
        if size is not None and size != self.size:
            raise DigestMismatch(f"expected {size} bytes of {what} `{digest}`, got {self.size}")
        if digest is not None and digest != self.digest:
            raise DigestMismatch(f"expected {what} `{digest}`, got `{self.digest}`")


class _Inflated(io.RawIOBase):
    """The content of one or more compressed members after one another.

    make: returns a decompressor for the next member
    gives_back: zlib-like objects hand back what they did not consume, bz2-like ones keep it
    """

    def __init__(self, source: BinaryIO, make: Any, *, gives_back: bool, errors: Any) -> None:
        self._source = source
        self._make = make
        self._gives_back = gives_back
        self._errors = errors
        self._object: Any = make()
        self._input = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while True:
            if self._object.eof:
                # Tools pad with zeros; docker ignores those, and other trailing bytes are wrong.
                self._input = self._object.unused_data.lstrip(b"\0")
                while not self._input:
                    more = self._source.read(CHUNK)
                    if not more:
                        return 0
                    self._input = more.lstrip(b"\0")
                self._object = self._make()
            ended = False
            if not self._input and (self._gives_back or self._object.needs_input):
                self._input = self._source.read(CHUNK)
                ended = not self._input
            try:
                data = self._object.decompress(self._input, len(view))
            except self._errors as error:
                raise BadLayer(f"the compressed data is damaged: {error}") from None
            self._input = self._object.unconsumed_tail if self._gives_back else b""
            if data:
                view[: len(data)] = data
                return len(data)
            if ended and not self._object.eof:
                raise BadLayer("the compressed data is cut off")


def opened(source: BinaryIO) -> BinaryIO:
    """Return a stream of what `source` holds uncompressed: gzip, bzip2, xz, zstd, or as it is.

    Raises BadLayer while reading damaged data, HostError where this machine has no zstd.
    """
    buffered = io.BufferedReader(_Raw(source), CHUNK)
    start = buffered.peek(6)[:6]
    if start[:2] == b"\x1f\x8b":
        return _gunzip(buffered)
    if start[:3] == b"BZh":
        import bz2

        return _inflated(buffered, bz2.BZ2Decompressor, False, (OSError, ValueError))
    if start == b"\xfd7zXZ\0":
        import lzma

        # An xz dictionary may be 4 GiB; what xz itself makes at its best needs 65 MiB.
        def unxz() -> lzma.LZMADecompressor:
            return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=128 << 20)

        return _inflated(buffered, unxz, False, lzma.LZMAError)
    if start[:4] == b"\x28\xb5\x2f\xfd":
        return _unzstd(buffered)
    return buffered


class _Raw(io.RawIOBase):
    """Any object with `read` as a raw stream, so that buffering can be put on it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self._source.read(len(view))
        view[: len(data)] = data
        return len(data)


def _inflated(source: BinaryIO, make: Any, gives_back: bool, errors: Any) -> BinaryIO:
    raw = _Inflated(source, make, gives_back=gives_back, errors=errors)
    return io.BufferedReader(raw, CHUNK)


def _gunzip(source: BinaryIO) -> BinaryIO:
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return _inflated(source, lambda: zlib.decompressobj(31), True, zlib.error)
    return _inflated(source, lambda: isal_zlib.decompressobj(31), True, isal_zlib.error)


def _unzstd(source: BinaryIO) -> BinaryIO:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        pass
    else:
        return _inflated(source, zstd.ZstdDecompressor, False, zstd.ZstdError)
    try:
        import zstandard  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise HostError(
            "this layer is compressed with zstd: that needs Python 3.14 or the package `zstandard`",
            code="store/no-zstd",
            hint="install it into the same environment: `pip install zstandard`",
        ) from None
    reader: BinaryIO = zstandard.ZstdDecompressor(max_window_size=128 << 20).stream_reader(
        source, read_across_frames=True
    )
    return io.BufferedReader(_Raw(reader), CHUNK)
