"""Reports for services that collect them. Names of files are relative to the repository."""

from __future__ import annotations

import json
from collections.abc import Sequence

from buildkit_py.core.draw import printable
from buildkit_py.dockerfile.lint.report import Checked, Folders, Report, fingerprints

_GITLAB = {"error": "major", "warning": "minor", "info": "info", "style": "info"}
_CODECLIMATE = {"error": "blocker", "warning": "major", "info": "info", "style": "minor"}
_SONARQUBE = {"error": "CRITICAL", "warning": "MAJOR", "info": "MINOR", "style": "INFO"}


def show(checked: Sequence[Checked], form: str, folders: Folders) -> str:
    """Return all reports in one of the formats below."""
    reports = [report for file in checked for report in file.reports]
    match form:
        case "gitlab":
            return gitlab(reports, folders)
        case "codeclimate":
            return codeclimate(reports, folders)
        case "sonarqube":
            return sonarqube(reports, folders)
        case "codacy":
            return codacy(reports, folders)
        case "checkstyle":
            return checkstyle(checked, folders)
        case "junit":
            return junit(checked, folders)
        case _:
            raise ValueError(form)


def gitlab(reports: Sequence[Report], folders: Folders) -> str:
    """GitLab's Code Quality report."""
    entries = [
        {
            "description": f"{report.code}: {printable(report.message)}",
            "check_name": report.code,
            "fingerprint": fingerprint,
            "severity": _GITLAB[report.level],
            "location": _location(report, folders),
        }
        for report, fingerprint in zip(reports, fingerprints(reports, folders), strict=True)
    ]
    return json.dumps(entries, indent=2) + "\n"


def codeclimate(reports: Sequence[Report], folders: Folders) -> str:
    """What an engine of Code Climate writes: objects, each ended by a zero byte."""
    return "".join(
        json.dumps(
            {
                "type": "issue",
                "check_name": report.code,
                "description": printable(report.message),
                "categories": ["Bug Risk"],
                "location": _location(report, folders),
                "severity": _CODECLIMATE[report.level],
                "fingerprint": fingerprint,
            }
        )
        + "\0"
        for report, fingerprint in zip(reports, fingerprints(reports, folders), strict=True)
    )


def _location(report: Report, folders: Folders) -> dict[str, object]:
    return {
        "path": _path(report, folders),
        "lines": {"begin": report.span.line, "end": report.end[0]},
    }


def _path(report: Report, folders: Folders) -> str:
    return printable(folders.path(report.span.source.name))


def sonarqube(reports: Sequence[Report], folders: Folders) -> str:
    """SonarQube's generic issues, with the rules that reported. Its columns count from 0."""
    from buildkit_py.dockerfile.lint.pages import heading_of

    rules: dict[str, dict[str, object]] = {}
    issues = []
    for report in reports:
        severity = _SONARQUBE[report.level]
        rules.setdefault(
            report.code,
            {
                "id": report.code,
                "name": report.code,
                "description": heading_of(report.code),
                "engineId": "pybuild lint",
                "cleanCodeAttribute": "CONVENTIONAL",
                "type": "CODE_SMELL",
                "severity": severity,
            },
        )
        end_line, end_column = report.end
        line, column = report.span.line, report.span.column
        place = {"startLine": line, "endLine": end_line}
        if (end_line, end_column) > (line, column):
            # A range of no characters is refused.
            place |= {"startColumn": column - 1, "endColumn": end_column - 1}
        issues.append(
            {
                "ruleId": report.code,
                "engineId": "pybuild lint",
                "type": "CODE_SMELL",
                "severity": severity,
                "primaryLocation": {
                    "message": printable(report.message),
                    "filePath": _path(report, folders),
                    "textRange": place,
                },
            }
        )
    return json.dumps({"rules": list(rules.values()), "issues": issues}, indent=2) + "\n"


def codacy(reports: Sequence[Report], folders: Folders) -> str:
    """One object a line, as Codacy's tools write them."""
    return "".join(
        json.dumps(
            {
                "filename": _path(report, folders),
                "patternId": report.code,
                "message": printable(report.message),
                "line": report.span.line,
            }
        )
        + "\n"
        for report in reports
    )


def checkstyle(checked: Sequence[Checked], folders: Folders) -> str:
    """Checkstyle's XML."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<checkstyle version="4.3">']
    for file in checked:
        lines.append(f"  <file name={_quoted(folders.path(file.source.name))}>")
        for report in file.reports:
            # Its severities are error, warning, info and ignore.
            level = "info" if report.level == "style" else report.level
            lines.append(
                f'    <error line="{report.span.line}" column="{report.span.column}"'
                f' severity="{level}" message={_quoted(report.message)}'
                f" source={_quoted(report.code)}/>"
            )
        lines.append("  </file>")
    return "\n".join([*lines, "</checkstyle>"]) + "\n"


def junit(checked: Sequence[Checked], folders: Folders) -> str:
    """JUnit's XML: a suite for each file, a failed case for each report, or one that passed."""
    failures = sum(len(file.reports) for file in checked)
    tests = sum(max(len(file.reports), 1) for file in checked)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="pybuild lint" tests="{tests}" failures="{failures}">',
    ]
    for file in checked:
        name = _quoted(folders.path(file.source.name))
        count = len(file.reports)
        lines.append(f'  <testsuite name={name} tests="{max(count, 1)}" failures="{count}">')
        if not file.reports:
            lines.append(f'    <testcase classname={name} name="no findings"/>')
        for report in file.reports:
            place = f"{report.code} {report.span.line}:{report.span.column}"
            lines += [
                f"    <testcase classname={name} name={_quoted(place)}>",
                f'      <failure type="{report.level}" message={_quoted(report.message)}/>',
                "    </testcase>",
            ]
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _quoted(text: str) -> str:
    """Return a text as the value of an attribute; XML cannot hold what `printable` escapes."""
    from xml.sax.saxutils import quoteattr

    return quoteattr(printable(text))
