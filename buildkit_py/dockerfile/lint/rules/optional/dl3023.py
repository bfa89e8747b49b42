"""`COPY --from` names another stage than its own.

No build can copy out of what it is just making.

Bad:
    FROM debian:12 AS build
    COPY --from=build /x /y

Good:
    FROM debian:12 AS build
    FROM debian:12 AS run
    COPY --from=build /x /x
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.ERROR


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for instruction in stage.of(ast.Copy):
            for flag in instruction.flags:
                if flag.name == "from" and stage.name and (flag.value or "").lower() == stage.name:
                    yield Finding(flag.span, "the stage cannot copy from itself")
