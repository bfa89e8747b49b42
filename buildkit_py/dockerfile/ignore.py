"""Ignore files: which files of a context do not belong to it.

One pattern a line, relative to the context's root; `#` in the first column begins a comment; `!`
brings back what an earlier line took away. The last pattern that matches a path, or a directory
above it, decides; but a pattern that changes nothing when its turn comes, such as a `!` for a
directory that no line above has left out, says nothing about what is below that directory.
Paths here are relative, without `./` and without `/` at the ends.
Counterparts: moby/patternmatcher (MatchesUsingParentResults) and its ignorefile; BuildKit copied
the same files under 150 random ignore files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Source, Span
from buildkit_py.dockerfile import glob

_AT_ONCE = 32
"""Patterns tried in one go."""
_MOST_REMEMBERED = 1 << 16
"""Directories whose answer is kept."""

_NONE = -1

Matched = tuple[int, ...]
"""Numbers of patterns in their order; the last one decides."""

Chunk = tuple[re.Pattern[str], list[tuple[int, str]]]
"""Expressions with the numbers of their patterns, and one that matches where any of them does."""


class BadIgnorePattern(InputError):
    code = "dockerfile/bad-ignore-pattern"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line. text: cleaned, without `!`; keeps: it had a `!`; span: the pattern as written."""

    text: str
    keeps: bool
    span: Span


class Patterns:
    """All patterns of one ignore file, or of the `--exclude` flags of one COPY."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        """Raise BadIgnorePattern for the first text that is no pattern."""
        self.patterns = tuple(patterns)
        self._whole: dict[str, list[int]] = {}
        self._names: dict[str, list[int]] = {}
        self._known: dict[str, Matched] = {"": ()}
        others: list[tuple[int, str]] = []
        for number, pattern in enumerate(self.patterns):
            tokens = _tokens(pattern)
            text = "".join(token.text for token in tokens)
            if all(token.kind == "text" for token in tokens):
                self._whole.setdefault(text, []).append(number)
            elif _is_name_anywhere(tokens):
                self._names.setdefault(text[1:], []).append(number)
            else:
                others.append((number, glob.translate(tokens)))
        self._others = _chunks(others)

    @classmethod
    def parse(cls, source: Source) -> Patterns:
        """Read an ignore file; raise BadIgnorePattern at the first bad line."""
        patterns: list[Pattern] = []
        for start, line in _lines(source.text):
            if line.startswith("#") or not line.strip():
                continue
            text = line.strip()
            span = source.span(start + line.index(text), start + line.index(text) + len(text))
            patterns.append(_pattern(text, span))
        return cls(patterns)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Patterns:
        """Return patterns that stand in no file, such as those of `--exclude`."""
        texts = tuple(texts)
        source = Source("--exclude", "\n".join(texts))
        patterns: list[Pattern] = []
        at = 0
        for text in texts:
            if text.strip():
                patterns.append(_pattern(text.strip(), source.span(at, at + len(text))))
            at += len(text) + 1
        return cls(patterns)

    def ignores(self, path: str) -> bool:
        """Tell whether a file or directory is left out."""
        number = self._deciding(path)
        return number != _NONE and not self.patterns[number].keeps

    def why(self, path: str) -> Pattern | None:
        """Return the pattern that decides about a path, or None when none speaks of it."""
        number = self._deciding(path)
        return None if number == _NONE else self.patterns[number]

    def may_descend(self, directory: str) -> bool:
        """Tell whether anything below a directory may be kept: else it need not be walked."""
        number = self._deciding(directory)
        if number == _NONE or self.patterns[number].keeps:
            return True
        parts = directory.split("/")
        return any(
            pattern.keeps and _may_match_below(pattern.text, parts)
            for pattern in self.patterns[number + 1 :]
        )

    def _deciding(self, path: str) -> int:
        """Return the number of the pattern that decides about a path, or _NONE."""
        parent, _, name = path.rpartition("/")
        above = self._known.get(parent)
        if above is None:
            above = self._directory(parent)
        matched = self._matched(path, name, above) if path else ()
        return matched[-1] if matched else _NONE

    def _directory(self, directory: str) -> Matched:
        """Return what matches a directory, and remember it for what is below."""
        if len(self._known) > _MOST_REMEMBERED:
            self._known = {"": ()}
        above: Matched = ()
        path = ""
        for name in directory.split("/"):
            path = f"{path}/{name}" if path else name
            found = self._known.get(path)
            if found is None:
                found = self._known[path] = self._matched(path, name, above)
            above = found
        return above

    def _matched(self, path: str, name: str, above: Matched) -> Matched:
        """Return the patterns that match a path whose parent directory matches `above`.

        In order; those that change nothing when their turn comes are not among them.
        """
        own = [*self._whole.get(path, ()), *self._names.get(name, ())]
        for any_of, several in self._others:
            if any_of.fullmatch(path):
                own += [n for n, regex in several if re.fullmatch(regex, path, re.DOTALL)]
        if not own:
            return above
        matched: list[int] = []
        ignored = False
        for number in sorted({*above, *own}):
            keeps = self.patterns[number].keeps
            if number in above or keeps is ignored:
                matched.append(number)
                ignored = not keeps
        return tuple(matched)


def _lines(text: str) -> Iterable[tuple[int, str]]:
    at = 1 if text.startswith("\ufeff") else 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield at, text[at:end].removesuffix("\r")
        at = end + 1


def _pattern(text: str, span: Span) -> Pattern:
    keeps = text.startswith("!")
    if keeps:
        text = text[1:].strip()
        if not text:
            raise BadIgnorePattern(
                'illegal exclusion pattern: "!"',
                at=span,
                label="brings nothing back",
                hint="write what to keep behind the `!`",
            )
    text = _clean(text)
    return Pattern(text[1:] if len(text) > 1 and text[0] == "/" else text, keeps, span)


def _clean(path: str) -> str:
    """Return a path as Go's filepath.Clean does."""
    rooted = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part == ".." and rooted:
            continue
        elif part not in ("", "."):
            parts.append(part)
    return ("/" if rooted else "") + "/".join(parts) or "."


