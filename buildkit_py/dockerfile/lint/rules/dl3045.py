"""COPY goes to an absolute path, or a WORKDIR says where a relative one begins.

Else the base image's working directory decides, and it may change with the next version. Unlike
in hadolint, `scratch` needs none: its working directory is `/`.

Bad:
    FROM debian:12
    COPY app app

Good:
    FROM debian:12
    COPY app /app
    COPY app $HOME/app
    WORKDIR /srv
    COPY app app
    FROM scratch
    COPY app app
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
        if stage.parent is None:
            is_settled = stage.base.text == "scratch"
        else:
            is_settled = stage.parent.index in settled
        for instruction in stage.body:
            if isinstance(instruction, ast.Workdir):
                is_settled = True
            elif isinstance(instruction, ast.Copy) and not is_settled:
                path = instruction.dest.text.strip("'\"")
                if not path.startswith(("/", "$")) and path[1:2] != ":":
                    yield Finding(
                        instruction.dest.span,
                        f"`{path}` is relative, and no `WORKDIR` says to what",
                    )
        if is_settled:
            settled.add(stage.index)
