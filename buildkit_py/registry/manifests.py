"""From a reference to the manifest of one platform: HEAD, GET, and the choice from an index.

What is fetched is checked against its digest before anything is read from it. Descriptors found
this way can be trusted as far as the reference can: wholly, when it names a digest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from buildkit_py.core.digest import Digest, is_digest, sha256
from buildkit_py.core.errors import RemoteError
from buildkit_py.oci.image import (
    INDEXES,
    MANIFESTS,
    MOST_METADATA_BYTES,
    BadImage,
    Descriptor,
    from_json,
)
from buildkit_py.oci.platform import Platform
from buildkit_py.registry.client import Repository
from buildkit_py.registry.errors import Misbehaved

ACCEPT = ", ".join((*INDEXES, *MANIFESTS, "*/*"))
DEEPEST_INDEX = 4
_VAGUE = ("", "application/json", "application/octet-stream", "text/plain")

Known = Callable[[Digest], bytes | None]


class WrongContent(RemoteError):
    """What came is not what was named: other bytes, or more or fewer of them."""

    code = "registry/wrong-content"


class NoPlatform(RemoteError):
    """The image exists, but not for the wanted platform."""

    code = "registry/no-platform"


def find_manifest(
    repository: Repository, platform: Platform, known: Known = lambda digest: None
) -> tuple[Descriptor, bytes]:
    """Return descriptor and bytes of the image manifest that a reference means on a platform.

    known: gives the bytes of a manifest that is here already, else None
    Raises NotFound, NoPlatform, WrongContent, Misbehaved, BadImage, or what the transport raises.
    """
    descriptor, data = _top(repository, known)
    for _ in range(DEEPEST_INDEX):
        if descriptor.media_type in MANIFESTS:
            return descriptor, data
        chosen = choose(data, platform, repository.image)
        descriptor, data = _get(repository, chosen.digest, known)
        if descriptor.size != chosen.size:
            raise WrongContent(f"the manifest {chosen.digest} has not the size its index states")
    raise BadImage(
        f"the index of {repository.image} leads through more than {DEEPEST_INDEX} others"
    )


def choose(index: bytes, platform: Platform, image: str) -> Descriptor:
    """Return the entry of an index that fits a platform best.

    Of several variants the highest that the platform can run is best, of equal ones the first.
    An index that names no platforms at all means its first image.
    """
    entries = from_json(index, "index").get("manifests")
    if not isinstance(entries, list):
        raise BadImage("the index has no list of manifests")
    descriptors = [
        Descriptor.from_data(each, "entry of the index")
        for each in entries
        # Types we do not know may be anything; the specification says to ignore them.
        if isinstance(each, dict) and each.get("mediaType", "") in (*MANIFESTS, *INDEXES)
    ]
    fitting = [
        each for each in descriptors if each.platform is None or platform.accepts(each.platform)
    ]
    named = [each for each in fitting if each.platform is not None]
    if named:
        return max(named, key=lambda each: _level(each.platform))
    if fitting and len(fitting) == len(descriptors):
        return fitting[0]
    offered = sorted({str(each.platform) for each in descriptors if each.platform})
    raise NoPlatform(
        f"{image} is not made for {platform}",
        hint=f"it is made for {_listed(offered)}" if offered else None,
    )


def _level(platform: Platform | None) -> tuple[int, str]:
    """Order variants: `v10` above `v9`."""
    variant = platform.variant if platform else ""
    return len(variant), variant


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name for name in names if not name.startswith("unknown"))


def _top(repository: Repository, known: Known) -> tuple[Descriptor, bytes]:
    reference = repository.reference
    if reference.digest is not None:
        return _get(repository, reference.digest, known)
    # A HEAD costs no part of the Hub's quota, and its digest may be here already.
    path = f"manifests/{reference.tag}"
    status, headers, _ = repository.fetch("HEAD", path, {"Accept": ACCEPT}, 0)
    digest = headers.get("docker-content-digest", "")
    if status == 200 and is_digest(digest):
        return _get(repository, Digest(digest), known)
    return _fetched(repository, path, None)


def _get(repository: Repository, digest: Digest, known: Known) -> tuple[Descriptor, bytes]:
    data = known(digest)
    if data is not None:
        return _described(data, "", digest), data
    return _fetched(repository, f"manifests/{digest}", digest)


def _fetched(repository: Repository, path: str, digest: Digest | None) -> tuple[Descriptor, bytes]:
    status, headers, data = repository.fetch("GET", path, {"Accept": ACCEPT}, MOST_METADATA_BYTES)
    if status == 404:
        raise repository.not_found(data)
    if status != 200:
        raise Misbehaved(f"{repository.name} answers with status {status} for {repository.image}")
    if len(data) > MOST_METADATA_BYTES:
        raise BadImage(f"the manifest is larger than {MOST_METADATA_BYTES} bytes")
    expected = digest or headers.get("docker-content-digest") or None
    if expected is not None and is_digest(expected) and sha256(data) != expected:
        raise WrongContent(
            f"the manifest of {repository.image} is {sha256(data)}, not {expected} as was asked for"
        )
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return _described(data, kind, sha256(data)), data


def _described(data: bytes, header: str, digest: Digest) -> Descriptor:
    """Return the descriptor of a manifest or index, whose type header and body must agree on."""
    value = from_json(data, "manifest")
    if value.get("schemaVersion") == 1 or "distribution.manifest.v1" in header:
        raise BadImage(
            "the image has the old format `schema 1`, which is no longer read",
            hint="push it again with a current tool",
        )
    stated = value.get("mediaType") or ""
    if header not in _VAGUE and stated and stated != header:
        raise Misbehaved(f"the registry calls a manifest `{header}`, itself says `{stated}`")
    kind = stated or (header if header not in _VAGUE else "") or _guess(value)
    # One text must not be read as two things (CVE-2021-41190).
    if "manifests" in value and "layers" in value:
        raise BadImage("the manifest is an index as well")
    if kind not in (*MANIFESTS, *INDEXES):
        raise BadImage(f"a manifest of type `{kind}` is no container image")
    return Descriptor(kind, digest, len(data))


def _guess(value: Mapping[str, Any]) -> str:
    return INDEXES[0] if "manifests" in value else MANIFESTS[0]
