"""`COPY --from` names a stage above, or an image with its tag.

A name that is neither is taken for an image called so, `latest`, of Docker Hub. Off by default, as
it may be a context that the command line names. Unlike in hadolint, the case of stages' names does
not matter.

Bad:
    FROM debian:12
    COPY --from=build /x /x

Good:
    FROM debian:12 AS Build
    FROM debian:12
    COPY --from=build /x /x
    COPY --from=0 /y /y
    COPY --from=golang:1.24 /usr/local/go /usr/local/go
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    known: set[str] = set()
    for stage in file.stages:
        for instruction in stage.of(ast.Copy):
            for flag in instruction.flags:
                name = (flag.value or "").lower()
                is_image = ":" in name or "@" in name or "$" in name
                if flag.name == "from" and not is_image and name not in known:
                    yield Finding(flag.span, f"no stage above is called `{flag.value}`")
        known.add(str(stage.index))
        if stage.name:
            known.add(stage.name)
