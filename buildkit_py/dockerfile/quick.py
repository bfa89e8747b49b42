"""What the grammar says of a plain logical line, without Lark.

Importing Lark and making its tables takes longer than reading a whole Dockerfile. The lines that
nearly all files consist of need no parser: a keyword, flags, then words, pairs, JSON or the rest of
the line. `read` knows these. It gives up (None) where the grammar's finer points begin: characters
that do not print, unknown instructions, nested ONBUILD. Then Lark decides.

The terminals are those of `grammars/dockerfile.lark`, taken from the file itself. That both agree
on every line is tested (tests/dockerfile/test_quick.py).
"""

from __future__ import annotations

import re
from functools import cache

from buildkit_py.dockerfile.reading import Piece, Reading

ESCAPED_TERMINALS = ("FLAG", "PAIR", "LEGACY_KEY")
"""Terminals of the grammar in which a backslash stands for the escape token."""

_TAILS = {
    "ADD": "paths",
    "ARG": "arguments",
    "CMD": "command",
    "COPY": "paths",
    "ENTRYPOINT": "command",
    "ENV": "pairs",
    "EXPOSE": "words",
    "FROM": "words",
    "HEALTHCHECK": "check",
    "LABEL": "pairs",
    "MAINTAINER": "text",
    "ONBUILD": "trigger",
    "RUN": "command",
    "SHELL": "command",
    "STOPSIGNAL": "text",
    "USER": "text",
    "VOLUME": "paths",
    "WORKDIR": "text",
}
"""The rule of the grammar for what follows each keyword."""

_BLANKS = re.compile(r"[\t ]*+")
_WORD = re.compile(r"[^\t ]+")
_TERMINAL = re.compile(r"^(\w+)(?:\.\d+)?: /(.+)/([a-z]*)$", re.MULTILINE)


@cache
def _terminals() -> dict[str, str]:
    """Return the regular expressions of the grammar, by name."""
    from buildkit_py.dockerfile.grammar import grammar_path

    with open(grammar_path(), encoding="utf-8") as file:
        found = _TERMINAL.findall(file.read())
    return {name: f"(?{flags}:{pattern})" if flags else pattern for name, pattern, flags in found}


@cache
def _terminal(name: str, escape: str) -> re.Pattern[str]:
    pattern = _terminals()[name]
    if escape != "\\" and name in ESCAPED_TERMINALS:
        pattern = pattern.replace("\\\\", escape)
    return re.compile(pattern)


def read(line: str, escape: str) -> Reading | None:
    """Return the reading of a logical line, or None when the grammar has to be asked."""
    if not line.isprintable() and not line.replace("\t", " ").isprintable():
        return None
    return _read(line, 0, escape, nested=False)


def _read(line: str, start: int, escape: str, *, nested: bool) -> Reading | None:
    found = _WORD.match(line, start)
    if found is None:
        return None
    kind = found[0].upper()
    rule = _TAILS.get(kind)
    # `ſ` becomes an S in upper case.
    if rule is None or not found[0].isascii() or (nested and rule == "trigger"):
        return None
    keyword = Piece(kind, found[0], start, found.end())
    at = _skip(line, found.end())
    flags = []
    while line.startswith("--", at):
        if len(line) == at + 2 or line[at + 2] in "\t \"'":
            return None  # where flags end, perhaps
        flag = _terminal("FLAG", escape).match(line, at)
        if flag is None:
            return None
        flags.append(Piece("FLAG", flag[0], at, flag.end()))
        at = _skip(line, flag.end())
    if rule == "trigger":
        trigger = None
        if at < len(line):
            trigger = _read(line, at, escape, nested=True)
            if trigger is None:
                return None
        return Reading(keyword, flags, [], False, trigger)
    tail: list[Piece] = []
    if rule == "check" and (word := _WORD.match(line, at)):
        tail.append(Piece("KIND", word[0], at, word.end()))
        at = _skip(line, word.end())
        rule = "command"
    is_json = False
    if at < len(line):
        if rule in ("command", "paths") and line[at] == "[":
            strings = _strings(line, at)
            if strings is not None:
                return Reading(keyword, flags, tail + strings, True, None)
        if rule in ("command", "text"):
            tail.append(Piece("REST", line[at:], at, len(line)))
        elif rule in ("pairs", "arguments"):
            tail += _pairs(line, at, escape, legacy=rule == "pairs")
        else:
            for word in _WORD.finditer(line, at):
                tail.append(Piece("WORD", word[0], word.start(), word.end()))
    return Reading(keyword, flags, tail, is_json, None)


def _skip(line: str, at: int) -> int:
    found = _BLANKS.match(line, at)
    return found.end() if found else at


def _strings(line: str, at: int) -> list[Piece] | None:
    """Return the strings of a JSON array that is the rest of the line, or None."""
    if not _terminal("JSON_OPEN", "\\").match(line, at):
        return None
    return [
        Piece("JSON_STRING", found[0], found.start(), found.end())
        for found in _terminal("JSON_STRING", "\\").finditer(line, at)
    ]


def _pairs(line: str, at: int, escape: str, *, legacy: bool) -> list[Piece]:
    if legacy and (key := _terminal("LEGACY_KEY", escape).match(line, at)):
        rest = _skip(line, key.end())
        return [
            Piece("LEGACY_KEY", key[0], at, key.end()),
            Piece("LEGACY_VALUE", line[rest:], rest, len(line)),
        ]
    pair = _terminal("PAIR", escape)
    found = []
    while at < len(line):
        match = pair.match(line, at)
        if match is None:
            break
        found.append(Piece("PAIR", match[0], at, match.end()))
        at = _skip(line, match.end())
    return found


def heredoc_words(text: str) -> list[Piece] | None:
    """Return the words of a line that open heredocs; None when the grammar has to be asked.

    As the grammar's `shell_words` has it: a line with a quote that is not closed has none.
    """
    if not text.isprintable() and not text.replace("\t", " ").isprintable():
        return None
    heredoc, other = _terminal("HEREDOC", "\\"), _terminal("_SHELL_WORD", "\\")
    found: list[Piece] = []
    at = _skip(text, 0)
    while at < len(text):
        match = heredoc.match(text, at)
        if match:
            found.append(Piece("HEREDOC", match[0], at, match.end()))
        else:
            match = other.match(text, at)
            if match is None:
                return []
        at = _skip(text, match.end())
    return found
