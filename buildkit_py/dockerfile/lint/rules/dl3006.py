"""Pin base images: a name without a tag means `latest`, and that moves.

Names with a variable in their last part may get a tag from it, and are left alone. Unlike
hadolint, a registry's port is not taken for a tag, stages are found whatever their case, and
`$REGISTRY/debian` is known to have no tag.

Bad:
    FROM debian

Bad:
    FROM localhost:5000/debian

Good:
    ARG IMAGE=debian:12
    FROM debian:12 AS build
    FROM debian@sha256:5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d
    FROM $IMAGE
    FROM ${OTHER:-example.org/debian}
    FROM Build
    FROM scratch
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, without_braces
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        base = stage.base
        if stage.parent is not None or base.text == "scratch" or base.tag or base.digest:
            continue
        last = base.text[without_braces(base.text).rfind("/") + 1 :]
        if "$" not in last:
            yield Finding(base.span, f"`{base.text}` has no tag, so it means `latest`; pin one")
