"""A stage's name is in lower case.

BuildKit keeps names of stages in lower case. One that is written otherwise reads as if case told
stages apart, and it does not: `FROM Build` finds no stage `Build`.

Bad:
    FROM debian:12 AS BuildBase

Good:
    FROM debian:12 AS build-base
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        words = stage.origin.words
        if len(words) == 3 and words[2].text != words[2].text.lower():
            text = words[2].text
            yield Finding(words[2].span, f"write the stage's name `{text}` as `{text.lower()}`")
