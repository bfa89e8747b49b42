"""The image does not run as root.

What breaks out of a container's program as root has far fewer walls left to climb. Reported is the
last USER that counts for the image: unlike hadolint, stages that are only copied from do not
count, and a base stage's USER counts only when no later one replaces it.

Bad:
    FROM debian:12
    USER root

Good:
    FROM debian:12 AS build
    USER root
    FROM debian:12
    USER root
    RUN adduser app
    USER app
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    if not file.stages:
        return
    for stage in file.stages[-1].chain():
        users = [each for each in stage.body if isinstance(each, ast.User)]
        if users:
            word = users[-1].user
            if word.text.partition(":")[0] in ("root", "0"):
                yield Finding(word.span, "the image runs as root; end with another `USER`")
            return
