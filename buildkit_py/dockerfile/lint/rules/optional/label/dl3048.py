"""Names of labels are lower case, and no tool's own namespace.

Letters, digits, `.`, `-`, `_` and `/`, with a letter first, a letter or digit last, and no two dots
or dashes in a row. `com.docker.`, `io.docker.` and `org.dockerproject.` are Docker's.

Bad:
    FROM debian:12
    LABEL Maintainer="someone@example.org"

Bad:
    FROM debian:12
    LABEL com.docker.example="x"

Good:
    FROM debian:12
    LABEL org.example.name="x" version="1.0"
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.patterns import later
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.labels import labels
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.STYLE
alone = True

_NAME = later(r"[a-z](?:[a-z0-9._/-]*[a-z0-9])?")
_RESERVED = ("com.docker.", "io.docker.", "org.dockerproject.")


def check(file: File) -> Iterator[Finding]:
    for _, name, pair in labels(file):
        if name.startswith(_RESERVED):
            yield Finding(pair.key.span, f"`{name}` is in a namespace that is Docker's own")
        elif not _NAME.fullmatch(name) or ".." in name or "--" in name:
            yield Finding(pair.key.span, f"`{name}` is not written as names of labels are")
