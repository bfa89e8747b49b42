"""Labels and what their values have to be. Shared by the rules about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File, Stage
from buildkit_py.dockerfile.lint.rule import Finding
from buildkit_py.dockerfile.words import BadWord, expansion


def labels(file: File) -> Iterator[tuple[Stage, str, ast.Pair]]:
    """Yield every label that a stage sets, with its name."""
    for stage in file.stages:
        for instruction in stage.body:
            if isinstance(instruction, ast.Label):
                for pair in instruction.pairs:
                    yield stage, _text(pair.key, file) or pair.key.text, pair


def value_of(file: File, pair: ast.Pair) -> str | None:
    """Return the value of a label, or None where a variable decides it."""
    return "" if pair.value is None else _text(pair.value, file)


def _text(word: ast.Word, file: File) -> str | None:
    """Return a word without its quotes, or None where it holds a variable."""
    missed: list[str] = []

    def get(name: str) -> str | None:
        missed.append(name)
        return None

    try:
        text = expansion(word.text, get, escape=file.escape).text
    except BadWord:
        return None
    return None if missed else text


def wrong_values(
    file: File, kind: str, is_right: Callable[[str], bool], what: str
) -> Iterator[Finding]:
    """Yield the labels of a kind whose values are not of it; variables are left alone."""
    wanted = file.settings.labels(kind)
    if not wanted:
        return
    for _, name, pair in labels(file):
        if name in wanted and pair.value is not None:
            value = value_of(file, pair)
            if value is not None and not is_right(value):
                yield Finding(pair.value.span, f"`{value}` of the label `{name}` is {what}")
