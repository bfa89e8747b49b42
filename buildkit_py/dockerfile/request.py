"""What lowering is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from buildkit_py.core.data import dataclass, field
from buildkit_py.core.digest import Digest
from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Span
from buildkit_py.graph.vertex import Vertex
from buildkit_py.oci.image import ImageConfig
from buildkit_py.oci.platform import Platform


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """An image that is needed. reference: normalised, such as `docker.io/library/debian:12`."""

    reference: str
    platform: Platform
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image that was found. manifest: of the one platform, not of an index."""

    reference: str
    manifest: Digest
    config: ImageConfig


Resolver = Callable[[Sequence[ImageRequest]], Mapping[ImageRequest, ResolvedImage]]
"""Finds images. Called in rounds: the ONBUILD of a found image may ask for more."""


@dataclass(frozen=True, slots=True)
class LowerRequest:
    """What to build, and with what.

    platform: of the image; build_platform: of this machine
    platform_given: `--platform` was used, so that the image says so whatever its base says
    build_args: proxies among them go to every RUN, outside of its key
    hosts: `--add-host`, name and address
    named_contexts: `--build-context`; not supported yet
    """

    platform: Platform
    build_platform: Platform
    target: str | None = None
    platform_given: bool = False
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    network: Literal["default", "none", "host"] = "default"
    hosts: tuple[tuple[str, str], ...] = ()
    named_contexts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lowered:
    """A build as a graph.

    root: the final root file system
    base: the image that the final chain starts from; None for scratch
    layers: the vertices of the final chain, lowest first; each makes one layer above the base
    config: the image's config; `diff_ids` are the base's; `history` is the base's and ours, ours
        without times, with exactly one entry that is not empty for each vertex of `layers`
    vertices: everything `root` needs, inputs before what reads them, in the order of the file
    warnings: complaints that do not stop a build; draw them at level `warning`
    """

    root: Vertex
    base: ResolvedImage | None
    layers: tuple[Vertex, ...]
    config: ImageConfig
    vertices: tuple[Vertex, ...]
    warnings: tuple[InputError, ...]
