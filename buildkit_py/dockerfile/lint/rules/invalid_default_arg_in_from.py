"""FROM names an image also when no build argument is given.

Tools that build, scan or update images know no arguments of yours. Give the ARG a default with
which the name is one.

Bad:
    ARG VERSION
    FROM debian:$VERSION

Good:
    ARG VERSION=12
    FROM debian:$VERSION
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.errors import InputError
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.oci.reference import parse_reference

name = "InvalidDefaultArgInFrom"
severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    for stage, image in zip(file.stages, file.variables.images, strict=True):
        if image is None:
            return
        try:
            parse_reference(image)
        except InputError:
            yield Finding(
                stage.base.span,
                f"without build arguments this is `{image}`, which names no image"
                if image
                else "without build arguments this is empty",
            )
