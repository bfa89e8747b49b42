"""FROM names an image also when no build argument is given.

Tools that build, scan or update images know no arguments of yours. Give the ARG a default with
which the name is one. Unlike in BuildKit, a stage whose name has capitals is no image at fault.

Bad:
    ARG VERSION
    FROM debian:$VERSION

Good:
    ARG VERSION=12
    FROM debian:$VERSION AS Build
    FROM Build
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.errors import InputError
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.oci.reference import parse_reference

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    stages: set[str | None] = set()
    for stage, image in zip(file.stages, file.variables.images, strict=True):
        if image is None:
            return
        if image.lower() not in stages:
            try:
                parse_reference(image)
            except InputError:
                yield Finding(stage.base.span, _message(stage.base.text, image))
        stages.add(stage.name)


def _message(written: str, image: str) -> str:
    if image == written:
        return f"`{image}` names no image"
    if not image:
        return "without build arguments this is empty"
    return f"without build arguments this is `{image}`, which names no image"
