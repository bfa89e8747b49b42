"""Images out as archives and layouts, and root file systems in as images.

An `oci` archive is a tar of an OCI layout; a `docker` archive is the same with docker's
`manifest.json` beside it, as BuildKit's `type=docker` has it. Members are sorted and have no
time, so one image always gives the same archive.
Source: image-spec 1.1 image-layout.md; moby/buildkit exporter/oci; moby image/tarexport.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from buildkit_py.core.data import replace
from buildkit_py.core.digest import Digest
from buildkit_py.core.errors import InputError
from buildkit_py.core.files import write_atomically
from buildkit_py.oci.image import (
    CONFIG,
    MANIFEST,
    BadImage,
    ContainerConfig,
    Descriptor,
    History,
    ImageConfig,
    Manifest,
    to_json,
)
from buildkit_py.oci.platform import Platform
from buildkit_py.oci.reference import parse_reference
from buildkit_py.store.content import Content
from buildkit_py.store.images import ImageRecord
from buildkit_py.store.layers.beneath import clean
from buildkit_py.store.layers.errors import BadLayer
from buildkit_py.store.layers.pack import LayerSink
from buildkit_py.store.layers.streams import CHUNK, opened
from buildkit_py.store.layers.tar_read import TarReader
from buildkit_py.store.layers.tar_write import END, header, padding
from buildkit_py.store.layout import CONTAINERD_NAME, OCI_LAYOUT, REF_NAME, index_bytes
from buildkit_py.store.store import Store


def write_archive(
    content: Content,
    image: Descriptor,
    names: Sequence[str],
    output: BinaryIO,
    *,
    docker: bool = False,
) -> None:
    """Write an image as one tar.

    image: descriptor of the manifest; names: full names, may be none
    docker: also write what `docker load` reads
    Cost: the layers are copied as they are; memory does not grow with them.
    """
    manifest = Manifest.from_bytes(content.read(image.digest))
    members = {"oci-layout": OCI_LAYOUT, "index.json": _exported_index(image, names)}
    if docker:
        members["manifest.json"] = _docker_manifest(manifest, names)
    blobs = {f"blobs/sha256/{digest[7:]}": digest for digest in _blobs(image, manifest)}
    for folder in ("blobs/", "blobs/sha256/"):
        output.write(header(folder.encode(), b"5", mode=0o755))
    for name in sorted([*blobs, *members]):
        if name in blobs:
            _write_blob(content, blobs[name], name, output)
        else:
            data = members[name]
            output.write(header(name.encode(), b"0", mode=0o644, size=len(data)))
            output.write(data + padding(len(data)))
    output.write(END)


def write_layout(content: Content, image: Descriptor, names: Sequence[str], directory: str) -> None:
    """Write an image into a directory as an OCI layout; one that is there gets it in addition.

    A name that the layout has already leads to the new image afterwards.
    """
    manifest = Manifest.from_bytes(content.read(image.digest))
    blobs = os.path.join(directory, "blobs", "sha256")
    os.makedirs(blobs, exist_ok=True)
    for digest in _blobs(image, manifest):
        target = os.path.join(blobs, digest[7:])
        if not os.path.exists(target):
            temporary = f"{target}.{os.getpid()}.part"
            try:
                with content.open(digest) as source, open(temporary, "xb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
                os.replace(temporary, target)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
                raise
    write_atomically(os.path.join(directory, "oci-layout"), OCI_LAYOUT)
    index = os.path.join(directory, "index.json")
    new = _exported_entries(image, names)
    taken = {entry.annotations.get(CONTAINERD_NAME) for entry in new}
    kept = [
        entry
        for entry in _entries_of(index)
        if entry.digest != image.digest and entry.annotations.get(CONTAINERD_NAME) not in taken
    ]
    write_atomically(index, index_bytes([*kept, *new]))


def _entries_of(index: str) -> list[Descriptor]:
    try:
        with open(index, "rb") as file:
            data = json.load(file)
    except FileNotFoundError:
        return []
    except ValueError:
        raise InputError(
            f"`{index}` is not the index of an OCI layout", code="store/bad-layout"
        ) from None
    return [Descriptor.from_data(each) for each in data.get("manifests") or []]


def _exported_index(image: Descriptor, names: Sequence[str]) -> bytes:
    return index_bytes(_exported_entries(image, names))


def _exported_entries(image: Descriptor, names: Sequence[str]) -> list[Descriptor]:
    """Return one entry a name, annotated as BuildKit does: the tag, and containerd's full name."""
    plain = replace(image, annotations=dict(image.annotations))
    if not names:
        return [plain]
    entries = []
    for name in names:
        annotations = {**plain.annotations, CONTAINERD_NAME: name}
        tag = parse_reference(name).tag
        if tag is not None:
            annotations[REF_NAME] = tag
        entries.append(replace(plain, annotations=annotations))
    return entries


