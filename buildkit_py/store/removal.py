"""Images removed, and content that nothing refers to any more.

Taking a name away is always possible. Content and snapshots are deleted only while no other
session uses the store, since a build may be about to refer to them; otherwise they wait for the
next removal or prune.
"""

from __future__ import annotations

from buildkit_py.core.digest import Digest
from buildkit_py.core.errors import InputError
from buildkit_py.oci.image import chain_ids
from buildkit_py.oci.reference import BadReference, parse_reference
from buildkit_py.store.content import DamagedBlob, MissingBlob
from buildkit_py.store.images import ImageRecord
from buildkit_py.store.snapshots import SnapshotId
from buildkit_py.store.store import Store


class ImageHasNames(InputError):
    """An id was given to remove an image that has several names."""

    code = "store/image-has-names"


def remove_image(store: Store, text: str, *, force: bool = False) -> list[str]:
    """Take a name away, or all of an image, and return lines as `docker rmi` prints them.

    text: a name, or a beginning of an id, which removes the image with its only name, or with
        force=True with all of them
    Raises UnknownImage, AmbiguousImage, ImageHasNames.
    """
    record = store.images.find(text)
    if _is_name(record, text):
        assert record.name is not None
        store.images.remove(record.name)
        gone = [record]
    else:
        same = [each for each in store.images.list() if each.config == record.config]
        names = [parse_reference(each.name).familiar for each in same if each.name]
        if len(names) > 1 and not force:
            raise ImageHasNames(
                f"the image `{text}` has several names: {', '.join(f'`{n}`' for n in names)}",
                hint="remove them by name, or all at once with `--force`",
            )
        gone = [each for m in same for each in store.images.remove_all(m.descriptor.digest)]
    lines = [f"Untagged: {parse_reference(each.name).familiar}" for each in gone if each.name]
    left = {each.config for each in store.images.list()}
    deleted = {each.config: each for each in gone if each.config not in left}
    for record in deleted.values():
        chains = _chains(store, record)
        removed = remove_unused_layers(store, chains)
        lines.append(f"Deleted: {record.config}")
        lines += [f"Deleted: {chain}" for chain in removed]
    sweep_content(store)
    return lines


def _is_name(record: ImageRecord, text: str) -> bool:
    try:
        return record.name is not None and parse_reference(text).name == record.name
    except BadReference:
        return False


def _chains(store: Store, record: ImageRecord) -> tuple[Digest, ...]:
    try:
        return chain_ids(store.images.config(record.config).diff_ids)
    except (MissingBlob, DamagedBlob):
        return ()


def remove_unused_layers(store: Store, chains: tuple[Digest, ...]) -> list[Digest]:
    """Remove the unpacked layers of a removed image that nothing else stands on; the top first.

    Returns their chain ids; none while another session uses the store.
    """
    with store.session.alone() as alone:
        if not alone:
            return []
        wanted: set[Digest] = set()
        for record in store.images.list():
            wanted.update(_chains(store, record))
        snapshots = store.snapshots
        parents: dict[SnapshotId, int] = dict.fromkeys(snapshots.kept_parents(), 1)
        for id in snapshots.list():
            parent = snapshots.parent(id)
            if parent is not None:
                parents[parent] = parents.get(parent, 0) + 1
        removed: list[Digest] = []
        for chain in reversed(chains):
            top = snapshots.unpacked(chain)
            if chain in wanted or top is None or parents.get(top):
                break
            below = snapshots.parent(top)
            snapshots.remove(top)
            removed.append(chain)
            if below is not None:
                parents[below] -= 1
        return removed


def sweep_content(store: Store) -> int:
    """Delete blobs that neither an image nor a snapshot's layer refers to; return their bytes.

    Does nothing while another session uses the store, nor while a manifest cannot be read, since
    nobody knows then which layers are its own.
    """
    with store.session.alone() as alone:
        if not alone:
            return 0
        wanted: set[Digest] = set()
        for record in store.images.list():
            wanted |= {record.descriptor.digest, record.config}
            try:
                manifest = store.images.manifest(record.descriptor.digest)
            except (MissingBlob, DamagedBlob):
                return 0
            wanted.update(layer.digest for layer in manifest.layers)
        for id in store.snapshots.list():
            layer = store.snapshots.layer(id)
            if layer is not None:
                wanted.add(layer.descriptor.digest)
        freed = 0
        for digest in store.content.digests():
            if digest not in wanted:
                freed += store.content.size(digest)
                store.content.remove(digest)
        return freed
