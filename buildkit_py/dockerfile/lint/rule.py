"""What a rule is: a module of `rules/`, and what it reports.

A module `rules/dl3007.py` is the rule DL3007. Those in `rules/optional/` run only on demand, and in
the presets of the tool they come from. It has

    a docstring    its page: a heading, why it matters, `Bad:` and `Good:` examples (its tests)
    severity       how grave its findings are
    check(file)    yields findings about one file

and may have

    name           the code, where it is no hadolint code: `StageNameCasing`
    alias          hadolint's code for the same complaint
    alias_severity how grave hadolint finds it, where that differs
    alone          True: a finding depends on its instruction alone, so that it is right, too, where
                   instructions above could not be read
    experimental   True: not even in the presets of its tool (BuildKit's word), but by its name
    setting        a field of Settings: where that decides something, the rule runs by default
"""

from __future__ import annotations

from enum import IntEnum

from buildkit_py.core.tuples import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildkit_py.core.source import Span
    from buildkit_py.dockerfile.lint.facts import File

    Check = Callable[[File], Iterator["Finding"]]


class Severity(IntEnum):
    """hadolint's four, the gravest last."""

    STYLE = 1
    INFO = 2
    WARNING = 3
    ERROR = 4

    @property
    def word(self) -> str:
        return self.name.lower()


class Edit(NamedTuple):
    """Put `text` in the place of a span."""

    span: Span
    text: str


class Finding(NamedTuple):
    """What a rule has to say about a stretch of a file.

    message: lower case, names in back-ticks, no full stop
    edits: what would put it right without changing what the file builds, or nothing
    """

    span: Span
    message: str
    edits: tuple[Edit, ...] = ()


class Rule(NamedTuple):
    """A rule as the other modules of lint have it; `page` is its docstring."""

    code: str
    alias: str | None
    severity: Severity
    alias_severity: Severity
    default: bool
    experimental: bool
    setting: str | None
    alone: bool
    page: str
    check: Check

    @property
    def heading(self) -> str:
        return self.page.partition("\n")[0].rstrip(".")
