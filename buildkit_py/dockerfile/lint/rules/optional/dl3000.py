"""WORKDIR is absolute.

hadolint's form: every relative WORKDIR counts, also behind an absolute one. WorkdirRelativePath,
which replaces it by default, reports only those whose meaning the base image decides.

Bad:
    FROM debian:12
    WORKDIR /srv
    WORKDIR app

Good:
    FROM debian:12
    WORKDIR /srv/app
    WORKDIR "/x"
    WORKDIR $HOME/app
    WORKDIR C:/app
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.ERROR
alone = True


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for instruction in stage.body:
            if isinstance(instruction, ast.Workdir):
                path = instruction.path.text.strip("'\"")
                if not path.startswith(("/", "$")) and path[1:2] != ":":
                    yield Finding(instruction.path.span, f"`{path}` is not an absolute path")
