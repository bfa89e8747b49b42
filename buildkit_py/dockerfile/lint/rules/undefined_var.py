"""A variable has a value before it is used.

Else it expands to nothing: `COPY $src /app` becomes `COPY /app`. Looked at are ADD, ARG, COPY,
ENV, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR and the mounts of RUN; what RUN itself does with
variables is the shell's business.

What a base image sets is not known without pulling it. So a name is reported when the stage
starts from `scratch`, or when it looks like a misspelling of one that is known. The preset
`buildkit` reports all.

Bad:
    FROM debian:12
    ARG SOURCE=src
    COPY $SUORCE /app

Bad:
    FROM scratch
    COPY $src /app

Good:
    FROM debian:12
    ARG SOURCE
    COPY $SOURCE /app
    ENV LD_LIBRARY_PATH=/app:$LD_LIBRARY_PATH
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, Stage
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.dockerfile.lint.variables import nearest

name = "UndefinedVar"
severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    for miss in file.variables.misses:
        near = nearest(miss.name, miss.known)
        if near is None and not file.empty_bases and not _is_from_scratch(miss.stage):
            continue
        hint = f"; did you mean `${near}`?" if near else ""
        yield Finding(miss.span, f"`${miss.name}` has no value here{hint}")


def _is_from_scratch(stage: Stage) -> bool:
    return [*stage.chain()][-1].base.text == "scratch"
