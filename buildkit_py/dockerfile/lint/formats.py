"""Reports as text, one function a format. Each takes the files that were checked, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buildkit_py.core.draw import Paint, excerpt, plain, printable
from buildkit_py.dockerfile.lint.report import LEVELS, Checked, Report

FORMATS = ("full", "concise", "json", "github", "sarif", "gitlab")

_PAINTED = {"error": "error", "warning": "warning"}
_GITHUB = {"error": "error", "warning": "warning", "info": "notice", "style": "notice"}
_SARIF = {"error": "error", "warning": "warning", "info": "note", "style": "note"}
_GITLAB = {"error": "major", "warning": "minor", "info": "info", "style": "info"}


def show(checked: Sequence[Checked], form: str, *, paint: Paint = plain) -> str:
    """Return all reports in one of FORMATS; empty or ending with a line end."""
    match form:
        case "full":
            return full(checked, paint=paint)
        case "concise":
            return concise(checked)
        case "json":
            return as_json(checked)
        case "github":
            return github(checked)
        case "sarif":
            return sarif(checked)
        case "gitlab":
            return gitlab(checked)
        case _:
            raise ValueError(form)


def _all(checked: Sequence[Checked]) -> Iterator[Report]:
    for file in checked:
        yield from file.reports


def full(checked: Sequence[Checked], *, paint: Paint = plain) -> str:
    """The code, the message, and the lines with what is meant underlined."""
    blocks = []
    for report in _all(checked):
        style = _PAINTED.get(report.level, "hint")
        code = f"{report.code} {report.alias}" if report.alias else report.code
        head = f"{paint(f'{report.level}[{code}]', style)}: {printable(report.message)}"
        blocks.append("\n".join([head, *excerpt(report.span, paint=paint)]) + "\n\n")
    return "".join(blocks)


def concise(checked: Sequence[Checked]) -> str:
    """One line a report, as compilers write them."""
    return "".join(
        f"{_one_line(report.span.place)}: {report.level}[{report.code}]:"
        f" {_one_line(report.message)}\n"
        for report in _all(checked)
    )


def _one_line(text: str) -> str:
    """Names of files may hold line ends."""
    return printable(text).replace("\n", "\\n")


def as_json(checked: Sequence[Checked]) -> str:
    """A list of objects; columns count characters from 1, `end_column` is behind the last one."""
    import json

    return json.dumps([_record(report) for report in _all(checked)], indent=2) + "\n"


def _record(report: Report) -> dict[str, str | int | bool | None]:
    end_line, end_column = report.end
    return {
        "file": report.span.source.name,
        "line": report.span.line,
        "column": report.span.column,
        "end_line": end_line,
        "end_column": end_column,
        "code": report.code,
        "alias": report.alias,
        "level": report.level,
        "message": report.message,
        "fixable": report.fixable,
    }


def github(checked: Sequence[Checked]) -> str:
    """Workflow commands, the gravest first: GitHub shows only some of many."""
    lines = []
    for report in sorted(_all(checked), key=lambda each: -LEVELS.index(each.level)):
        end_line, end_column = report.end
        fields = {
            "file": report.span.source.name,
            "line": str(report.span.line),
            "endLine": str(end_line),
            "col": str(report.span.column),
            "endColumn": str(end_column),
            "title": report.code,
        }
        if end_line != report.span.line:
            # Columns of several lines are refused.
            del fields["col"], fields["endColumn"]
        named = ",".join(f"{name}={_github_field(value)}" for name, value in fields.items())
        message = _github_text(printable(report.message))
        lines.append(f"::{_GITHUB[report.level]} {named}::{message}\n")
    return "".join(lines)


def _github_text(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _github_field(text: str) -> str:
    return _github_text(printable(text)).replace(":", "%3A").replace(",", "%2C")


def sarif(checked: Sequence[Checked]) -> str:
    """SARIF 2.1.0, as code scanning takes it, with the page of every rule that reported."""
    import json

    from buildkit_py import __version__

    reports = list(_all(checked))
    codes = sorted({report.code for report in reports})
    results = []
    for report, fingerprint in zip(reports, _fingerprints(reports), strict=True):
        end_line, end_column = report.end
        region = {
            "startLine": report.span.line,
            "startColumn": report.span.column,
            "endLine": end_line,
            "endColumn": end_column,
        }
        location = {
            "artifactLocation": {"uri": _uri(report.span.source.name)},
            "region": region,
        }
        results.append(
            {
                "ruleId": report.code,
                "ruleIndex": codes.index(report.code),
                "level": _SARIF[report.level],
                "message": {"text": report.message},
                "locations": [{"physicalLocation": location}],
                "partialFingerprints": {"pybuildLint/v1": fingerprint},
            }
        )
    driver = {
        "name": "pybuild lint",
        "version": __version__,
        "rules": [_sarif_rule(code, reports) for code in codes],
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }
    return json.dumps(log, indent=2) + "\n"


def _sarif_rule(code: str, reports: Sequence[Report]) -> dict[str, object]:
    from buildkit_py.dockerfile.lint.registry import all_rules

    rule = next((each for each in all_rules() if code in (each.code, each.alias)), None)
    level = next(report.level for report in reports if report.code == code)
    heading = rule.heading if rule else _OTHERS.get(code, code)
    return {
        "id": code,
        "shortDescription": {"text": heading},
        "fullDescription": {"text": heading},
        "help": {"text": rule.page if rule else heading},
        "defaultConfiguration": {"level": _SARIF[level]},
    }


_OTHERS = {
    "DL1000": "The file is no Dockerfile",
    "PB901": "A comment ignores a rule that nobody knows",
}


def _uri(name: str) -> str:
    from urllib.parse import quote

    return quote(name.removeprefix("./"), errors="surrogateescape")


def gitlab(checked: Sequence[Checked]) -> str:
    """GitLab's Code Quality report."""
    import json

    reports = list(_all(checked))
    entries = [
        {
            "description": f"{report.code}: {report.message}",
            "check_name": report.code,
            "fingerprint": fingerprint,
            "severity": _GITLAB[report.level],
            "location": {
                "path": report.span.source.name.removeprefix("./"),
                "lines": {"begin": report.span.line, "end": report.end[0]},
            },
        }
        for report, fingerprint in zip(reports, _fingerprints(reports), strict=True)
    ]
    return json.dumps(entries, indent=2) + "\n"


def _fingerprints(reports: Sequence[Report]) -> list[str]:
    """Return a name for each report that stays while lines above it come and go."""
    from buildkit_py.core.digest import sha256

    seen: dict[tuple[str, ...], int] = {}
    names = []
    for report in reports:
        line = report.span.source.line(report.span.line).strip()
        key = (report.span.source.name, report.code, report.message, line)
        seen[key] = seen.get(key, 0) + 1
        text = "\0".join((*key, str(seen[key])))
        names.append(sha256(text.encode("utf-8", "surrogateescape")).partition(":")[2])
    return names
