"""What tests of lowering share: images that need no registry, and short ways in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from buildkit_py.core.digest import sha256
from buildkit_py.core.draw import draw
from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Source
from buildkit_py.dockerfile.lower import (
    ImageRequest,
    Lowered,
    LowerRequest,
    ResolvedImage,
    Resolver,
    lower,
)
from buildkit_py.dockerfile.parse import parse
from buildkit_py.oci.image import ContainerConfig, History, ImageConfig
from buildkit_py.oci.platform import Platform

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


def image(request: ImageRequest, config: ContainerConfig, **more: Any) -> ResolvedImage:
    """Return an image of one layer whose digests come from its name and platform."""
    name = f"{request.reference} {request.platform}".encode()
    return ResolvedImage(
        request.reference,
        sha256(b"manifest " + name),
        ImageConfig(
            request.platform,
            config,
            created="2026-01-01T00:00:00Z",
            diff_ids=(sha256(b"layer " + name),),
            history=(History(created="2026-01-01T00:00:00Z", created_by="base"),),
            **more,
        ),
    )


BASE = ContainerConfig(env=("PATH=/bin",), cmd=("sh",))


def images(configs: Mapping[str, ContainerConfig] | None = None) -> Resolver:
    """Return a resolver that finds every image, with a config of its own by repository name."""

    def resolve(requests: Sequence[ImageRequest]) -> dict[ImageRequest, ResolvedImage]:
        known = configs or {}
        return {
            each: image(each, known.get(each.reference.split("/")[-1].split(":")[0], BASE))
            for each in requests
        }

    return resolve


def lowered(
    text: str,
    *,
    configs: Mapping[str, ContainerConfig] | None = None,
    resolve: Resolver | None = None,
    **request: Any,
) -> Lowered:
    file = parse(Source("Dockerfile", text))
    request.setdefault("platform", AMD64)
    request.setdefault("build_platform", AMD64)
    return lower(file, LowerRequest(**request), resolve or images(configs))


def complaint(text: str, **request: Any) -> str:
    """Return the error of a Dockerfile, drawn."""
    with pytest.raises(InputError) as caught:
        lowered(text, **request)
    return draw(caught.value)


def warnings(text: str, **request: Any) -> str:
    drawn = [draw(each, level="warning") for each in lowered(text, **request).warnings]
    return "\n\n".join(drawn)


def history(text: str, **request: Any) -> list[str]:
    """Return what the instructions above the base wrote into the history."""
    entries = lowered(text, **request).config.history
    return [each.created_by or "" for each in entries if each.created_by != "base"]
