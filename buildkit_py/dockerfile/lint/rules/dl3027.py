"""`apt-get` and `apt-cache` are for scripts, `apt` is for people.

`apt` says so itself: its interface may change.

Bad:
    FROM debian:12
    RUN apt update

Good:
    FROM debian:12
    RUN apt-get update
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, first_calls
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for _, program in first_calls(file, "apt"):
        yield Finding(program.name_span, "`apt` is not made for scripts; use `apt-get`")
