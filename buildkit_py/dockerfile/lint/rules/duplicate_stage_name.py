"""Two stages do not share a name.

Later instructions mean the nearest stage above them, `--target` means the last one: nobody reads
that from the file. Case makes no difference; hadolint thinks it does.

Bad:
    FROM debian:12 AS build
    FROM debian:12 AS Build

Good:
    FROM debian:12 AS build
    FROM debian:12 AS test
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

name = "DuplicateStageName"
alias = "DL3024"
severity = Severity.WARNING
alias_severity = Severity.ERROR


def check(file: File) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for stage in file.stages:
        word = stage.origin.name
        if word is None or stage.name is None:
            continue
        if stage.name in seen:
            yield Finding(
                word.span, f"a stage `{stage.name}` is already defined in line {seen[stage.name]}"
            )
        seen.setdefault(stage.name, word.span.line)
