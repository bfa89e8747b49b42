"""What a rule is: a module of `rules/`, and what it reports.

A module `rules/dl3007.py` is the rule DL3007; the folder it is in says when it runs. It has

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

A rule in a folder for a word, a setting or BuildKit's own has none of the first two, and no
`experimental`.
"""

from __future__ import annotations

from enum import IntEnum
from importlib import import_module

from buildkit_py.core.tuples import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

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


class Rule:
    """A rule as the other modules of lint have it.

    name: of its module
    default: it runs by default
    word: what a file holds, in whatever case, that it has something to say about; or ""
    setting: a field of Settings: where that decides something, it runs by default, and else never

    is_known: its code is all that it has of code, alias and `experimental`

    A known rule is imported when it is first asked for more; one with a word or a setting is known.
    """

    __slots__ = ("_module", "alias", "code", "default", "experimental", "is_known", "name",
                 "setting", "word")  # fmt: skip

    def __init__(
        self,
        code: str,
        name: str,
        *,
        default: bool,
        word: str = "",
        setting: str | None = None,
        is_known: bool = False,
    ) -> None:
        self.code = code
        self.name = name
        self.default = default
        self.word = word
        self.setting = setting
        self.alias: str | None = None
        self.experimental = False
        self._module: ModuleType | None = None
        self.is_known = is_known or bool(word) or setting is not None
        if not self.is_known:
            self.code = getattr(self.module, "name", code)
            self.alias = getattr(self.module, "alias", None)
            self.experimental = getattr(self.module, "experimental", False)

    @property
    def module(self) -> ModuleType:
        if self._module is None:
            self._module = import_module(self.name)
        return self._module

    @property
    def severity(self) -> Severity:
        severity: Severity = self.module.severity
        return severity

    @property
    def alias_severity(self) -> Severity:
        severity: Severity = getattr(self.module, "alias_severity", self.module.severity)
        return severity

    @property
    def alone(self) -> bool:
        return getattr(self.module, "alone", False)

    @property
    def page(self) -> str:
        return (self.module.__doc__ or "").strip()

    @property
    def check(self) -> Check:
        check: Check = self.module.check
        return check

    @property
    def heading(self) -> str:
        return self.page.partition("\n")[0].rstrip(".")
