"""An image says how its health is checked.

Off by default, also in hadolint: only who runs containers by Docker reads it. NONE is an answer,
too.

Bad:
    FROM debian:12
    CMD ["app"]

Good:
    FROM debian:12 AS base
    HEALTHCHECK CMD ["app", "--check"]
    FROM base
    CMD ["app"]
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
experimental = True


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        if stage.is_parent or not stage.is_last:
            continue
        if not any(each.of(ast.Healthcheck) for each in stage.chain()):
            yield Finding(stage.origin.image.span, "no `HEALTHCHECK` tells how the image is")
