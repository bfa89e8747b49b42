"""A label that holds a version holds a semantic one.

As semver.org has it: `1.4.0-rc.1`. Values with variables are left alone, unlike in hadolint.

Bad (with label-schema: org.opencontainers.image.version: semver):
    FROM debian:12
    LABEL org.opencontainers.image.version="1.4"

Good (with label-schema: org.opencontainers.image.version: semver):
    FROM debian:12
    LABEL org.opencontainers.image.version="1.4.0-rc.1+build.5"
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.patterns import later
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.labels import wrong_values
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True

_NUMBER = r"(?:0|[1-9][0-9]*)"
_PART = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = later(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PART}(?:\.{_PART})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)


def check(file: File) -> Iterator[Finding]:
    return wrong_values(file, "semver", _is_right, "no semantic version")


def _is_right(value: str) -> bool:
    return _VERSION.fullmatch(value) is not None
