"""What lint says, as data. Kept light: an answer from the cache imports nothing else of lint."""

from __future__ import annotations

from buildkit_py.core.data import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.core.source import Source, Span

LEVELS = ("style", "info", "warning", "error")
"""hadolint's four, the gravest last."""


@dataclass(frozen=True, slots=True)
class Report:
    """A finding with the code and severity of its rule.

    alias: the code of the same complaint in the other tool, or of the error behind it
    level: one of LEVELS
    fixable: there is one way to put it right that does not change what is built
    """

    code: str
    alias: str | None
    level: str
    span: Span
    message: str
    fixable: bool = False

    @property
    def end(self) -> tuple[int, int]:
        """Line and column behind the last character."""
        span = self.span
        if span.end <= span.start:
            return span.line, span.column
        line = span.end_line
        return line, span.end - span.source.starts[line - 1] + 1


@dataclass(frozen=True, slots=True)
class Checked:
    """One file and what is to be said about it."""

    source: Source
    reports: tuple[Report, ...]


def count_from(checked: list[Checked], level: str) -> int:
    """Return how many reports are at least as grave as `level`."""
    least = LEVELS.index(level)
    return sum(LEVELS.index(each.level) >= least for file in checked for each in file.reports)
