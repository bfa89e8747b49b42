"""wget draws no progress bar into a log.

Every dot is a line in the build's output. Off by default. Unlike hadolint, files for Alpine and
BusyBox are left alone: their wget knows no `--progress`.

Bad:
    FROM debian:12
    RUN wget https://example.org/x

Good:
    FROM debian:12
    RUN wget -q https://example.org/x
    RUN wget --progress=dot:giga https://example.org/x

Good:
    FROM alpine:3.20
    RUN wget https://example.org/x
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, Stage, first_of_run
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.INFO
alone = True

_QUIET = ("progress", "q", "quiet", "o", "output-file", "a", "append-output", "no-verbose")


def check(file: File) -> Iterator[Finding]:
    found = (
        (run, program)
        for run, program in file.calls("wget")
        if not program.call.has_flag(*_QUIET)
        and not program.call.has("-nv", "--version", "--help")
        and not _is_busybox(run.stage)
    )
    for _, program in first_of_run(found):
        yield Finding(program.name_span, "a progress bar in the log: `--progress=dot:giga` or `-q`")


def _is_busybox(stage: Stage) -> bool:
    text = stage.root.base.text
    return "alpine" in text or "busybox" in text
