"""Images: names that lead to manifests, kept in the index.json of the store's OCI layout.

Every entry of the index is one name of one image; an image without a name has one entry without
annotations for names. An entry's `org.opencontainers.image.ref.name` and containerd's
`io.containerd.image.name` are both the full name (`docker.io/library/hello:latest`): a tag alone
would be ambiguous in a store with many repositories, and other tools refuse that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from buildkit_py.core.data import dataclass, replace
from buildkit_py.core.digest import Digest, is_digest
from buildkit_py.core.errors import InputError, StateError
from buildkit_py.oci.image import MANIFESTS, BadImage, Descriptor, ImageConfig, Manifest, from_json
from buildkit_py.oci.reference import BadReference, parse_reference
from buildkit_py.store.content import Content
from buildkit_py.store.layout import CONTAINERD_NAME, REF_NAME, index_bytes
from buildkit_py.store.session import Session
from buildkit_py.store.signature import index_signature

CONFIG_DIGEST = "io.buildkit-py.config.digest"
"""Annotation of ours in the index: saves reading every manifest to find an image by its id."""

_NAMES = (REF_NAME, CONTAINERD_NAME)


class UnknownImage(InputError):
    """No image of the store is meant by what was given."""

    code = "store/unknown-image"

    def __init__(self, text: str) -> None:
        super().__init__(f"no image `{text}` in the store", hint="`pyengine images` lists them")


class AmbiguousImage(InputError):
    """Several images begin with the digits that were given."""

    code = "store/ambiguous-image"


class DamagedIndex(StateError):
    """The index.json of the store cannot be read."""

    code = "store/damaged-index"


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One name of an image, or an image without a name.

    name: full, such as `docker.io/library/hello:latest`
    descriptor: of the manifest, without the annotations of the index
    config: digest of the image config, which is the image's id
    """

    name: str | None
    descriptor: Descriptor
    config: Digest


class Images:
    """The images of one state root."""

    def __init__(self, session: Session, content: Content) -> None:
        self._session = session
        self._content = content
        self._path = os.path.join(content.directory, "index.json")

    def index_signature(self) -> str:
        """Return a text that changes with every change of names (see store.signature)."""
        return index_signature(self._session.root)

    def _read(self) -> list[ImageRecord]:
        with open(self._path, "rb") as file:
            data = from_json(file.read(), "index of the store")
        records = []
        for entry in data.get("manifests") or []:
            descriptor = Descriptor.from_data(entry, "entry of the store's index")
            names = descriptor.annotations
            config = names.get(CONFIG_DIGEST, "")
            records.append(
                ImageRecord(
                    names.get(CONTAINERD_NAME) or names.get(REF_NAME),
                    replace(descriptor, annotations=_without_ours(names)),
                    Digest(config) if is_digest(config) else self._config_of(descriptor),
                )
            )
        return records

    def list(self) -> list[ImageRecord]:
        """Return every name of every image, sorted by name; the nameless come last.

        Raises DamagedIndex.
        """
        try:
            return self._read()
        except BadImage as error:
            raise DamagedIndex(f"`{self._path}` is damaged: {error.message}") from None

    def get(self, name: str) -> Descriptor | None:
        """Return the manifest's descriptor of a full name, or None."""
        record = next((each for each in self.list() if each.name == name), None)
        return record.descriptor if record else None

    def find(self, text: str) -> ImageRecord:
        """Return the image that `text` means, as docker reads it.

        text: a reference, or an id: digest of the config or of the manifest, with or without
            `sha256:`, of which a beginning suffices
        Raises UnknownImage or AmbiguousImage.
        """
        records = self.list()
        try:
            name = parse_reference(text).name
        except BadReference:
            name = ""
        for record in records:
            if name and record.name == name:
                return record
        wanted = text.rpartition("@")[2].removeprefix("sha256:")
        if not wanted or wanted.strip("0123456789abcdef"):
            raise UnknownImage(text)
        found = [
            record
            for record in records
            if record.config[7:].startswith(wanted)
            or record.descriptor.digest[7:].startswith(wanted)
        ]
        if not found:
            raise UnknownImage(text)
        if len({record.config for record in found}) > 1:
            raise AmbiguousImage(f"several images begin with `{wanted}`")
        return found[0]

    def put(self, name: str | None, descriptor: Descriptor) -> None:
        """Give an image a name, or keep it without one; its manifest must be in the store.

        An image that had this name and no other stays, without a name.
        """
        config = self._config_of(descriptor)
        new = ImageRecord(name, descriptor, config)
        self._content.sync()
        with self._session.lock("index"):
            records = self.list()
            kept = [each for each in records if name is None or each.name != name]
            if name is None:
                if any(each.descriptor.digest == descriptor.digest for each in records):
                    return
            else:
                kept = [
                    each
                    for each in kept
                    if each.name is not None or each.descriptor.digest != descriptor.digest
                ]
            named = {each.descriptor.digest for each in kept} | {descriptor.digest}
            nameless = [
                replace(each, name=None)
                for each in records
                if each.name == name and each.descriptor.digest not in named
            ]
            self._write([*kept, *nameless, new])

    def remove(self, name: str) -> ImageRecord | None:
        """Take a name away, and return what it led to. The manifest stays until it is swept."""
        with self._session.lock("index"):
            records = self.list()
            gone = next((each for each in records if each.name == name), None)
            if gone is not None:
                self._write(each for each in records if each.name != name)
            return gone

    def remove_all(self, manifest: Digest) -> tuple[ImageRecord, ...]:
        """Take all names of an image away, and return what they were."""
        with self._session.lock("index"):
            records = self.list()
            gone = tuple(each for each in records if each.descriptor.digest == manifest)
            if gone:
                self._write(each for each in records if each.descriptor.digest != manifest)
            return gone

    def manifest(self, digest: Digest) -> Manifest:
        """Read a manifest, verified against its digest."""
        return Manifest.from_bytes(self._content.read(digest))

    def config(self, digest: Digest) -> ImageConfig:
        """Read an image config by its own digest, verified against it."""
        return ImageConfig.from_bytes(self._content.read(digest))

    def _config_of(self, descriptor: Descriptor) -> Digest:
        if descriptor.media_type not in MANIFESTS:
            raise StateError(
                f"`{descriptor.digest}` is of type `{descriptor.media_type}`, not a manifest",
                code="store/not-a-manifest",
            )
        return self.manifest(descriptor.digest).config.digest

    def _write(self, records: Iterable[ImageRecord]) -> None:
        entries = sorted(records, key=lambda each: (not each.name, each.name, each.config))
        self._session.replace(self._path, index_bytes([_to_entry(each) for each in entries]))


def _to_entry(record: ImageRecord) -> Descriptor:
    annotations = dict(_without_ours(record.descriptor.annotations))
    if record.name is not None:
        annotations |= dict.fromkeys(_NAMES, record.name)
    annotations[CONFIG_DIGEST] = record.config
    return replace(record.descriptor, annotations=annotations)


def _without_ours(annotations: object) -> dict[str, str]:
    assert isinstance(annotations, dict)
    return {k: v for k, v in annotations.items() if k not in (*_NAMES, CONFIG_DIGEST)}
