"""A variable is not used in the ENV that sets it.

All values of an ENV are expanded with what stood before it: in `ENV A=1 B=$A`, `B` is what `A` was
above. Unlike in hadolint, single quotes keep a `$` as it is.

Bad:
    FROM debian:12
    ENV HOME_DIR=/srv DATA="${HOME_DIR}/data"

Good:
    FROM debian:12
    ENV HOME_DIR=/srv
    ENV DATA=$HOME_DIR/data PATH=/x:$PATH
    ENV A=1 B='$A'
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.dockerfile.lint.variables import name_spans
from buildkit_py.dockerfile.words import BadWord, expansion

severity = Severity.ERROR


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        known = set(stage.parent.names) if stage.parent else set()
        for instruction in stage.body:
            if isinstance(instruction, ast.Env):
                yield from _within(instruction, known, file.escape)
            if isinstance(instruction, ast.Env | ast.Arg):
                known.update(pair.key.text for pair in instruction.pairs)


def _within(instruction: ast.Env, known: set[str], escape: str) -> Iterator[Finding]:
    counts: dict[str, int] = {}
    for pair in instruction.pairs:
        counts[pair.key.text] = counts.get(pair.key.text, 0) + 1
    for pair in instruction.pairs:
        if pair.value is None or "$" not in pair.value.text:
            continue
        for name in _names(pair.value.text, escape):
            # Its own old value, as in PATH=$PATH:/x, is what is meant.
            others = counts.get(name, 0) - (name == pair.key.text)
            if others and name not in known:
                span = name_spans(pair.value).get(name, pair.value.span)
                yield Finding(span, f"`{name}` is set by this very `ENV`: here it has no value yet")


def _names(text: str, escape: str) -> list[str]:
    """Return the variables that a text uses."""
    used: dict[str, None] = {}

    def get(name: str) -> str:
        used[name] = None
        return "x"

    try:
        expansion(text, get, escape=escape)
    except BadWord:
        return []
    return list(used)
