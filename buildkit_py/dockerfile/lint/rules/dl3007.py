"""Pin base images: the tag `latest` moves.

The same Dockerfile builds something else next week, and nobody can say when it
changed. A release tag moves less; a digest does not move at all.

Bad:
    FROM debian:latest

Good:
    FROM debian:12
    FROM debian:latest@sha256:5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        if stage.base.tag == "latest" and stage.base.digest is None:
            yield Finding(stage.base.span, "`latest` moves; pin a release tag or a digest")
