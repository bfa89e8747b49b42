"""Reports as text, one function a format. Each takes the files that were checked, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buildkit_py.core.draw import Paint, excerpt, plain, printable
from buildkit_py.dockerfile.lint.report import HERE, LEVELS, Checked, Folders, Report

FORMATS = ("full", "concise", "json", "github", "sarif", "gitlab", "checkstyle", "codacy",
           "codeclimate", "gnu", "junit", "sonarqube")  # fmt: skip

_PAINTED = {"error": "error", "warning": "warning"}
_GITHUB = {"error": "error", "warning": "warning", "info": "notice", "style": "notice"}


def show(
    checked: Sequence[Checked], form: str, *, paint: Paint = plain, folders: Folders = HERE
) -> str:
    """Return all reports in one of FORMATS; empty or ending with a line end.

    folders: what names of files are relative to, and shall be
    """
    match form:
        case "full":
            return full(checked, paint=paint)
        case "concise":
            return concise(checked)
        case "json":
            return as_json(checked)
        case "github":
            return github(checked, folders)
        case "gnu":
            return gnu(checked)
        case "sarif":
            from buildkit_py.dockerfile.lint.sarif import sarif

            return sarif(checked, folders)
        case _:
            from buildkit_py.dockerfile.lint import formats_ci

            return formats_ci.show(checked, form, folders)


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
    from buildkit_py.dockerfile.lint.urls import url_of

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
        "url": url_of(report.code),
    }


def github(checked: Sequence[Checked], folders: Folders = HERE) -> str:
    """Workflow commands, the gravest first: GitHub shows only some of many."""
    lines = []
    for report in sorted(_all(checked), key=lambda each: -LEVELS.index(each.level)):
        end_line, end_column = report.end
        fields = {
            "file": folders.path(report.span.source.name),
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


def gnu(checked: Sequence[Checked]) -> str:
    """One line a report, as the GNU coding standards have it and hadolint writes it."""
    return "".join(
        f"hadolint:{_one_line(report.span.source.name)}:{report.span.line}: {report.code}"
        f" {report.level}: {_one_line(report.message)}\n"
        for report in _all(checked)
    )
