"""A variable in FROM is declared by an ARG before the first FROM.

Else it expands to nothing. Arguments that a stage declares are not known there; those of the
platform (`TARGETPLATFORM`, `BUILDARCH`, ...) are.

Bad:
    FROM debian:${VERSION}

Bad:
    ARG VERSION=12
    FROM debian:$VERSIONS

Good:
    ARG VERSION=12
    FROM --platform=$BUILDPLATFORM debian:${VERSION}
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    for miss in file.variables.global_misses:
        near = f"; did you mean `{miss.near}`?" if miss.near else ""
        yield Finding(miss.span, f"no `ARG` before the first `FROM` declares `{miss.name}`{near}")
