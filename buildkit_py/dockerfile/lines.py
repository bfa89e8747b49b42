"""Physical lines to logical lines: what has to be known before any grammar can help.

Directives choose the escape token; the escape token decides where a line is continued; comments
and empty lines inside a continued line vanish; heredoc bodies belong to the line above them.

A logical line keeps the places its pieces came from, so that an offset into the joined text
becomes an offset into the file. Cost: linear in the text, whatever it holds.

Counterpart: moby/buildkit frontend/dockerfile/parser/{parser,directives}.go. Where that code
counts bytes, so do we (the length of a line); elsewhere offsets count characters.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator

from buildkit_py.core.data import dataclass, field, replace
from buildkit_py.core.source import Source, Span
from buildkit_py.dockerfile.ast import Heredoc, Word
from buildkit_py.dockerfile.errors import (
    MOST_LINE_BYTES,
    BadEscape,
    DockerfileError,
    DuplicateDirective,
    LineTooLong,
    UnterminatedHeredoc,
)

SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""What Go's unicode.IsSpace calls a space; Python's own set has four characters more."""

BOM = "\ufeff"

DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\f\r ]*=[\t\f\r ]*(.+?)[\t\f\r ]*$")
KNOWN_DIRECTIVES = ("syntax", "escape", "check")


@dataclass(frozen=True, slots=True)
class Opening:
    """`<<EOF` as it stands in a line: what the body below it looks like.

    start, end: offsets in the text of the line
    """

    name: str
    expand: bool
    chomp: bool
    fd: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Line:
    """One logical line, at least one character long unless it continues nothing.

    text: the joined text, trimmed on both sides
    starts: for each piece of it, where it starts in `text` (ascending; the first may be negative)
    places: for each piece of it, where it starts in the source
    begin: offset of the first character of the first physical line but blanks
    end: offset behind the last physical line that belongs to it, bodies included
    """

    source: Source
    text: str
    starts: tuple[int, ...]
    places: tuple[int, ...]
    begin: int
    end: int
    comments: tuple[str, ...]
    heredocs: tuple[Heredoc, ...] = ()

    def span(self, start: int, end: int) -> Span:
        """Return the stretch of the source from character `start` to before `end` of the text."""
        starts = self.starts
        if len(starts) == 1:
            shift = self.places[0] - starts[0]
            return Span(self.source, shift + start, shift + end)
        first = self._place(start)
        # The end lies behind the last character, not before the next piece's first one.
        return Span(self.source, first, self._place(end - 1) + 1 if end > start else first)

    def _place(self, offset: int) -> int:
        piece = bisect_right(self.starts, offset) - 1
        return self.places[piece] + offset - self.starts[piece]

    def word(self, start: int, end: int) -> Word:
        return Word(self.text[start:end], self.span(start, end))


