"""MAINTAINER is a label today.

The instruction has been deprecated since 2017. A label says the same, and tools can read it.

Bad:
    FROM debian:12
    MAINTAINER Ada <ada@example.org>

Good:
    FROM debian:12
    LABEL org.opencontainers.image.authors="Ada <ada@example.org>"
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Edit, Finding, Severity

name = "MaintainerDeprecated"
alias = "DL4000"
severity = Severity.WARNING
alias_severity = Severity.ERROR
alone = True


def check(file: File) -> Iterator[Finding]:
    for instruction in file.instructions:
        if isinstance(instruction, ast.Maintainer):
            yield Finding(
                instruction.span,
                "`MAINTAINER` is deprecated; use the label `org.opencontainers.image.authors`",
                label_instead(instruction),
            )


def label_instead(instruction: ast.Maintainer) -> tuple[Edit, ...]:
    """Return the edits that make a MAINTAINER a LABEL, where its text can be quoted plainly."""
    text = instruction.name.text
    if any(mark in text for mark in '"\\`$') or instruction.name.span.text != text:
        return ()
    keyword = "label" if instruction.keyword.text.islower() else "LABEL"
    return (
        Edit(instruction.keyword.span, keyword),
        Edit(instruction.name.span, f'org.opencontainers.image.authors="{text}"'),
    )
