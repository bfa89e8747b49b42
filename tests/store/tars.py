"""Tars for tests, the wrong ones too: members are put together byte by byte."""

from __future__ import annotations

import gzip
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from buildkit_py.core.digest import Digest, sha256
from buildkit_py.oci.image import (
    CONFIG,
    LAYER,
    LAYER_GZIP,
    MANIFEST,
    Descriptor,
    ImageConfig,
    Manifest,
)
from buildkit_py.oci.platform import Platform
from buildkit_py.store.layers.tar_write import END, header, padding
from buildkit_py.store.store import Store

TIME = 1_700_000_000


def file(name: str | bytes, data: bytes = b"", **fields: Any) -> bytes:
    """A regular file; `fields` are those of `header`."""
    return member(name, b"0", data, **{"mode": 0o644, **fields})


def folder(name: str | bytes, **fields: Any) -> bytes:
    return member(name, b"5", **{"mode": 0o755, **fields})


def link(name: str | bytes, target: str | bytes, **fields: Any) -> bytes:
    return member(name, b"2", link=_bytes(target), **{"mode": 0o777, **fields})


def hard_link(name: str | bytes, target: str | bytes, **fields: Any) -> bytes:
    return member(name, b"1", link=_bytes(target), **{"mode": 0o644, **fields})


def node(name: str, kind: bytes, major: int = 0, minor: int = 0) -> bytes:
    return member(name, kind, mode=0o600, major=major, minor=minor)


def member(name: str | bytes, kind: bytes, data: bytes = b"", **fields: Any) -> bytes:
    fields = {"mtime": TIME, "size": len(data), **fields}
    return header(_bytes(name), kind, **fields) + data + padding(len(data))


def tar(*members: bytes) -> bytes:
    return b"".join(members) + END


def raw_header(name: bytes, kind: bytes, **numbers: bytes) -> bytes:
    """A header whose number fields are given as they stand in the file; the checksum is right."""
    block = bytearray(header(name, kind, mode=0o644))
    places = {
        "mode": 100, "uid": 108, "gid": 116, "size": 124, "mtime": 136, "link": 157, "magic": 257,
        "major": 329, "minor": 337, "prefix": 345, "sparse": 386, "extended": 482, "real": 483,
    }  # fmt: skip
    for field, value in numbers.items():
        block[places[field] : places[field] + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(records: Iterable[tuple[bytes, bytes]], *, raw: bytes | None = None) -> bytes:
    """A PAX header for the next member; `raw` replaces its content."""
    data = b""
    for key, value in records:
        rest = len(key) + len(value) + 3
        length = rest + len(str(rest))
        length = rest + len(str(length))
        data += b"%d %s=%s\n" % (length, key, value)
    if raw is not None:
        data = raw
    return member(b"PaxHeaders.0/x", b"x", data)


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def world(path: Path) -> dict[str, tuple[object, ...]]:
    """Everything that can be seen of a tree: names, kinds, modes, owners, times, content."""
    seen: dict[str, tuple[object, ...]] = {}
    for base, folders, files in os.walk(path):
        for name in [".", *folders, *files]:
            full = os.path.join(base, name)
            state = os.lstat(full)
            content: object = None
            if stat.S_ISREG(state.st_mode):
                content = Path(full).read_bytes()
            elif stat.S_ISLNK(state.st_mode):
                content = os.readlink(full)
            own = (state.st_mode, state.st_uid, state.st_gid, state.st_nlink, state.st_mtime_ns)
            seen[full] = (*own, content)
    return seen


def add_test_image(
    store: Store, *layers: bytes, name: str | None = None, compress: bool = True
) -> tuple[Manifest, ImageConfig, Descriptor]:
    """Put an image with the given tars as layers into a store."""
    descriptors: list[Descriptor] = []
    diff_ids: list[Digest] = []
    for layer in layers:
        blob = store.content.put(gzip.compress(layer, mtime=0) if compress else layer)
        kind = LAYER_GZIP if compress else LAYER
        descriptors.append(Descriptor(kind, blob.digest, blob.size))
        diff_ids.append(sha256(layer))
    config = ImageConfig(Platform("linux", "amd64"), diff_ids=tuple(diff_ids))
    stored = store.content.put(config.to_bytes())
    manifest = Manifest(Descriptor(CONFIG, stored.digest, stored.size), tuple(descriptors))
    blob = store.content.put(manifest.to_bytes())
    descriptor = Descriptor(MANIFEST, blob.digest, blob.size)
    store.images.put(name, descriptor)
    return manifest, config, descriptor
