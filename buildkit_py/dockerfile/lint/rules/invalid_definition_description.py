"""A comment above ARG or a named FROM describes it, and begins with its name.

`docker build --call=outline` shows such comments as descriptions. One that is not meant so has an
empty comment line `#` below it: an empty line does not suffice. BuildKit calls this rule
experimental, so it runs only when it is selected, or by `# check=experimental=...`.

Bad:
    # which Debian to use
    ARG VERSION=12
    FROM debian:$VERSION

Good:
    # VERSION which Debian to use
    ARG VERSION=12
    # Here it begins.
    #
    FROM debian:$VERSION AS base
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

name = "InvalidDefinitionDescription"
severity = Severity.WARNING
experimental = True


def check(file: File) -> Iterator[Finding]:
    for instruction in file.instructions:
        names: list[str] = []
        if isinstance(instruction, ast.Arg):
            names = [pair.key.text for pair in instruction.pairs]
        elif isinstance(instruction, ast.From) and instruction.name:
            names = [instruction.name.text]
        if names and instruction.comments:
            first = instruction.comments[-1].split(" ")[0]
            if first not in names:
                yield Finding(
                    instruction.span,
                    f"the comment above does not begin with {' or '.join(f'`{n}`' for n in names)}",
                )