def _tokens(pattern: Pattern) -> list[glob.Token]:
    try:
        return glob.tokenize(pattern.text, deep=True)
    except glob.BadPattern as error:
        raise BadIgnorePattern(
            f"syntax error in pattern `{pattern.span.text}`: {error}",
            at=pattern.span,
            hint="a backslash takes the meaning of the next character: `\\[`",
        ) from None


def _is_name_anywhere(tokens: list[glob.Token]) -> bool:
    """Tell whether a pattern is `**/name`, the commonest one."""
    stars, *rest = tokens
    return (
        stars.kind == "stars"
        and stars.text == "/"
        and bool(rest)
        and all(token.kind == "text" and token.text != "/" for token in rest)
    )


def _chunks(numbered: list[tuple[int, str]]) -> list[Chunk]:
    """Compile one expression for several patterns; each alone is compiled on need."""
    chunks: list[Chunk] = []
    for start in range(0, len(numbered), _AT_ONCE):
        some = numbered[start : start + _AT_ONCE]
        any_of = re.compile("|".join(f"(?:{regex})" for _, regex in some), re.DOTALL)
        chunks.append((any_of, some))
    return chunks


def _may_match_below(pattern: str, directory: list[str]) -> bool:
    """Tell whether a pattern can match something below a directory that it does not match."""
    parts = _segments(pattern)
    for part, name in zip(parts, directory, strict=False):
        if "**" in part:
            return True
        if not glob.match(part, name):
            return False
    return len(parts) > len(directory)


def _segments(pattern: str) -> list[str]:
    """Split a pattern at its slashes; a slash inside `[…]` or behind a backslash is none."""
    parts: list[str] = [""]
    in_class = False
    characters = iter(pattern)
    for character in characters:
        if character == "/" and not in_class:
            parts.append("")
            continue
        if character in "[]":
            in_class = character == "["
        parts[-1] += character if character != "\\" else character + next(characters, "")
    return parts
