"""A stage downloads with curl or with wget, not with both.

Each brings libraries along. Off by default. Reported from the RUN on in which the second of them
appears.

Bad:
    FROM debian:12
    RUN curl -O https://example.org/a
    RUN wget -q https://example.org/b

Good:
    FROM debian:12
    RUN curl -O https://example.org/a
    FROM debian:12
    RUN wget -q https://example.org/b
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        seen: set[str] = set()
        for run in stage.runs:
            found = [each for each in run.programs if each.name in ("curl", "wget")]
            seen |= {program.name for program in found}
            if found and len(seen) == 2:
                yield Finding(
                    found[-1].name_span, "this stage uses both `curl` and `wget`; one will do"
                )
