"""Small real images, as the bytes a registry keeps."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass, field, replace

from buildkit_py.core.digest import Digest
from buildkit_py.oci.image import (
    CONFIG,
    INDEX,
    LAYER_GZIP,
    MANIFEST,
    ContainerConfig,
    Descriptor,
    ImageConfig,
    Manifest,
    to_json,
)
from buildkit_py.oci.platform import Platform

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


def digest_of(data: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, slots=True)
class Sample:
    """An image or index: its top document, and everything below it by digest."""

    top: bytes
    media_type: str
    blobs: dict[Digest, bytes] = field(default_factory=dict)
    manifests: dict[Digest, tuple[str, bytes]] = field(default_factory=dict)

    @property
    def digest(self) -> Digest:
        return digest_of(self.top)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.top))

    @property
    def layers(self) -> list[Digest]:
        return [each.digest for each in Manifest.from_bytes(self.top).layers]


def layer(name: str, content: bytes) -> tuple[bytes, Digest]:
    """Return a gzip layer with one file, and its diff id."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return gzip.compress(file.getvalue(), 1, mtime=0), digest_of(file.getvalue())


def image(*contents: bytes, platform: Platform = AMD64) -> Sample:
    """Return an image with one layer for each content."""
    blobs: dict[Digest, bytes] = {}
    layers = []
    diff_ids = []
    for number, content in enumerate(contents):
        data, diff_id = layer(f"file{number}", content)
        blobs[digest_of(data)] = data
        layers.append(Descriptor(LAYER_GZIP, digest_of(data), len(data)))
        diff_ids.append(diff_id)
    config = ImageConfig(
        platform, ContainerConfig(cmd=("sh",)), diff_ids=tuple(diff_ids)
    ).to_bytes()
    blobs[digest_of(config)] = config
    manifest = Manifest(Descriptor(CONFIG, digest_of(config), len(config)), tuple(layers))
    top = manifest.to_bytes()
    return Sample(top, MANIFEST, blobs, {digest_of(top): (MANIFEST, top)})


def index(*samples: tuple[Platform, Sample]) -> Sample:
    """Return an index of images, and of an attestation, which is for no platform."""
    entries = [replace(each.descriptor, platform=platform) for platform, each in samples]
    entries.insert(0, replace(entries[0], platform=Platform("unknown", "unknown")))
    data = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [e.to_data() for e in entries]}
    top = to_json(data)
    blobs: dict[Digest, bytes] = {}
    manifests = {digest_of(top): (INDEX, top)}
    for _, each in samples:
        blobs |= each.blobs
        manifests |= each.manifests
    return Sample(top, INDEX, blobs, manifests)
