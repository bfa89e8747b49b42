"""A variable has a value before it is used.

Else it expands to nothing: `COPY $src /app` becomes `COPY /app`. Looked at are ADD, ARG, COPY,
ENV, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR and the mounts of RUN; what RUN itself does with
variables is the shell's business.

What a base image sets is not known without pulling it. So a name is reported when the stage
starts from `scratch` or, with `--resolve`, from an image that the local store has, and when it
looks like a misspelling of one that is known. The preset `buildkit` reports all.

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

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    for miss in file.variables.misses:
        near = miss.near
        is_known = file.empty_bases or _is_from_scratch(miss.stage)
        if not is_known and file.base_config(miss.stage) is None:
            near = near if near and _is_misspelling(miss.name, near) else None
            if near is None:
                continue
        hint = f"; did you mean `${near}`?" if near else ""
        yield Finding(miss.span, f"`${miss.name}` has no value here{hint}")


def _is_misspelling(name: str, near: str) -> bool:
    """Tell one from `varA` and `varB`, and from `PATH` and `GOPATH`, which are two names."""
    return len(name) > 3 and name[0] == near[0] and name[:-1] != near[:-1]


def _is_from_scratch(stage: Stage) -> bool:
    return stage.root.base.text == "scratch"
