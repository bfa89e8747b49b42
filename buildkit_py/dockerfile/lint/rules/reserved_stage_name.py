"""No stage is named `scratch` or `context`.

Both names have a meaning of their own: the empty image, and the build context.

Bad:
    FROM debian:12 AS scratch

Good:
    FROM scratch AS files
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

name = "ReservedStageName"
alias = "DL3063"
severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        word = stage.origin.name
        if word is not None and stage.name in ("scratch", "context"):
            yield Finding(word.span, f"`{stage.name}` is reserved and cannot name a stage")