@dataclass(slots=True)
class Reader:
    """Reads the logical lines of a source; directives first.

    openings: tells which heredocs a line opens; asked only for lines that hold `<<`
    errors: complaints so far; a directive's, a heredoc's or a line's that is too long
    """

    source: Source
    openings: Callable[[str, str], list[Opening]]
    escape: str = "\\"
    directives: dict[str, Word] = field(default_factory=dict)
    errors: list[DockerfileError] = field(default_factory=list)
    at: int = 0

    def lines(self) -> Iterator[Line]:
        """Yield the logical lines; `escape` and `directives` are complete before the first."""
        text = self.source.text
        if text.startswith(BOM):
            self.at = len(BOM)
        self._read_directives()
        comments: list[str] = []
        size = len(text)
        while self.at < size:
            start, end = self._physical()
            if start < 0:
                return
            raw = text[start:end]
            body = raw.rstrip("\r").lstrip(SPACES)
            if not body:
                continue
            if body[0] == "#":
                comment = body[1:].strip(SPACES)
                # An empty comment ends a block (BuildKit, parser.go).
                if comment:
                    comments.append(comment)
                else:
                    comments = []
                continue
            line = self._logical(start + raw.index(body[0]), body, end, tuple(comments))
            if line is None:
                return
            comments = []
            yield line

    def _physical(self) -> tuple[int, int]:
        """Return start and end (without `\\n`) of the next line, or -1 when it is too long."""
        text = self.source.text
        start = self.at
        end = text.find("\n", start)
        if end < 0:
            end = len(text)
        self.at = end + 1
        if self._too_long(start, end):
            return -1, -1
        return start, end

    def _too_long(self, start: int, end: int) -> bool:
        size = end - start
        if size * 4 <= MOST_LINE_BYTES:
            return False
        line = self.source.text[start:end] if size <= MOST_LINE_BYTES else ""
        if line and len(line.encode("utf-8", "surrogatepass")) <= MOST_LINE_BYTES:
            return False
        self.errors.append(LineTooLong(self.source.span(start, start + 1)))
        return True

    def _logical(self, start: int, body: str, end: int, comments: tuple[str, ...]) -> Line | None:
        """Join the line at `start` with those that continue it; None stops at a long line."""
        text = self.source.text
        escape = self.escape
        begin = start
        kept = self._continued(body, escape)
        if kept is None:
            joined = body
            starts: tuple[int, ...] = (0,)
            places: tuple[int, ...] = (start,)
        else:
            pieces, offsets, sources = [kept], [0], [start]
            length = len(kept)
            while self.at < len(text):
                start, end = self._physical()
                if start < 0:
                    return None
                body = text[start:end].rstrip("\r")
                trimmed = body.lstrip(SPACES)
                if not trimmed or trimmed[0] == "#":
                    continue
                kept = self._continued(body, escape)
                pieces.append(body if kept is None else kept)
                if pieces[-1]:
                    offsets.append(length)
                    sources.append(start)
                    length += len(pieces[-1])
                if kept is None:
                    break
            joined = "".join(pieces)
            lead = len(joined) - len(joined.lstrip(SPACES))
            starts, places = tuple(each - lead for each in offsets), tuple(sources)
        line = Line(
            source=self.source,
            text=joined.strip(SPACES),
            starts=starts,
            places=places,
            begin=begin,
            end=self._behind(start, end),
            comments=comments,
        )
        if "<<" in line.text:
            return self._with_heredocs(line)
        return line

    @staticmethod
    def _continued(body: str, escape: str) -> str | None:
        """Return the line without its continuation, or None when it has none.

        Blanks may follow the escape token; a doubled token does not continue.
        """
        trimmed = body.rstrip(" \t")
        if not trimmed.endswith(escape) or trimmed.endswith(escape * 2):
            return None
        return trimmed[:-1]

    def _behind(self, start: int, end: int) -> int:
        # So that Span.end_line is right also where the last line is empty.
        return end + 1 if start == end < len(self.source.text) else end

    def _with_heredocs(self, line: Line) -> Line | None:
        openings = self.openings(line.text, self.escape)
        heredocs = []
        end = line.end
        for opening in openings:
            found = self._body(opening)
            if found is None:
                self.errors.append(
                    UnterminatedHeredoc(
                        line.span(opening.start, opening.end),
                        name=opening.name,
                        chomp=opening.chomp,
                        near=self._nearly(opening.name),
                    )
                )
                return None
            heredoc, end = found
            heredocs.append(heredoc)
        if not heredocs:
            return line
        return replace(line, end=end, heredocs=tuple(heredocs))

    def _body(self, opening: Opening) -> tuple[Heredoc, int] | None:
        """Take the body below; return it and the end of its last line, or None without an end."""
        text = self.source.text
        start = self.at
        found = _terminator(text, start, opening)
        if found is None:
            return None
        stop, end = found
        body = text[start:stop]
        if len(body) * 4 > MOST_LINE_BYTES and any(
            self._too_long(*each) for each in _extents(text, start, stop)
        ):
            return None
        self.at = end + 1
        heredoc = Heredoc(
            name=opening.name,
            content=re.sub(r"(?m)^\t+", "", body) if opening.chomp else body,
            expand=opening.expand,
            chomp=opening.chomp,
            fd=opening.fd,
            span=self.source.span(start, stop),
        )
        return heredoc, end

    def _nearly(self, name: str) -> int | None:
        """Return the number of the first line below that is `name` but for blanks around it."""
        found = re.compile(rf"^[ \t]*+{re.escape(name)}[ \t\r]*+$", re.MULTILINE).search(
            self.source.text, min(self.at, len(self.source.text))
        )
        return self.source.line_number(found.end()) if found else None

    def _read_directives(self) -> None:
        text = self.source.text
        while self.at < len(text):
            end = text.find("\n", self.at)
            end = len(text) if end < 0 else end
            start, line = self.at, text[self.at : min(end, self.at + MOST_LINE_BYTES)]
            hash_at = len(line) - len(line.lstrip(SPACES))
            if line[hash_at : hash_at + 1] != "#":
                return
            name_at = len(line) - len(line[hash_at + 1 :].lstrip(SPACES))
            found = DIRECTIVE.match(line.rstrip("\r"), name_at)
            if found is None or found[1].lower() not in KNOWN_DIRECTIVES:
                return
            self.at = end + 1
            self._directive(found[1].lower(), found, start)

    def _directive(self, name: str, found: re.Match[str], start: int) -> None:
        value = self.source.span(start + found.start(2), start + found.end(2))
        if name in self.directives:
            key = self.source.span(start + found.start(1), start + found.end(1))
            self.errors.append(DuplicateDirective(key))
            return
        self.directives[name] = Word(found[2], value)
        if name == "escape":
            if found[2] in ("\\", "`"):
                self.escape = found[2]
            else:
                self.errors.append(BadEscape(value))


def _terminator(text: str, start: int, opening: Opening) -> tuple[int, int] | None:
    """Return start and end of the first line from `start` on that ends a heredoc, or None.

    Not a regular expression: a line may open thousands of heredocs, and each would be compiled.
    """
    name = opening.name
    while (at := text.find(name, start)) >= 0:
        first, last = at, at + len(name)
        while opening.chomp and first > start and text[first - 1] == "\t":
            first -= 1
        while text.startswith("\r", last):
            last += 1
        if (first == 0 or text[first - 1] == "\n") and text[last : last + 1] in ("", "\n"):
            return first, last
        # The name was not at the start of its line, or not alone on it.
        start = text.find("\n", at) + 1
        if start == 0:
            return None
    return None


def _extents(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each line between two line starts."""
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield start, stop
        start = stop + 1
