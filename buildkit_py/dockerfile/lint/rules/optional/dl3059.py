"""RUNs that follow one another may be one.

Each is a layer. Looked at are RUNs of a single command each, with the same flags. Off by default:
several short RUNs are easier to read, and to keep in the cache.

Bad:
    FROM debian:12
    RUN make
    RUN make install

Good:
    FROM debian:12
    RUN make && make install
    RUN make clean
    COPY x /x
    RUN a
    RUN --mount=type=cache,target=/c b
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.INFO

MOST_COMMANDS = 1
"""Longer scripts are not worth joining; hadolint has the same bound."""


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        runs = {id(run.outer): run for run in stage.runs}
        before: ast.Run | None = None
        for instruction in stage.body:
            if not isinstance(instruction, ast.Run):
                before = None
                continue
            if before is not None and _flags(before) == _flags(instruction):
                counts = [runs[id(each)].command_count for each in (before, instruction)]
                if max(counts) <= MOST_COMMANDS:
                    yield Finding(
                        instruction.keyword.span, f"this could be part of line {before.span.line}"
                    )
            before = instruction


def _flags(instruction: ast.Run) -> list[tuple[str, str | None]]:
    return sorted((flag.name, flag.value or "") for flag in instruction.flags)
