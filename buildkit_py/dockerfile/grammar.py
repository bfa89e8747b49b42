"""Runs `grammars/dockerfile.lark` over logical lines, by the tables that Lark makes of it.

Nothing here is bound to one Dockerfile, so threads may parse at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from buildkit_py.dockerfile.lines import Line, Opening
from buildkit_py.dockerfile.reading import Piece, Reading
from buildkit_py.dockerfile.tables import Machine, Token, Unexpected, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEREDOC_KEYWORDS = ("ADD", "COPY", "RUN")


def grammar_path() -> str:
    """Return the path of the grammar: in a wheel beside the code, in a checkout beside that."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    installed = os.path.join(here, "grammars", "dockerfile.lark")
    if os.path.exists(installed):
        return installed
    return os.path.join(os.path.dirname(here), "grammars", "dockerfile.lark")


@cache
def parser(escape: str) -> Machine:
    """Return the parser of lines whose escape token is `escape`."""
    return Machine(_tables()[escape], _REDUCTIONS)


@cache
def _tables() -> Mapping[str, dict[str, Any]]:
    return load(grammar_path())


class _Tail:
    """What follows a keyword, while Lark is reducing it."""

    __slots__ = ("flags", "items")

    def __init__(self, items: list[Any]) -> None:
        self.flags: list[Token] = []
        self.items = items


class _Strings(list[Token]):
    """The strings of a JSON array."""


class _Head:
    """A keyword and its tail."""

    __slots__ = ("keyword", "tail")

    def __init__(self, keyword: Token | None, tail: _Tail) -> None:
        self.keyword = keyword
        self.tail = tail


def _instruction(children: list[Any]) -> _Head:
    keyword, tail = children
    if keyword.type == "ONBUILD" and tail.items:
        inner = tail.items[0]
        if inner.keyword.type == "ONBUILD":
            # Not allowed anyway; a chain of thousands must not become a deep tree.
            inner.tail.items.clear()
    return _Head(keyword, tail)


def _command(children: list[Any]) -> _Tail:
    """Hang a flag on the tail behind it, or start a tail."""
    if len(children) == 2 and isinstance(children[1], _Tail):
        children[1].flags.append(children[0])
        return children[1]
    return _Tail(children)


_TAILS = ("command", "paths", "words", "pairs", "arguments", "text", "check", "trigger")
_REDUCTIONS: Mapping[str, Callable[[list[Any]], Any]] = {
    "nothing": lambda children: _Head(None, _Tail(children)),
    "instruction": _instruction,
    "json": lambda children: _Strings(children[1:]),
    **dict.fromkeys(_TAILS, _command),
}
"""What is made at each rule; of all others only the children are kept."""


def read_lines(lines: Sequence[Line], escape: str) -> list[Reading]:
    """Return what the grammar makes of each logical line."""
    text = "\n".join([line.text for line in lines] + [""])
    heads: Any = parser(escape).parse(text, start="dockerfile")
    readings = []
    start = 0
    for line, head in zip(lines, heads, strict=True):
        readings.append(_reading(head, start))
        start += len(line.text) + 1
    return readings


def _reading(head: _Head, start: int) -> Reading:
    """Turn tokens into pieces whose offsets count from the start of their own line."""
    items = head.tail.items
    trigger = None
    json = False
    if items and isinstance(items[-1], _Strings):
        json = True
        items = [*items[:-1], *items[-1]]
    elif items and isinstance(items[0], _Head):
        trigger = _reading(items[0], start)
        items = []
    return Reading(
        keyword=_piece(head.keyword, start),
        flags=[_piece(each, start) for each in reversed(head.tail.flags)],
        tail=[_piece(each, start) for each in items],
        json=json,
        trigger=trigger,
    )


def _piece(token: Token | None, start: int) -> Piece:
    if token is None:
        return Piece("UNKNOWN", "", 0, 0)
    return Piece(token.type, str(token), token.start_pos - start, token.end_pos - start)


def openings(line: str, escape: str) -> list[Opening]:
    """Return the heredocs that a logical line opens, in order.

    Only RUN, COPY and ADD may have them, also under ONBUILD, and not in JSON form.
    """
    heads: Any = parser(escape).parse(line + "\n", start="dockerfile")
    head = heads[0]
    # A line with `<<` in it has a keyword.
    while head.keyword.type == "ONBUILD" and head.tail.items:
        head = head.tail.items[0]
    if head.keyword.type not in HEREDOC_KEYWORDS:
        return []
    if head.tail.items and isinstance(head.tail.items[-1], _Strings):
        return []
    return _heredocs(line)


def is_heredoc(word: str) -> bool:
    """Tell whether a whole word opens a heredoc."""
    found = _heredocs(word)
    return len(found) == 1 and (found[0].start, found[0].end) == (0, len(word))


def _heredocs(text: str) -> list[Opening]:
    try:
        tokens: Any = parser("\\").parse(text, start="shell_words")
    except Unexpected:
        return []  # a quote is not closed; BuildKit then sees no heredoc either
    return [opening for each in tokens if (opening := _opening(each)) is not None]


def _opening(token: Token) -> Opening | None:
    digits, _, rest = str(token).partition("<<")
    chomp = rest.startswith("-")
    delimiter = rest[1:] if chomp else rest.lstrip(" \t")
    name, quoted = _unquoted(delimiter)
    if not name:
        return None
    return Opening(
        name=name,
        expand=not quoted,
        chomp=chomp,
        fd=int(digits[-9:] or "0"),
        start=token.start_pos,
        end=token.end_pos,
    )


def _unquoted(word: str) -> tuple[str, bool]:
    """Take quotes off as a shell does, with `\\` as escape; tell whether there were any."""
    if not re.search(r"['\"\\]", word):
        return word, False
    kept = []
    quote = ""
    quoted = False
    characters = iter(word)
    for each in characters:
        if each == quote:
            quote = ""
        elif each in "'\"" and not quote:
            quote, quoted = each, True
        elif each == "\\" and quote != "'":
            following = next(characters, "")
            if quote and following not in '"$\\':
                kept.append(each)
            kept.append(following)
        else:
            kept.append(each)
    return "".join(kept), quoted
