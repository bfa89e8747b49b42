"""A stage has one HEALTHCHECK.

Only the last one counts, NONE included. BuildKit's MultipleInstructionsDisallowed, which replaces
this rule by default, reports those that do nothing; this one, as hadolint, those that come second.

Bad:
    FROM debian:12
    HEALTHCHECK CMD ["a"]
    HEALTHCHECK NONE

Good:
    FROM debian:12 AS build
    HEALTHCHECK CMD ["a"]
    FROM build
    HEALTHCHECK CMD ["b"]
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.ERROR


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for instruction in stage.of(ast.Healthcheck)[1:]:
            yield Finding(instruction.keyword.span, "the stage has a `HEALTHCHECK` already")
