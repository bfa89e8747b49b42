"""What lint says, as data. Kept light: an answer from the cache imports nothing else of lint."""

from __future__ import annotations

from posixpath import join, normpath

from buildkit_py.core.data import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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


@dataclass(frozen=True, slots=True)
class Folders:
    """What names of files are relative to, and what those in reports for machines shall be.

    here: the working directory; root: that of the repository; absolute, normal paths
    """

    here: str = "/"
    root: str = "/"

    def inside(self, name: str) -> str | None:
        """Return a file's path from the root; None when it is outside. `-` stays what it is."""
        if name == "-":
            return name
        path = normpath(join(self.here, name))
        root = self.root.rstrip("/") + "/"
        return path[len(root) :] if path.startswith(root) else None

    def path(self, name: str) -> str:
        """Return a file's path from the root; that of a file outside is absolute."""
        inside = self.inside(name)
        return normpath(join(self.here, name)) if inside is None else inside


HERE = Folders()
"""Names stay relative to the working directory."""


def fingerprints(reports: Sequence[Report], folders: Folders) -> list[str]:
    """Return a name for each report that stays while lines above it come and go."""
    from buildkit_py.core.digest import sha256

    seen: dict[tuple[str, ...], int] = {}
    names = []
    for report in reports:
        line = report.span.source.line(report.span.line).strip()
        key = (folders.path(report.span.source.name), report.code, report.message, line)
        seen[key] = seen.get(key, 0) + 1
        text = "\0".join((*key, str(seen[key])))
        names.append(sha256(text.encode("utf-8", "surrogateescape")).partition(":")[2])
    return names


def count_from(checked: list[Checked], level: str) -> int:
    """Return how many reports are at least as grave as `level`."""
    least = LEVELS.index(level)
    return sum(LEVELS.index(each.level) >= least for file in checked for each in file.reports)
