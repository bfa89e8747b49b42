"""Text that remembers where it came from.

A `Source` is one file as it was read; a `Span` is a stretch of it. Every token,
AST node, YAML scalar and diagnostic carries a `Span`, so a message raised late
(while a step runs, say) still points at the characters the user wrote.

Offsets count characters from 0 and are what code computes with. Lines and
columns count from 1 and are only for people. Nothing here reads files.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property

from buildkit_py.core.data import dataclass, field


@dataclass(frozen=True, eq=False)
class Source:
    """One text and the name people know it by, such as the path as it was given."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def starts(self) -> list[int]:
        """The offset at which each line starts."""
        starts = [0]
        find = self.text.find
        at = find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = find("\n", at + 1)
        return starts

    def line_number(self, offset: int) -> int:
        """Return the number, from 1, of the line that holds `offset`."""
        return bisect_right(self.starts, offset)

    def line(self, number: int) -> str:
        """Return line `number` (from 1) without its line end."""
        start = self.starts[number - 1]
        end = self.starts[number] - 1 if number < len(self.starts) else len(self.text)
        return self.text[start:end].removesuffix("\r")

    def span(self, start: int, end: int) -> Span:
        return Span(self, start, end)


@dataclass(frozen=True, slots=True)
class Span:
    """The characters from `start` up to, not including, `end` of a source."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        return self.source.line_number(self.start)

    @property
    def end_line(self) -> int:
        """The line of the last character."""
        return self.source.line_number(max(self.start, self.end - 1))

    @property
    def column(self) -> int:
        return self.start - self.source.starts[self.line - 1] + 1

    @property
    def place(self) -> str:
        """`name:line:column`, as compilers write it."""
        return f"{self.source.name}:{self.line}:{self.column}"
