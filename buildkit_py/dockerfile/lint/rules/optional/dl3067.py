"""Not a whole file system is copied: COPY names what is needed.

`COPY --from=x / /` writes a second copy of every file of the other stage, also of those that are
equal. The rule knows the case of a stage or image whose root is copied over the root.

Bad:
    FROM debian:12 AS build
    FROM debian:12
    COPY --from=build / /

Good:
    FROM debian:12 AS build
    FROM debian:12
    COPY --from=build /usr/local/ /usr/local/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for instruction in stage.of(ast.Copy):
            assert isinstance(instruction, ast.Copy)
            if any(flag.name == "from" for flag in instruction.flags):
                paths = [word.text.strip("'\"") for word in instruction.sources]
                if "/" in paths and instruction.dest.text.strip("'\"") == "/":
                    yield Finding(instruction.span, "this copies a whole file system")
