"""A stage has one CMD, one ENTRYPOINT, one HEALTHCHECK.

Only the last of each counts; the earlier ones are reported, as they do nothing. A stage that
starts from another one may set its own.

Bad:
    FROM debian:12
    CMD ["a"]
    CMD ["b"]

Good:
    FROM debian:12 AS one
    CMD ["a"]
    FROM one
    CMD ["b"]
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for kind in (ast.Cmd, ast.Entrypoint, ast.Healthcheck):
            found = stage.of(kind)
            for instruction in found[:-1]:
                keyword = instruction.keyword.text.upper()
                yield Finding(
                    instruction.span,
                    f"line {found[-1].span.line} has another `{keyword}`, so this one does nothing",
                )
