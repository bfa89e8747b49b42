"""Names of images, as docker reads them.

`debian` means `docker.io/library/debian:latest`. The first part of a name is a registry when it
holds a dot or a colon or is `localhost`. Source: distribution/reference.
"""

from __future__ import annotations

from buildkit_py.core.data import dataclass, replace
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

    if len(text) == 64 and not text.strip("0123456789abcdef"):
        raise bad("64 hexadecimal digits are an image id")
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
        if not _is_component(part):
            if part != part.lower():
                raise bad("a repository name must be lower case")
            raise bad(f"invalid repository `{path}`")
    if not _is_registry(registry):
        raise bad(f"invalid registry `{registry}`")
    if len(path) > 255:
        raise bad("the repository is longer than 255 characters")
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = f"library/{path}"
    if not colon and not at:
        tag = "latest"
    return Reference(registry, path, tag or None, Digest(digest) if at else None)


def _is_component(part: str) -> bool:
    """Tell whether `part` is words of `_NAME`, divided by `.`, `_`, `__` or dashes."""
    divider = ""
    for character in part:
        if character in "._-":
            divider += character
        elif character not in _NAME or divider.strip("-") not in ("", ".", "_", "__"):
            return False
        else:
            divider = ""
    return part[:1] in _NAME and divider == ""


def _is_registry(text: str) -> bool:
    """Tell whether `text` is HOST[:PORT]; an IPv6 address stands in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, "0"
    if host.startswith("["):
        inside = host[1:-1]
        return host.endswith("]") and port.isdecimal() and _ADDRESS.issuperset(inside.lower())
    words = host.split(".")
    return (
        text.isascii()
        and port.isdecimal()
        and all(word and word.strip("-") == word and _HOST.issuperset(word) for word in words)
    )


_ADDRESS = frozenset("0123456789abcdef:.")
_HOST = _TAG - frozenset("_.")
