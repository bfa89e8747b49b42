"""COPY and ADD do not name what .dockerignore leaves out.

The file is not sent, so the build fails with "not found", and who sees the file on the disk
wonders. Not checked when an ignore file has exceptions (`!`): too much is uncertain then.

Bad (with .dockerignore: *.log):
    FROM debian:12
    COPY build.log /

Good (with .dockerignore: *.log):
    FROM debian:12
    COPY build.txt /
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.dockerfile.paths import clean

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    ignore = file.ignore
    if ignore is None or any(pattern.keeps for pattern in ignore.patterns):
        return
    leaves_nothing = any(pattern.text in ("*", "**", "**/*") for pattern in ignore.patterns)
    for stage in file.stages:
        for instruction in stage.body:
            if not isinstance(instruction, ast.Copy | ast.Add):
                continue
            if any(flag.name == "from" for flag in instruction.flags):
                continue
            for word in instruction.sources:
                if word.text.startswith("<<") or "://" in word.text or word.text[:4] == "git@":
                    continue
                path = clean(word.text).lstrip("/")
                if not path:
                    if leaves_nothing:
                        yield Finding(word.span, "the ignore file leaves out the whole context")
                elif ignore.ignores(path):
                    yield Finding(word.span, f"the ignore file leaves `{path}` out")
