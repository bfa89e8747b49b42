"""A label that holds a commit holds its hash.

The whole hash or its first 7 digits or more, in lower case: hadolint knows 7 and 40. Values with
variables are left alone, unlike in hadolint.

Bad (with label-schema: org.opencontainers.image.revision: hash):
    FROM debian:12
    LABEL org.opencontainers.image.revision="main"

Good (with label-schema: org.opencontainers.image.revision: hash):
    FROM debian:12
    LABEL org.opencontainers.image.revision="8f936c5a"
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.patterns import later
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.labels import wrong_values
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True

_HASH = later(r"[0-9a-f]{7,40}|[0-9a-f]{64}")


def check(file: File) -> Iterator[Finding]:
    return wrong_values(file, "hash", _is_right, "no hash of a commit")


def _is_right(value: str) -> bool:
    return _HASH.fullmatch(value) is not None
