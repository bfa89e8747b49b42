"""A label that holds an e-mail address holds one.

Only the address, without a name before it. Values with variables are left alone, unlike in
hadolint.

Bad (with label-schema: org.example.contact: email):
    FROM debian:12
    LABEL org.example.contact="someone at example.org"

Good (with label-schema: org.example.contact: email):
    FROM debian:12
    LABEL org.example.contact="someone@example.org"
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.patterns import later
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.labels import wrong_values
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True

_ADDRESS = later(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+"
)


def check(file: File) -> Iterator[Finding]:
    return wrong_values(file, "email", _is_right, "no e-mail address")


def _is_right(value: str) -> bool:
    return _ADDRESS.fullmatch(value) is not None
