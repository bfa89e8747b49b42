"""The lists of `apt-get update` are deleted in the same RUN.

They take 20 to 40 MB, are out of date tomorrow, and what a later RUN deletes is still in the
image. A cache mount over them is as good. Unlike hadolint, only a clean-up of these lists counts
and not any `rm -rf`; it must come after the update; and `find -delete` and `apt-get distclean` are
known. Only stages that end up in an image count.

Bad:
    FROM debian:12
    RUN apt-get update && apt-get install -y curl && rm -rf /tmp/*

Good:
    FROM debian:12
    RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*
    RUN --mount=type=cache,target=/var/lib/apt/lists apt-get update
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, Program
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.INFO

_ABOVE = ("/var/lib/apt", "/var/lib/apt/", "/var/lib/apt/*", "/var/lib/*", "/var/lib", "/var/*")


def check(file: File) -> Iterator[Finding]:
    for run in file.runs:
        if not run.stage.is_kept:
            continue
        programs = run.programs
        updates = [at for at, each in enumerate(programs) if _is_update(each)]
        if not updates or run.is_cached("/var/lib/apt"):
            continue
        if not any(_is_cleanup(each) for each in programs[updates[-1] + 1 :]):
            yield Finding(
                programs[updates[-1]].span,
                "the package lists stay in the image; end with `rm -rf /var/lib/apt/lists/*`",
            )


def _is_update(program: Program) -> bool:
    return program.name in ("apt-get", "apt", "aptitude") and program.call.has("update")


def _is_cleanup(program: Program) -> bool:
    values = program.call.values
    match program.name:
        case "rm" | "find":
            return any(value in _ABOVE or "lists" in value for value in values)
        case "apt-get" | "apt":
            return program.call.has("distclean", "dist-clean")
        case _:
            return False
