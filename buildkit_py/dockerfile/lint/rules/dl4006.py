"""A pipe fails when its left side fails: `pipefail` is set.

`curl ... | tar x` is a success for a shell when tar got along with what little came. Unlike
hadolint, a SHELL of the stage that this one starts from counts, and so does a `set -o pipefail`
in the RUN itself.

Bad:
    FROM debian:12
    RUN curl https://example.org/x | tar x

Good:
    FROM debian:12
    RUN set -eo pipefail; curl https://example.org/x | tar x

Good:
    FROM debian:12 AS base
    SHELL ["/bin/bash", "-o", "pipefail", "-c"]
    FROM base
    RUN curl https://example.org/x | tar x
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from buildkit_py.dockerfile.lint.facts import File, Run
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    for run in file.runs:
        if run.is_trigger or not run.pipes or (run.shell and sets_pipefail(run.shell)):
            continue
        settled = _where_set(run)
        unsafe = [pipe for pipe in run.pipes if pipe.start < settled]
        if unsafe:
            yield Finding(unsafe[0], "a failure left of this pipe goes unseen; set `pipefail`")


def _where_set(run: Run) -> float:
    """Return the offset from which on the RUN's script has `pipefail`."""
    for program in run.programs:
        if program.name == "set" and sets_pipefail(program.call.values):
            return program.span.start
    return float("inf")


def sets_pipefail(words: Sequence[str]) -> bool:
    """Tell whether `-o pipefail`, also as `-euo pipefail`, is among the words."""
    return any(
        word.startswith("-") and not word.startswith("--") and "o" in word and after == "pipefail"
        for word, after in pairwise(words)
    )
