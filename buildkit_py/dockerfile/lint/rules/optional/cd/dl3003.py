"""WORKDIR changes the directory, not `cd`.

A `cd` lasts until the end of its RUN; a WORKDIR also for what comes after, and it is seen.
Off by default: in the middle of a script, `cd` is often the plain thing to do.

Bad:
    FROM debian:12
    RUN cd /src && make

Good:
    FROM debian:12
    WORKDIR /src
    RUN make
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, first_calls
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for run, program in first_calls(file, "cd"):
        if not run.is_trigger:
            yield Finding(program.span, "use `WORKDIR` to change the directory")
