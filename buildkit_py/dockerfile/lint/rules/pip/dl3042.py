"""pip keeps no cache in the image.

What it has downloaded it keeps below the home directory, for a next time that never comes.
`--no-cache-dir`, `PIP_NO_CACHE_DIR` or a cache mount helps. Only stages that end up in an image
count, which hadolint does not look at.

Bad:
    FROM python:3.12
    RUN pip install flask==3.0

Good:
    FROM python:3.12
    RUN pip install --no-cache-dir flask==3.0
    RUN --mount=type=cache,target=/root/.cache pip install flask==3.0

Good:
    FROM python:3.12
    ENV PIP_NO_CACHE_DIR=1
    RUN pip install flask==3.0
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, Run, first_of_run
from buildkit_py.dockerfile.lint.packages import pip_installs
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    found = (
        (run, program)
        for run, program, _ in pip_installs(file)
        if program.name != "pipx"
        and run.stage.is_kept
        and not program.call.has_flag("no-cache-dir")
        and not run.is_cached("/.cache", "pip")
        and not _is_switched_off(run)
    )
    for _, program in first_of_run(found):
        yield Finding(program.span, "pip's cache stays in the image; add `--no-cache-dir`")


def _is_switched_off(run: Run) -> bool:
    """Tell whether PIP_NO_CACHE_DIR is set, above or in the RUN; any value does, says pip."""
    if any(
        word.raw.startswith("PIP_NO_CACHE_DIR=")
        for script, _ in run.scripts
        for command in script.commands
        for word in (*command.assignments, *command.words)
    ):
        return True
    return "PIP_NO_CACHE_DIR" in run.stage.names
