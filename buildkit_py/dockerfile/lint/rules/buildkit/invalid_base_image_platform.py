"""A base image is for the platform that is built for.

An image for another processor starts, if at all, under emulation, and the image made from it is
labelled with a platform that its files are not for. Checked are images that the local store has,
and only with `--resolve`.

Bad (base is linux/arm64):
    FROM base

Good (base is linux/arm64):
    FROM --platform=linux/arm64 base
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.errors import InputError
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.oci.platform import parse_platform

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        image = file.variables.images[stage.index]
        config = file.bases.get(image or "")
        if config is None or stage.parent is not None:
            continue
        actual = config.platform
        expected = file.platform
        asked = file.variables.platforms.get(stage.index)
        if asked is not None:
            try:
                expected = parse_platform(asked.text)
            except InputError:
                continue
        if (expected.os, expected.architecture) != (actual.os, actual.architecture):
            yield Finding(
                stage.base.span, f"`{image}` is for `{actual}`, and this builds for `{expected}`"
            )
