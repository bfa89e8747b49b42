"""COPY of several sources goes into a directory: the destination ends with `/`.

Without the slash it may be taken for the name of a file. Unlike in hadolint, `.` and `..` are
directories, and a variable may be one.

Bad:
    FROM debian:12
    COPY a b /srv

Good:
    FROM debian:12
    COPY a b /srv/
    COPY a b .
    COPY a b $DIR
    COPY a /srv
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Edit, Finding, Severity

severity = Severity.ERROR
alone = True


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for instruction in stage.of(ast.Copy):
            assert isinstance(instruction, ast.Copy)
            path = instruction.dest.text.strip("'\"")
            is_directory = path.endswith(("/", "\\")) or path.rpartition("/")[2] in (".", "..")
            if len(instruction.sources) > 1 and not is_directory and "$" not in path:
                span = instruction.dest.span
                edits = (Edit(span, f"{span.text}/"),) if span.text == path else ()
                yield Finding(span, f"several sources need a directory: `{path}/`", edits)
