"""An image's layers into snapshots, each remembered by its chain id."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO

from buildkit_py.core.digest import Digest
from buildkit_py.core.errors import RemoteError
from buildkit_py.oci.image import BadImage, Descriptor, ImageConfig, Manifest, chain_ids
from buildkit_py.store.copying import copy_attributes, merge_tree
from buildkit_py.store.layers.record import Layer
from buildkit_py.store.layers.unpack import Rules, Unpacked, unpack_layer
from buildkit_py.store.snapshots import Active, SnapshotId, Snapshots
from buildkit_py.store.trees import empty_directory, remove_tree

Progress = Callable[[int, int], None]


def unpack_image(
    snapshots: Snapshots,
    manifest: Manifest,
    config: ImageConfig,
    progress: Progress | None = None,
    *,
    notice: Callable[[str], None] | None = None,
    most_bytes: int | None = None,
) -> SnapshotId | None:
    """Do what `Snapshots.unpack_image` says."""
    if len(manifest.layers) != len(config.diff_ids):
        raise BadImage(
            f"the manifest has {len(manifest.layers)} layers, the config"
            f" {len(config.diff_ids)} diff ids"
        )
    chains = chain_ids(config.diff_ids)
    start, top = 0, None
    for number in range(len(chains), 0, -1):
        top = snapshots.unpacked(chains[number - 1])
        if top is not None:
            start = number
            break
    for number in range(start, len(chains)):
        descriptor, diff_id = manifest.layers[number], config.diff_ids[number]
        told = _told(progress, number)
        rules = Rules(snapshots.overlay, single_id=snapshots.single_id, most_bytes=most_bytes)
        top, skipped = _unpack_one(
            snapshots, top, Layer(descriptor, diff_id), chains[number], rules, told
        )
        if notice is not None:
            for text in skipped:
                notice(f"left out of the image: {text}")
    return top


def _told(progress: Progress | None, number: int) -> Callable[[int], None] | None:
    if progress is None:
        return None
    return lambda count: progress(number, count)


def _unpack_one(
    snapshots: Snapshots,
    parent: SnapshotId | None,
    layer: Layer,
    chain: Digest,
    rules: Rules,
    told: Callable[[int], None] | None,
) -> tuple[SnapshotId, list[str]]:
    """Unpack one layer, and return its snapshot and what had to be left out."""
    active = snapshots.prepare(parent)
    try:
        with snapshots.content.open(layer.descriptor.digest) as file:
            source = _Counted(file, told) if told is not None else file
            unpacked = unpack_into(
                active,
                source,  # type: ignore[arg-type]
                rules,
                diff_id=layer.diff_id,
                descriptor=layer.descriptor,
            )
        id = active.commit(chain=chain, hides_all=unpacked.hides_all)
    except BaseException as error:
        active.discard()
        if isinstance(error, RemoteError):
            # Is the layer bad as it came, or has it been damaged here?
            snapshots.content.verify(layer.descriptor.digest)
        raise
    snapshots.remember_layer(id, layer)
    known = snapshots.remember_chain(chain, id)
    if known != id:
        snapshots.remove(id)  # another thread or process was faster
    return known, unpacked.skipped


def unpack_into(
    active: Active,
    source: BinaryIO,
    rules: Rules,
    *,
    diff_id: Digest | None = None,
    descriptor: Descriptor | None = None,
) -> Unpacked:
    """Unpack a layer into an active snapshot, on top of what it has below."""
    digest = descriptor.digest if descriptor is not None else None
    size = descriptor.size if descriptor is not None else None
    if rules.overlay != "copy":
        return unpack_layer(
            source,
            active.upper,
            rules,
            lower=active.lower,
            diff_id=diff_id,
            digest=digest,
            size=size,
        )
    # The tree of the parent is there already, but a layer's own links must not lead through it:
    # it is unpacked by itself, as for an overlay, and then moved over.
    staging = os.path.join(active.directory, "layer")
    os.mkdir(staging, 0o700)
    copy_attributes(os.fsencode(active.upper), os.fsencode(staging), os.lstat(active.upper))
    unpacked = unpack_layer(
        source,
        staging,
        rules,
        lower=(active.upper,),
        diff_id=diff_id,
        digest=digest,
        size=size,
    )
    if unpacked.hides_all:
        fd = os.open(os.path.dirname(active.upper), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            empty_directory(fd, os.fsencode(os.path.basename(active.upper)))
        finally:
            os.close(fd)
    merge_tree(staging, active.upper, unpacked.removed, unpacked.opaque)
    remove_tree(staging)
    return unpacked


_MOST_READ = 1 << 16


class _Counted:
    """A file that tells how much of it was read.

    It gives a little at a time, for whoever is told may want to stop: a megabyte of a compressed
    layer can hold ten thousand small files.
    """

    def __init__(self, file: BinaryIO, told: Callable[[int], None]) -> None:
        self._file = file
        self._told = told
        self._count = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(_MOST_READ if size < 0 else min(size, _MOST_READ))
        self._count += len(data)
        self._told(self._count)
        return data
