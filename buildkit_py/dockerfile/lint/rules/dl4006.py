"""A pipe fails when its left side fails: `pipefail` is set.

`curl ... | tar x` is a success for a shell when tar got along with what little came. Unlike
hadolint, a SHELL of the stage that this one starts from counts, and so does a `set -o pipefail`
in the RUN itself; and a pipe that begins with `echo`, `printf`, `yes` or `cat <<EOF` has no left
side that fails.

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

Bad:
    FROM debian:12
    RUN set -o pipefail; a; set +o pipefail; b | c

Good:
    FROM debian:12
    RUN shopt -so pipefail; a | b

Good:
    FROM debian:12
    RUN echo "$SHA256 *x.tar" | sha256sum -c - && printf '%s\\n' a b \\
        | tee list
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from buildkit_py.core.source import Span
from buildkit_py.dockerfile.lint.facts import File, Run
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.dockerfile.shell.script import Command

severity = Severity.WARNING

BLANKS = " \t\r\n\\"
"""What may stand between a command and its pipe; a backslash continues the line."""


def check(file: File) -> Iterator[Finding]:
    for run in file.runs:
        if run.is_trigger or not run.pipes or (run.shell and sets_pipefail(run.shell)):
            continue
        settled = _where_set(run)
        for pipe in _unsafe(run):
            if not any(start <= pipe.start < end for start, end in settled):
                yield Finding(pipe, "a failure left of this pipe goes unseen; set `pipefail`")
                break


def _unsafe(run: Run) -> Iterator[Span]:
    """Return the pipes on whose left something may fail."""
    for script, place in run.scripts:
        text = script.text
        harmless = {
            _behind_blanks(text, command.end)
            for command in script.commands
            if command.before not in ("|", "|&") and _cannot_fail(command)
        }
        yield from (place(at, at + 1) for at in script.pipes if at not in harmless)


def _behind_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in BLANKS and at < len(text):
        at += 1
    return at


def _cannot_fail(command: Command) -> bool:
    words = [word.value for word in command.words]
    if words == ["cat"]:
        return any(redirect.operator in ("<<", "<<-", "<<<") for redirect in command.redirects)
    return bool(words) and words[0] in ("echo", "printf", "yes", "true", ":")


def _where_set(run: Run) -> list[tuple[int, float]]:
    """Return from where to where in the file the RUN's script has `pipefail`."""
    found: list[tuple[int, float]] = []
    for program in run.programs:
        start, words = program.span.start, program.call.values
        if program.name == "shopt":
            is_set = "pipefail" in words and not {"-so", "-os"}.isdisjoint(words)
        else:
            is_set = program.name == "set" and sets_pipefail(words)
        if is_set:
            found.append((start, float("inf")))
        elif program.name == "set" and ("+o", "pipefail") in pairwise(words) and found:
            found[-1] = (found[-1][0], start)
    return found


def sets_pipefail(words: Sequence[str]) -> bool:
    """Tell whether `-o pipefail`, also as `-euo pipefail`, is among the words."""
    return any(
        word.startswith("-") and not word.startswith("--") and "o" in word and after == "pipefail"
        for word, after in pairwise(words)
    )
