"""A label that holds a licence names one that SPDX knows.

A licence expression, as the OCI image specification wants it. Unlike hadolint, which knows single
names only, `OR`, `AND` and `WITH` are read. Values with variables are left alone.

Bad (with label-schema: org.opencontainers.image.licenses: spdx):
    FROM debian:12
    LABEL org.opencontainers.image.licenses="Apache License 2.0"

Good (with label-schema: org.opencontainers.image.licenses: spdx):
    FROM debian:12
    LABEL org.opencontainers.image.licenses="Apache-2.0 OR MIT"
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.labels import wrong_values
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.dockerfile.lint.spdx import is_expression

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    return wrong_values(file, "spdx", is_expression, "no licence expression of SPDX")
