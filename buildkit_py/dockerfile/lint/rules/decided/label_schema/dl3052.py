"""A label that holds a URL holds one.

An absolute one, with its scheme. Values with variables are left alone, unlike in hadolint.

Bad (with label-schema: org.opencontainers.image.url: url):
    FROM debian:12
    LABEL org.opencontainers.image.url="example.org"

Good (with label-schema: org.opencontainers.image.url: url):
    FROM debian:12
    LABEL org.opencontainers.image.url="https://example.org/x"
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.patterns import later
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.labels import wrong_values
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True

_URL = later(r"[A-Za-z][A-Za-z0-9+.-]*:(?://[^/?#\s]*)?[^\s<>\"{}|\\^`]*")


def check(file: File) -> Iterator[Finding]:
    return wrong_values(file, "url", _is_right, "no URL")


def _is_right(value: str) -> bool:
    return _URL.fullmatch(value) is not None and not value.endswith(":")