def _docker_manifest(manifest: Manifest, names: Sequence[str]) -> bytes:
    return to_json(
        [
            {
                "Config": _blob_path(manifest.config.digest),
                "RepoTags": [parse_reference(name).familiar for name in names] or None,
                "Layers": [_blob_path(layer.digest) for layer in manifest.layers],
            }
        ]
    )


def _blob_path(digest: Digest) -> str:
    return f"blobs/sha256/{digest[7:]}"


def _blobs(image: Descriptor, manifest: Manifest) -> list[Digest]:
    """Return the digests of all that belongs to an image, each once."""
    found = [image.digest, manifest.config.digest, *(each.digest for each in manifest.layers)]
    return list(dict.fromkeys(found))


def _write_blob(content: Content, digest: Digest, name: str, output: BinaryIO) -> None:
    size = content.size(digest)
    output.write(header(name.encode(), b"0", mode=0o444, size=size))
    with content.open(digest) as file:
        shutil.copyfileobj(file, output, CHUNK)
    output.write(padding(size))


def import_rootfs(
    store: Store,
    source: BinaryIO,
    name: str | None,
    *,
    platform: Platform,
    config: ContainerConfig | None = None,
    created: str | None = None,
    comment: str = "Imported from -",
) -> ImageRecord:
    """Make an image with one layer of a tar of a root file system, and return it.

    source: gzip, bzip2, xz, zstd or plain
    name: full name, or None
    config: what containers start with (docker's `--change`)
    created: RFC 3339, for config and history
    Every header is checked on the way: what is no tar, or leads out of itself, is refused with
    BadLayer, and nothing is stored.
    """
    with store.content.writer() as writer:
        sink = LayerSink(writer)
        tee = _Tee(opened(source), sink)
        entries = 0
        for member in TarReader(tee):
            clean(member.name)
            entries += 1
        while tee.read(CHUNK):
            pass
        if not entries:
            raise BadLayer("the tar of the root file system is empty")
        sink.close()
        blob = writer.commit()
    image = ImageConfig(
        platform,
        config if config is not None else ContainerConfig(),
        created=created,
        diff_ids=(sink.diff_id,),
        history=(History(created=created, comment=comment),),
    )
    return add_image(store, image, [sink.descriptor(blob)], name)


def add_image(
    store: Store, config: ImageConfig, layers: Sequence[Descriptor], name: str | None
) -> ImageRecord:
    """Store config and manifest of an image whose layers are there, and name it."""
    if len(layers) != len(config.diff_ids):
        raise BadImage(f"{len(layers)} layers but {len(config.diff_ids)} diff ids")
    stored = store.content.put(config.to_bytes())
    manifest = Manifest(Descriptor(CONFIG, stored.digest, stored.size), tuple(layers))
    blob = store.content.put(manifest.to_bytes())
    descriptor = Descriptor(MANIFEST, blob.digest, blob.size, platform=config.platform)
    store.images.put(name, descriptor)
    return ImageRecord(name, descriptor, stored.digest)


class _Tee:
    """Gives bytes to a reader and to a layer at once."""

    def __init__(self, source: BinaryIO, sink: LayerSink) -> None:
        self._source = source
        self._sink = sink

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self._sink.write(data)
        return data


@contextlib.contextmanager
def opened_archive(path: str) -> Iterator[BinaryIO]:
    """Give a file to write an archive to; it gets its name when it is whole."""
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.part"
    try:
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
