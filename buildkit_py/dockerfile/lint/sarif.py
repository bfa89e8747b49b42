"""SARIF 2.1.0 with what code scanning of GitHub shows of it. Checked against the public schema.

Names of files are URIs relative to `%SRCROOT%`, the repository; a file outside has an absolute one.
Source: OASIS SARIF 2.1.0; GitHub, "SARIF support for code scanning".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from buildkit_py import __version__
from buildkit_py.core.draw import printable
from buildkit_py.dockerfile.lint.report import Checked, Folders, Report, fingerprints
from buildkit_py.dockerfile.lint.urls import url_of

ROOT = "%SRCROOT%"
_LEVELS = {"error": "error", "warning": "warning", "info": "note", "style": "note"}


def sarif(checked: Sequence[Checked], folders: Folders) -> str:
    """Return one run, with the page of every rule that reported."""
    reports = [report for file in checked for report in file.reports]
    codes = sorted({report.code for report in reports})
    names = fingerprints(reports, folders)
    driver = {
        "name": "pybuild lint",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(code, reports) for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "originalUriBaseIds": {ROOT: {"description": {"text": "The root of the repository"}}},
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(report, codes.index(report.code), name, folders)
            for report, name in zip(reports, names, strict=True)
        ],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _result(report: Report, number: int, fingerprint: str, folders: Folders) -> dict[str, object]:
    end_line, end_column = report.end
    region = {
        "startLine": report.span.line,
        "startColumn": report.span.column,
        "endLine": end_line,
        "endColumn": end_column,
    }
    place = {"artifactLocation": _file(report.span.source.name, folders), "region": region}
    return {
        "ruleId": report.code,
        "ruleIndex": number,
        "level": _LEVELS[report.level],
        "message": {"text": printable(report.message)},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"pybuildLint/v1": fingerprint},
    }


def _file(name: str, folders: Folders) -> dict[str, str]:
    inside = folders.inside(name)
    if inside is None:
        return {"uri": "file://" + quote(folders.path(name), errors="surrogateescape")}
    # The first segment of a relative reference has no colon: it would be a scheme.
    return {"uri": quote(inside, safe="/", errors="surrogateescape"), "uriBaseId": ROOT}


def _rule(code: str, reports: Sequence[Report]) -> dict[str, object]:
    from buildkit_py.dockerfile.lint.pages import heading_of, markdown, summary
    from buildkit_py.dockerfile.lint.registry import all_rules

    rule = next((each for each in all_rules() if code in (each.code, each.alias)), None)
    level = next(report.level for report in reports if report.code == code)
    heading = heading_of(code)
    text = {"text": rule.page, "markdown": markdown(rule)} if rule else {"text": heading}
    url = url_of(code)
    return {
        "id": code,
        "name": code,
        "shortDescription": {"text": heading},
        "fullDescription": {"text": summary(rule) if rule else heading},
        "help": text,
        **({"helpUri": url} if url else {}),
        "defaultConfiguration": {"level": _LEVELS[level]},
        "properties": {"tags": ["dockerfile"], "precision": "high"},
    }
