"""The first WORKDIR of a stage is absolute.

A relative one is taken below the base image's, which may change with the next version of it. Once
an absolute one is set, relative ones are clear. A path that begins with a variable of the base
image may be absolute, so it is left alone (but not in the preset `buildkit`).

Bad:
    FROM debian:12
    WORKDIR app

Good:
    FROM debian:12
    WORKDIR /srv
    WORKDIR app
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    settled: set[int] = set()
    for stage in file.stages:
        is_settled = stage.parent is not None and stage.parent.index in settled
        for instruction in stage.body:
            if not isinstance(instruction, ast.Workdir):
                continue
            path, complete = file.variables.workdirs[instruction.span.start]
            doubtful = not file.empty_bases and (not complete or path[1:2] == ":")
            if not is_settled and not path.startswith("/") and not doubtful:
                yield Finding(
                    instruction.path.span,
                    f"`{path}` is relative to a directory that the base image chooses",
                )
            is_settled = True
        if is_settled:
            settled.add(stage.index)
