"""Quotes, escapes and variables in the words of a Dockerfile, as BuildKit's shell lexer has them.

Not a shell: a fixed set of forms, expanded in one pass from left to right.

    $name  ${name}                      the value, or nothing when unset
    ${name:-word}  ${name-word}         word when unset (`:` also when empty)
    ${name:+word}  ${name+word}         word when set
    ${name:?text}  ${name?text}         an error when unset
    ${name#p}  ##  %  %%                cut the shortest or longest prefix or suffix
    ${name/p/text}  ${name//p/text}     replace the first match, or all
    'literal'   "with $variables"   \\x  outside of quotes: x

Patterns know `*` and `?` only, and the escapes `\\*`, `\\?`, `\\\\`, `\\/` and `\\}`. Here `*` also
crosses line ends, as in sh(1) and unlike BuildKit. Everything takes time linear in the text.
Counterpart: moby/buildkit frontend/dockerfile/shell/lex.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Span
from buildkit_py.dockerfile.wildcards import BadWildcard, replace, trim_prefix, trim_suffix

Lookup = Callable[[str], str | None] | Mapping[str, str]

DEEPEST = 100
"""How many `${…${…}…}` may stand inside one another."""

MOST_CHARACTERS = 4 << 20
"""How much the values put into one text may hold together: `ENV A=$A$A` doubles, line by line."""

SPECIAL_NAMES = "@*#?-$!0"


class BadWord(InputError):
    """A word cannot be expanded. `start` and `end` are offsets in the text of the word."""

    code = "dockerfile/bad-word"

    def __init__(
        self, message: str, start: int, end: int, *, label: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, label=label, hint=hint)
        self.start = start
        self.end = end


@dataclass(frozen=True, slots=True)
class Unset:
    """A name without a value, and where it stands if that is known."""

    name: str
    at: Span | None


@dataclass(frozen=True, slots=True)
class Expansion:
    """What became of a text.

    words: the same, split at blanks that are neither quoted nor escaped; empty words are dropped
    used: the names that had a value, in order of appearance
    unset: the names that had none, and did not say what to do then, each with its first place
    """

    text: str
    words: tuple[str, ...]
    used: tuple[str, ...] = ()
    unset: tuple[Unset, ...] = ()


def expand(
    text: str,
    lookup: Lookup,
    *,
    escape: str = "\\",
    quotes: bool = True,
    at: Span | None = None,
) -> str:
    """Return `text` with variables expanded, and quotes and escapes processed; see `expansion`."""
    return expansion(text, lookup, escape=escape, quotes=quotes, at=at).text


def expand_words(
    text: str, lookup: Lookup, *, escape: str = "\\", at: Span | None = None
) -> tuple[str, ...]:
    """Return the words of `text` after expansion: values with blanks in them are split, too."""
    return expansion(text, lookup, escape=escape, at=at).words


def expansion(
    text: str,
    lookup: Lookup,
    *,
    escape: str = "\\",
    quotes: bool = True,
    at: Span | None = None,
) -> Expansion:
    """Expand `text` and tell which names were met.

    lookup: gives the value of a name, or None when it is unset
    escape: the escape character of the Dockerfile
    quotes: False for the body of a heredoc, in which quotes mean nothing
    at: where `text` stands, so that errors can point into it

    Raises BadWord.
    """
    get = lookup.get if isinstance(lookup, Mapping) else lookup
    if not _specials("", escape, quotes).search(text):
        return Expansion(text, tuple(text.split()))
    lexer = _Lexer(text, get, escape, quotes)
    try:
        pieces = lexer.until("", raw=False, depth=0)
    except BadWord as error:
        error.at = _place(text, error.start, error.end, at)
        raise
    return Expansion(
        "".join(piece for piece, _ in pieces),
        _split(pieces),
        tuple(lexer.used),
        tuple(
            Unset(name, _place(text, start, end, at)) for name, (start, end) in lexer.unset.items()
        ),
    )


def _place(text: str, start: int, end: int, at: Span | None) -> Span | None:
    """Return the place of a part: exact, or the whole word where it runs over a continuation."""
    if at is None or at.text != text:
        return at
    return at.source.span(at.start + start, at.start + max(end, start + 1))


@lru_cache(maxsize=64)
def _specials(stop: str, escape: str, quotes: bool) -> re.Pattern[str]:
    marks = "$'\"" if quotes else "$"
    return re.compile(f"[{re.escape(marks + escape + stop)}]")


Piece = tuple[str, bool]
"""A text, and whether blanks in it separate words."""


def _split(pieces: list[Piece]) -> tuple[str, ...]:
    words: list[str] = []
    word: list[str] = []
    for text, splits in pieces:
        if not splits:
            word.append(text)
            continue
        first, *others = _BLANKS.split(text)
        word.append(first)
        for other in others:
            words.append("".join(word))
            word = [other]
    words.append("".join(word))
    return tuple(word for word in words if word)


_BLANKS = re.compile(r"\s")


class _Lexer:
    """A cursor in one text."""

    def __init__(
        self, text: str, get: Callable[[str], str | None], escape: str, quotes: bool
    ) -> None:
        self.text = text
        self.get = get
        self.escape = escape
        self.quotes = quotes
        self.at = 0
        self.used: dict[str, None] = {}
        self.unset: dict[str, tuple[int, int]] = {}
        self.put_in = 0

    def until(self, stop: str, *, raw: bool, depth: int, opened: int = 0) -> list[Piece]:
        """Read up to and over the character `stop`, or to the end when it is empty.

        raw: keep escape characters, for patterns
        opened: where the `${` that misses its `stop` begins, for the error
        """
        text, pieces = self.text, list[Piece]()
        specials = _specials(stop, self.escape, self.quotes)
        while self.at < len(text):
            found = specials.search(text, self.at)
            end = found.start() if found else len(text)
            if end > self.at:
                pieces.append((text[self.at : end], True))
                self.at = end
            if not found:
                break
            character = text[end]
            if stop and character == stop:
                self.at += 1
                return pieces
            if character == "$":
                pieces.append((self.dollar(depth), True))
            elif character == self.escape:
                if raw:
                    pieces.append((character, False))
                pieces.append((text[end + 1 : end + 2], False))
                self.at = end + 2
            elif character == "'":
                pieces.append((self.single_quoted(), False))
            else:
                pieces.append((self.double_quoted(raw, depth), False))
        if stop:
            raise BadWord(
                f"missing `{stop}` in `${{`",
                opened,
                len(text),
                label=f"no `{stop}` follows",
            )
        return pieces

    def single_quoted(self) -> str:
        start = self.at
        end = self.text.find("'", start + 1)
        if end < 0:
            raise BadWord(
                "a single quote is not closed",
                start,
                len(self.text),
                label="no `'` follows",
                hint="write a quote that is meant literally with the escape character in front",
            )
        self.at = end + 1
        return self.text[start + 1 : end]

    def double_quoted(self, raw: bool, depth: int) -> str:
        start, text = self.at, self.text
        self.at += 1
        specials = re.compile(f'[$"{re.escape(self.escape)}]')
        out: list[str] = []
        while found := specials.search(text, self.at):
            end = found.start()
            out.append(text[self.at : end])
            self.at = end
            character = text[end]
            if character == '"':
                self.at += 1
                return "".join(out)
            if character == "$":
                out.append(self.dollar(depth))
                continue
            # The escape character serves only these three; in front of others it stays.
            following = text[end + 1 : end + 2]
            taken = following if following and following in ('"', "$", self.escape) else ""
            if raw or not taken:
                out.append(character)
            out.append(taken)
            self.at = end + 1 + len(taken)
        raise BadWord("a double quote is not closed", start, len(text), label='no `"` follows')

    def name(self) -> str:
        """Read a name: letters, digits and `_`; one run of digits; or one special character."""
        text, start = self.text, self.at
        end = start
        if text[start : start + 1].isdecimal():
            while text[end : end + 1].isdecimal():
                end += 1
        elif (first := text[start : start + 1]) and first in SPECIAL_NAMES:
            end += 1
        else:
            while (c := text[end : end + 1]) and (c.isalpha() or c.isdecimal() or c == "_"):
                end += 1
        self.at = end
        return text[start:end]

    def value(self, name: str, start: int, *, may_be_unset: bool = False) -> str | None:
        """Look a name up; the substitution began at `start` and has been read."""
        value = self.get(name)
        if value is not None:
            self.used[name] = None
            self.put_in += len(value)
            if self.put_in > MOST_CHARACTERS:
                raise BadWord(
                    f"the values of variables make this longer than {MOST_CHARACTERS} characters",
                    0,
                    len(self.text),
                )
        elif not may_be_unset:
            self.unset.setdefault(name, (start, self.at))
        return value

    def dollar(self, depth: int) -> str:
        """Read what begins with `$` and return what it stands for."""
        text, start = self.text, self.at
        self.at += 1
        if text[self.at : self.at + 1] != "{":
            name = self.name()
            return (self.value(name, start) or "") if name else "$"
        self.at += 1
        if depth >= DEEPEST:
            raise BadWord(f"more than {DEEPEST} substitutions inside one another", start, self.at)
        following = text[self.at : self.at + 1]
        if not following:
            raise self.unclosed(start)
        if following in "{}:":
            raise BadWord(
                f"bad substitution `{text[start : self.at + 1]}`",
                start,
                self.at + 1,
                label="a name must follow `${`",
            )
        name = self.name()
        operator = text[self.at : self.at + 1]
        self.at += 1
        if operator == "}":
            return self.value(name, start) or ""
        if not operator:
            raise self.unclosed(start)
        if operator == "/":
            return self.replaced(name, start, depth)
        if operator in "#%":
            return self.trimmed(name, operator, start, depth)
        empty_too = operator == ":"
        if empty_too:
            operator = text[self.at : self.at + 1]
            self.at += 1
        if not operator:
            raise self.unclosed(start)
        if operator not in "-+?":
            raise BadWord(
                f"unsupported modifier `{':' if empty_too else ''}{operator}`",
                self.at - 1 - empty_too,
                self.at,
                label="not supported in a Dockerfile",
                hint="use one of `:-`, `:+`, `:?`, `#`, `%` and `/`, or expand it in a RUN",
            )
        word = self.joined("}", raw=False, start=start, depth=depth)
        value = self.value(name, start, may_be_unset=True)
        missing = value is None or (empty_too and value == "")
        if operator == "-":
            return word if missing else value or ""
        if operator == "+":
            return "" if missing else word
        if missing:
            state = "unset" if value is None else "empty"
            text_of_error = word or f"is not allowed to be {state}"
            raise BadWord(f"{name}: {text_of_error}", start, self.at, label=f"this is {state}")
        return value or ""

    def joined(self, stop: str, *, raw: bool, start: int, depth: int) -> str:
        pieces = self.until(stop, raw=raw, depth=depth + 1, opened=start)
        return "".join(piece for piece, _ in pieces)

    def trimmed(self, name: str, operator: str, start: int, depth: int) -> str:
        pattern = self.joined("}", raw=True, start=start, depth=depth)
        longest = pattern.startswith(operator)
        pattern = pattern[longest:]
        value = self.value(name, start) or ""
        trim = trim_prefix if operator == "#" else trim_suffix
        try:
            return trim(pattern, value, longest=longest)
        except BadWildcard as error:
            raise _bad_pattern(error, start, self.at) from None

    def replaced(self, name: str, start: int, depth: int) -> str:
        everywhere = self.text[self.at : self.at + 1] == "/"
        self.at += everywhere
        pattern = self.joined("/", raw=True, start=start, depth=depth)
        replacement = self.joined("}", raw=True, start=start, depth=depth)
        value = self.value(name, start) or ""
        try:
            return replace(pattern, replacement, value, everywhere=everywhere)
        except BadWildcard as error:
            raise _bad_pattern(error, start, self.at) from None

    def unclosed(self, start: int) -> BadWord:
        return BadWord("missing `}` in `${`", start, len(self.text), label="no `}` follows")


def _bad_pattern(error: BadWildcard, start: int, end: int) -> BadWord:
    """Return what to say of a bad pattern, over the whole substitution."""
    return BadWord(
        str(error),
        start,
        end,
        label="in this pattern",
        hint="only `*`, `?`, `\\`, `/` and `}` can be escaped in a pattern",
    )
