"""ENV and LABEL are written `name=value`.

The old form, with a blank in the place of `=`, takes the whole rest of the line, quotes and all:
`ENV A 1 B=2` sets one variable.

Bad:
    FROM debian:12
    ENV HOME /srv

Good:
    FROM debian:12
    ENV HOME=/srv
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.source import Span
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Edit, Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for instruction in file.instructions:
        if isinstance(instruction, ast.Env | ast.Label) and instruction.legacy:
            keyword = instruction.keyword.text.upper()
            pair = instruction.pairs[0]
            assert pair.value is not None
            span = Span(file.source, pair.key.span.start, pair.value.span.end)
            yield Finding(
                span, f"write `{keyword} name=value`, with `=` and no blank", _modern(pair)
            )


def _modern(pair: ast.Pair) -> tuple[Edit, ...]:
    """Return the edits to the new form, where no quote or escape could change its meaning."""
    value = pair.value
    if value is None or value.span.text != value.text or pair.key.span.text != pair.key.text:
        return ()
    if any(mark in value.text for mark in "'\"\\`") or any(mark in pair.key.text for mark in "'\""):
        return ()
    text = f'"{value.text}"' if any(blank in value.text for blank in " \t") else value.text
    gap = Span(value.span.source, pair.key.span.end, value.span.end)
    return (Edit(gap, f"={text}"),)
