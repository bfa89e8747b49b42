"""Images as docker's client shows them: made from a tar, listed, pulled when they are missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import BinaryIO

from buildkit_py.core.data import dataclass
from buildkit_py.core.digest import Digest
from buildkit_py.core.errors import InputError, StateError
from buildkit_py.engine.request import PullPolicy
from buildkit_py.oci.image import ContainerConfig, Descriptor, ImageConfig
from buildkit_py.oci.platform import Platform
from buildkit_py.oci.reference import Reference, parse_reference
from buildkit_py.store.content import DamagedBlob, MissingBlob
from buildkit_py.store.images import ImageRecord, UnknownImage
from buildkit_py.store.store import Store


class WrongPlatform(InputError):
    """The store has the image, but for another kind of machine."""

    code = "engine/wrong-platform"


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One line of `images`.

    repository, tag: as people write them, None for an image without a name
    id: digest of the config; digest: of the manifest
    created: RFC 3339, None when the image does not tell
    size_bytes: of the layers as the store keeps them
    """

    repository: str | None
    tag: str | None
    id: Digest
    digest: Digest
    created: str | None
    size_bytes: int


def import_image(
    store: Store,
    source: BinaryIO,
    name: str | None,
    *,
    platform: Platform,
    changes: Sequence[str] = (),
    message: str = "",
    what: str = "-",
) -> ImageRecord:
    """Make an image of a tar of a root file system, as `docker import` does.

    name: as people write it, or None; message: takes the place of `Imported from what`
    Raises InputError, with the place in a change at fault; BadLayer for what is no tar.
    """
    # The parser of Dockerfiles takes as long to import as all the rest: nothing else needs it.
    from buildkit_py.engine.changes import apply_changes
    from buildkit_py.store.archive import import_rootfs

    reference = None if name is None else _with_tag(name)
    config = apply_changes(ContainerConfig(), changes)
    return import_rootfs(
        store,
        source,
        reference,
        platform=platform,
        config=config,
        created=now(),
        comment=message or f"Imported from {what}",
    )


def _with_tag(text: str) -> str:
    reference = parse_reference(text)
    if reference.digest is not None:
        raise InputError(f"`{text}`: a name must not contain a digest", code="engine/digest-as-tag")
    return reference.name


def now() -> str:
    """Return the time as docker writes it into images."""
    ns = time.time_ns()
    moment = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000:09d}Z"


def list_images(
    store: Store,
    name: str | None = None,
    *,
    on_damage: Callable[[ImageRecord, StateError], None] | None = None,
) -> list[ImageRow]:
    """Return the images, the newest first.

    name: only those of this repository, or with this tag
    on_damage: told of an image that cannot be read, which is left out then
    Raises BadReference; MissingBlob or DamagedBlob without `on_damage`.
    Cost: reads two small files of each image.
    """
    wanted = None if name is None else parse_reference(name)
    any_tag = name is not None and wanted is not None and ":" not in name.rpartition("/")[2]
    rows = []
    for record in store.images.list():
        reference = parse_reference(record.name) if record.name is not None else None
        if wanted is not None and not _fits(reference, wanted, any_tag=any_tag):
            continue
        try:
            rows.append(_row(store, record, reference))
        except (MissingBlob, DamagedBlob) as error:
            if on_damage is None:
                raise
            on_damage(record, error)
    # Two stable sorts: by name, and then the newest first.
    rows.sort(key=lambda row: (row.repository or "", row.tag or ""))
    rows.sort(key=lambda row: row.created or "", reverse=True)
    return rows


def _fits(reference: Reference | None, wanted: Reference, *, any_tag: bool) -> bool:
    if reference is None:
        return False
    place = (reference.registry, reference.repository) == (wanted.registry, wanted.repository)
    return place and (any_tag or reference.tag == wanted.tag)


def _row(store: Store, record: ImageRecord, reference: Reference | None) -> ImageRow:
    manifest = store.images.manifest(record.descriptor.digest)
    config = store.images.config(record.config)
    repository = tag = None
    if reference is not None:
        tag = reference.tag
        repository = reference.familiar.partition("@")[0]
        if tag is not None:
            repository = repository.removesuffix(f":{tag}")
    size = sum(layer.size for layer in manifest.layers)
    return ImageRow(repository, tag, record.config, record.descriptor.digest, config.created, size)


Progress = Callable[[Descriptor, int], None]


def find_or_pull(
    store: Store,
    text: str,
    *,
    platform: Platform,
    policy: PullPolicy = "missing",
    on_pull: Callable[[Reference], None] = lambda reference: None,
    progress: Progress | None = None,
) -> tuple[ImageRecord, ImageConfig]:
    """Return an image, from its registry where the policy wants that.

    on_pull: told before a registry is asked
    Raises UnknownImage, WrongPlatform, RemoteError.
    """
    record = None if policy == "always" else _in_store(store, text)
    if record is not None:
        config = store.images.config(record.config)
        if platform.accepts(config.platform):
            return record, config
        if policy == "never":
            raise WrongPlatform(f"the image `{text}` is for `{config.platform}`, not `{platform}`")
    elif policy == "never":
        raise UnknownImage(text)
    reference = parse_reference(text)
    on_pull(reference)
    from buildkit_py.registry.pull import pull

    descriptor = pull(reference, platform, store, progress=progress)
    id = store.images.manifest(descriptor.digest).config.digest
    return ImageRecord(reference.name, descriptor, id), store.images.config(id)


def _in_store(store: Store, text: str) -> ImageRecord | None:
    try:
        return store.images.find(text)
    except UnknownImage:
        return None
