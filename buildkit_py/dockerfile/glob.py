"""Wildcards of paths: Go's filepath.Match for COPY, and with `**` for ignore files.

    *       any characters but `/`          [a-z]  [^a-z]   one character, or any other one
    ?       any one character but `/`       \\x              x itself
    **/     any directories, or none        ** at the end   everything

Unlike in Go, a class never matches `/`. Both forms become a regular expression whose stars never
take back more than they must. Counterparts: Go path/filepath, moby/patternmatcher.
"""

from __future__ import annotations

import re
from functools import lru_cache

from buildkit_py.core.data import dataclass


class BadPattern(ValueError):
    """The text is no pattern; the message says why. `at` is the offset of the fault."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a pattern.

    kind: `text` (in `text`), `any` (`?`), `class`, `star` or `stars` (`**`, with the `/` behind it)
    regex: what matches it
    plain: a text that needed no backslash
    """

    kind: str
    regex: str
    text: str = ""
    plain: bool = True


_ANY = "[^/]"
_STAR = f"{_ANY}*"


def match(pattern: str, name: str) -> bool:
    """Tell whether `name` matches, as Go's filepath.Match does: `**` is two stars.

    Raises BadPattern.
    """
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(tokenize(pattern, deep=False)), re.DOTALL)


def tokenize(pattern: str, *, deep: bool) -> list[Token]:
    """Split a pattern; raise BadPattern.

    deep: `**` is a token of its own
    """
    tokens: list[Token] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "*":
            if deep and pattern.startswith("**", at):
                at += 3 if pattern.startswith("**/", at) else 2
                tokens.append(Token("stars", "", pattern[at - 1]))
                continue
            if not tokens or tokens[-1].kind != "star":
                tokens.append(Token("star", _STAR))
            at += 1
        elif character == "?":
            tokens.append(Token("any", _ANY))
            at += 1
        elif character == "[":
            regex, at = _class(pattern, at)
            tokens.append(Token("class", regex))
        else:
            plain = character != "\\"
            at += not plain
            if at >= len(pattern):
                raise BadPattern("a backslash at the end escapes nothing", at - 1)
            tokens.append(Token("text", re.escape(pattern[at]), pattern[at], plain))
            at += 1
    return tokens


def _class(pattern: str, start: int) -> tuple[str, int]:
    """Read `[…]` from `start` on; return its regular expression and where it ends."""

    def character(at: int) -> tuple[str, int]:
        escaped = pattern.startswith("\\", at)
        found = pattern[at + escaped : at + escaped + 1]
        if not found:
            raise BadPattern("`[` is not closed", start)
        if not escaped and found in "-]":
            raise BadPattern(f"`{found}` stands where a character of `[…]` should", at)
        return found, at + escaped + 1

    at = start + 1
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[str] = []
    first = True
    while first or not pattern.startswith("]", at):
        first = False
        low, at = character(at)
        high = low
        if pattern.startswith("-", at):
            high, at = character(at + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    listed = "".join(ranges)
    if negated:
        return f"[^/{listed}]", at + 1
    return f"(?!/)[{listed}]" if listed else "(?!)", at + 1


def translate(tokens: list[Token]) -> str:
    """Return a regular expression for the whole of a path."""
    runs: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind == "stars":
            runs.append([])
        else:
            runs[-1].append(token)
    first, *others = runs
    out = [_run(first)]
    if not first and len(others) == 1 and _is_suffix(tokens):
        # Docker's quirk: `**.md` with nothing but text behind it ends a path anywhere.
        return f".*{_run(others[0])}"
    for number, run in enumerate(others, 1):
        last = number == len(others)
        if last and not run:
            out.append(".*")
        elif last or (run and run[-1].text != "/"):
            out.append(f"(?:.*/)?{_run(run)}")
        elif run:
            # What follows may begin anywhere further right, so the leftmost place is the best.
            out.append(f"(?>(?:.*?/)??{_run(run)})")
    return "".join(out)


def _is_suffix(tokens: list[Token]) -> bool:
    stars, *rest = tokens
    return stars.text != "/" and all(token.kind == "text" and token.plain for token in rest)


def _run(tokens: list[Token]) -> str:
    """Translate tokens without `**`. Of each star but the last, the shortest match is the best."""
    stars = [number for number, token in enumerate(tokens) if token.kind == "star"]
    if not stars:
        return "".join(token.regex for token in tokens)
    out = ["".join(token.regex for token in tokens[: stars[0]])]
    for star, following in zip(stars, [*stars[1:], None], strict=True):
        fixed = "".join(token.regex for token in tokens[star + 1 : following])
        out.append(f"{_STAR}{fixed}" if following is None else f"(?>{_STAR}?{fixed})")
    return "".join(out)
