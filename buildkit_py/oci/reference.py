"""Names of images, as docker reads them.

`debian` means `docker.io/library/debian:latest`. The first part of a name is a registry when it
holds a dot or a colon or is `localhost`. Source: distribution/reference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from buildkit_py.core.digest import Digest, is_digest
from buildkit_py.core.errors import InputError

DEFAULT_REGISTRY = "docker.io"
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_TAG = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class BadReference(InputError):
    """The text is no image reference."""

    code = "oci/bad-reference"


@dataclass(frozen=True, slots=True)
class Reference:
    """A whole image name. `tag` is None only when there is a digest."""

    registry: str
    repository: str
    tag: str | None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """`docker.io/library/debian:12`: the name under which the store keeps an image."""
        text = f"{self.registry}/{self.repository}"
        if self.tag is not None:
            text += f":{self.tag}"
        return text if self.digest is None else f"{text}@{self.digest}"

    @property
    def familiar(self) -> str:
        """`debian:12`: the name as people write it."""
        text = self.repository
        if self.registry != DEFAULT_REGISTRY:
            text = f"{self.registry}/{text}"
        else:
            text = text.removeprefix("library/")
        if self.tag is not None:
            text += f":{self.tag}"
        return text if self.digest is None else f"{text}@{self.digest}"

    def with_digest(self, digest: Digest) -> Reference:
        return replace(self, digest=digest)


def parse_reference(text: str) -> Reference:
    """Read a name as docker does; raise BadReference with the reason."""

    def bad(reason: str) -> BadReference:
        return BadReference(f"invalid image reference `{text}`: {reason}")

    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise bad("a digest is `sha256:` and 64 hexadecimal digits")
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost" or head != head.lower()):
        registry, path = head, tail
    else:
        registry, path = DEFAULT_REGISTRY, rest
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    path, colon, tag = path.partition(":")
    if colon and (not tag or len(tag) > 128 or not _TAG.issuperset(tag) or tag[0] in ".-"):
        raise bad(f"invalid tag `{tag}`")
    if not path:
        raise bad("the repository is missing")
    for part in path.split("/"):
        if (
            not part
            or part.strip("._-") != part
            or not _NAME.issuperset(part.translate(_SEPARATORS))
        ):
            if part != part.lower():
                raise bad("a repository name must be lower case")
            raise bad(f"invalid repository `{path}`")
    if not registry.strip(".-:") or any(c.isspace() or c in "/@?#" for c in registry):
        raise bad(f"invalid registry `{registry}`")
    if len(path) > 255:
        raise bad("the repository is longer than 255 characters")
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = f"library/{path}"
    if not colon and not at:
        tag = "latest"
    return Reference(registry, path, tag or None, Digest(digest) if at else None)


_SEPARATORS = {ord(c): None for c in "._-"}
