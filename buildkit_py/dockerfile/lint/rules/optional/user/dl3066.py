"""USER is a number.

Kubernetes' `runAsNonRoot` cannot look into `/etc/passwd`. Off by default: elsewhere a name reads
better. Variables of an ARG are left alone, and, unlike in hadolint, those of an ENV, too.

Bad:
    FROM debian:12
    USER node

Good:
    FROM debian:12
    ARG UID=1000
    USER 1000:1000
    USER $UID
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File, without_braces
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.INFO


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for instruction in stage.body:
            if not isinstance(instruction, ast.User):
                continue
            text = instruction.user.text
            outside = without_braces(text).partition(":")[0]
            user = text[: len(outside)].strip("'\"")
            if user.startswith("$"):
                if user.lstrip("${").rstrip("}").partition(":")[0] in stage.names:
                    continue
            elif user.isdecimal():
                continue
            yield Finding(instruction.user.span, f"`{user}` is not a number")
