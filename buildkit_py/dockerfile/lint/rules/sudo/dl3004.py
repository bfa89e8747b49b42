"""`sudo` has no place in a RUN.

RUN is root unless USER says otherwise, and then USER is also the way back. `sudo` starts
programs with another environment, and asks for a password where nobody can answer.

Bad:
    FROM debian:12
    RUN sudo apt-get update

Good:
    FROM debian:12
    RUN apt-get update
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, first_calls
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.ERROR
alone = True


def check(file: File) -> Iterator[Finding]:
    for _, program in first_calls(file, "sudo"):
        yield Finding(program.name_span, "`sudo` in a `RUN`; use `USER` to change the user")
