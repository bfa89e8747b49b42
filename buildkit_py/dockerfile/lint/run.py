"""Runs the selected rules over a file and drops what its comments leave out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Source, Span
from buildkit_py.core.text import did_you_mean
from buildkit_py.dockerfile.errors import first_of, together
from buildkit_py.dockerfile.ignore import Patterns
from buildkit_py.dockerfile.lint.check_options import ALL_CHECKS
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.pragmas import Suppressions
from buildkit_py.dockerfile.lint.registry import all_rules
from buildkit_py.dockerfile.lint.report import Report
from buildkit_py.dockerfile.lint.rule import Rule, Severity
from buildkit_py.dockerfile.lint.select import (
    PARSE_ERROR,
    UNKNOWN_CODE,
    Active,
    Selection,
    is_known,
)
from buildkit_py.dockerfile.lint.unbuildable import unbuildable
from buildkit_py.dockerfile.parse import parse_part
from buildkit_py.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.oci.image import ImageConfig


Find = Callable[[str], "ImageConfig | None"]
"""Finds the config of an image by the name that FROM gives."""


def lint(
    source: Source,
    selection: Selection,
    *,
    ignore: Patterns | None = None,
    find: Find | None = None,
    platform: Platform | None = None,
) -> list[Report]:
    """Return what is to be said about a file, in its order.

    A file that is no Dockerfile gets one report of that, which nothing can switch off. One with
    words that cannot be expanded gets one for each of them. Both come beside what the rules find.
    """
    dockerfile, errors = parse_part(source)

    def facts(bases: Mapping[str, ImageConfig] | None = None) -> File:
        return File(
            dockerfile,
            ignore=ignore,
            empty_bases=selection.empty_bases,
            bases=bases,
            platform=platform,
            settings=selection.settings,
        )

    file = facts()
    if find is not None:
        names = {image for image in file.variables.images if image}
        bases = {name: config for name in sorted(names) if (config := find(name)) is not None}
        file = facts(bases)
    return _reports(file, selection, errors)


def _reports(file: File, selection: Selection, errors: Sequence[InputError]) -> list[Report]:
    """Report on what could be read; `errors` are the complaints about what could not.

    Behind an instruction that could not be read only those rules speak whose findings depend on
    nothing else: a variable may be set there, a stage begin, a shell be chosen.
    """
    dockerfile = file.dockerfile
    suppressions = Suppressions(dockerfile, errors, enabled=selection.settings.comments)
    unsure = min((each.at.start for each in errors if each.at), default=None)
    reports = [broken(file.source, together(errors))] if errors else []
    for active in (*selection.active, *_asked_for(suppressions, selection)):
        if not _concerns(active.rule, file):
            continue
        is_check = not active.rule.code.startswith("DL")
        severity = Severity.ERROR if suppressions.check.error and is_check else active.severity
        names = (active.code, active.alias, ALL_CHECKS if is_check else None)
        reports += [
            Report(
                active.code,
                active.alias,
                severity.word,
                finding.span,
                finding.message,
                bool(finding.edits),
            )
            for finding in active.rule.check(file)
            if (unsure is None or finding.span.start < unsure or active.rule.alone)
            and not suppressions.hides(finding.span, *names)
        ]
    said = {report.span for report in reports if report.level == "error"}
    reports += [
        broken(file.source, error)
        for error in (
            *suppressions.check.wrong,
            *file.variables.broken,
            *unbuildable(file.instructions, file.escape),
        )
        if error.at not in said
    ]
    if UNKNOWN_CODE not in selection.ignored:
        reports += _unknown_codes(suppressions)
    reports.sort(key=lambda report: (report.span.start, report.span.end, report.code))
    return reports


def _concerns(rule: Rule, file: File) -> bool:
    """Tell, without importing it, whether a rule may have something to say about a file."""
    if rule.setting is not None and not getattr(file.settings, rule.setting):
        return False
    return rule.word in file.folded


def broken(source: Source, error: InputError) -> Report:
    """Return the report that a file cannot be parsed: BuildKit's first complaint."""
    first = first_of(error)
    message = first.message + (f"; {first.hint}" if first.hint else "")
    span = first.at or source.span(0, 0)
    return Report(PARSE_ERROR, first.code, "error", span, message)


def _asked_for(suppressions: Suppressions, selection: Selection) -> list[Active]:
    """Return the experimental rules that the file's `# check=experimental=` switches on."""
    asked = suppressions.check.experimental
    if not asked:
        return []
    running = {active.rule.code for active in selection.active}
    return [
        Active(rule, rule.code, rule.alias)
        for rule in all_rules()
        if rule.experimental
        and not rule.code.startswith("DL")
        and ("all" in asked or rule.code in asked)
        and rule.code not in running
        and rule.code not in selection.ignored
    ]


def _unknown_codes(suppressions: Suppressions) -> list[Report]:
    """Report on comments that name a rule or an option that there is not."""
    reports = []

    def add(place: Span, message: str, hint: str | None) -> None:
        text = message + (f"; {hint}" if hint else "")
        reports.append(Report(UNKNOWN_CODE, None, "warning", place, text))

    named = [place for pragma in suppressions.pragmas for place in pragma.places]
    for place in (*suppressions.check.places, *named):
        if not is_known(place.text):
            codes = [code for rule in all_rules() for code in (rule.code, rule.alias) if code]
            hint = did_you_mean(place.text, codes)
            add(place, f"no rule is called `{place.text}`", hint)
    for unread in (suppressions.check.unread, *(each.unread for each in suppressions.pragmas)):
        if unread is not None:
            add(unread, "`check` ends at its first blank, so this is not read", None)
    for pragma in suppressions.pragmas:
        for error in pragma.wrong:
            add(error.at or pragma.span, error.message, error.hint)
    return reports
