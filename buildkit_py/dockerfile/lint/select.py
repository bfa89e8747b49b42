"""Which rules run, under which code, how grave: presets, families, single codes.

    default     what is wrong or dangerous, and what BuildKit checks; little noise
    hadolint    hadolint's rules, under hadolint's codes and severities
    buildkit    BuildKit's checks; an unknown base image counts as one with an empty config
    strict      all of them

A code is that of a rule, its alias, the beginning of one (`DL30`), a family (`DL` for hadolint's,
`BK` for BuildKit's) or `ALL`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from buildkit_py.core.errors import InputError
from buildkit_py.core.patterns import later
from buildkit_py.core.text import did_you_mean
from buildkit_py.core.tuples import NamedTuple
from buildkit_py.dockerfile.lint.registry import all_rules, default_rules
from buildkit_py.dockerfile.lint.rule import Rule, Severity
from buildkit_py.dockerfile.lint.settings import NOTHING, Settings

PRESETS = ("default", "hadolint", "buildkit", "strict")
PARSE_ERROR = "DL1000"
"""The code of the finding that a file is no Dockerfile."""
UNKNOWN_CODE = "PB901"
"""The code of the finding that a comment ignores a rule that nobody knows."""

_FOREIGN = later(r"(DL|SC)\d{4}")
"""Codes of hadolint and ShellCheck; those that we do not have can be ignored all the same."""


class UnknownRule(InputError):
    code = "lint/unknown-rule"


class Active(NamedTuple):
    """A rule that runs, and how its findings are shown.

    changed: how grave they are, if not as grave as the rule says
    """

    rule: Rule
    code: str
    alias: str | None
    changed: Severity | None = None

    @property
    def severity(self) -> Severity:
        if self.changed is not None:
            return self.changed
        return self.rule.severity if self.code == self.rule.code else self.rule.alias_severity


class Selection(NamedTuple):
    """What runs. ignored: codes left out, also of findings that are no rule's."""

    preset: str
    active: tuple[Active, ...]
    ignored: frozenset[str]
    settings: Settings = NOTHING

    @property
    def empty_bases(self) -> bool:
        return self.preset == "buildkit"


def select(
    preset: str | None = None,
    *,
    only: Iterable[str] = (),
    ignore: Iterable[str] = (),
    severities: Mapping[str, Severity] | None = None,
    settings: Settings = NOTHING,
) -> Selection:
    """Return the rules to run.

    preset: None for `default`, or, when `only` names some, for no others than those
    only: codes to run; with a preset, beside those of the preset
    severities: how grave findings are that are not as grave as the rule says, by code
    settings: what the project decides; rules that it decides something for run, too

    Raises UnknownRule.
    """
    only = tuple(only)
    wanted: dict[str, tuple[Rule, str]] = {}
    if preset is not None or not only:
        for rule in _of_preset(preset or "default", settings):
            wanted[rule.code] = (rule, _shown(rule, preset or "default"))
    for text in only:
        found = _matching(text)
        if not found:
            raise _unknown(text, "--select")
        for rule in found:
            by_alias = text != "ALL" and not _is_code(text, rule.code)
            wanted[rule.code] = (rule, rule.alias if by_alias and rule.alias else rule.code)
    ignored = frozenset(text for each in ignore for text in _expand(each))
    changed = {
        code: severity for text, severity in (severities or {}).items() for code in _expand(text)
    }
    active = []
    for code in sorted(wanted):
        rule, shown = wanted[code]
        if rule.code in ignored or rule.alias in ignored:
            continue
        severity = changed.get(rule.code, changed.get(rule.alias or ""))
        other = rule.alias if shown == rule.code else rule.code
        active.append(Active(rule, shown, other, severity))
    return Selection(preset or "default", tuple(active), ignored, settings)


def is_known(code: str) -> bool:
    """Tell whether a code, as comments name it, is one of ours or of the tools we follow."""
    return (
        bool(_FOREIGN.fullmatch(code))
        or code.lower() == "all"
        or code in (UNKNOWN_CODE, "ALL")
        or bool(_matching(code))
    )


def rule_hint(code: str, *, can_run: bool = False) -> str | None:
    """Return None for the name of a rule, or of several, else what may have been meant.

    can_run: it is to be run, so that a rule of hadolint that we do not have is none
    """
    if _matching(code) or (not can_run and _can_be_ignored(code)):
        return None
    return _unknown(code, "").hint


def _of_preset(preset: str, settings: Settings) -> Iterable[Rule]:
    match preset:
        case "default":
            decided = [
                rule
                for rule in (() if settings == NOTHING else all_rules())
                if rule.setting is not None and getattr(settings, rule.setting)
            ]
            return (rule for rule in (*default_rules(), *decided) if not rule.experimental)
        case "hadolint":
            return (
                rule
                for rule in all_rules()
                if (rule.alias or rule.code).startswith("DL") and not rule.experimental
            )
        case "buildkit":
            return (
                rule
                for rule in all_rules()
                if not rule.code.startswith("DL") and not rule.experimental
            )
        case "strict":
            return (rule for rule in all_rules() if not rule.experimental)
        case _:
            raise InputError(
                f"unknown preset `{preset}`",
                code="lint/unknown-preset",
                hint=did_you_mean(preset, PRESETS) or f"one of {', '.join(PRESETS)}",
            )


def _shown(rule: Rule, preset: str) -> str:
    return rule.alias if preset == "hadolint" and rule.alias else rule.code


def _is_code(text: str, code: str) -> bool:
    """Tell whether a text names a rule: its code, a beginning of a hadolint code, its family."""
    if text == "ALL" or text == code:
        return True
    if code.startswith("DL"):
        return text.startswith("DL") and code.startswith(text)
    return text == "BK"


def _matching(text: str) -> list[Rule]:
    return [
        rule
        for rule in all_rules()
        if _is_code(text, rule.code) or (rule.alias is not None and _is_code(text, rule.alias))
    ]


def _expand(text: str) -> Iterable[str]:
    """Return the codes that a text leaves out or changes; raise UnknownRule for an unknown one."""
    found = _matching(text)
    if not found and not _can_be_ignored(text):
        raise _unknown(text, "--ignore")
    return [text, *(rule.code for rule in found)]


def _can_be_ignored(text: str) -> bool:
    """Tell whether a text that is no rule of ours can be left out all the same."""
    return bool(_FOREIGN.fullmatch(text)) or text in (UNKNOWN_CODE, PARSE_ERROR)


def _unknown(text: str, where: str) -> UnknownRule:
    codes = [code for rule in all_rules() for code in (rule.code, rule.alias) if code]
    hint = did_you_mean(text, [*codes, "ALL"] if text.upper() == "ALL" else codes)
    if hint is None and _FOREIGN.fullmatch(text):
        hint = "this rule of hadolint or ShellCheck is not supported yet"
    return UnknownRule(
        f"unknown rule `{text}` in `{where}`",
        hint=hint or "`pybuild lint --list-rules` shows all",
    )
