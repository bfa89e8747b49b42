"""ADD unpacks archives of the context itself.

COPY and then `tar -x` keeps the archive in one layer and what was in it in another. Unlike in
hadolint, `tar xf` without a dash is known, and `gunzip x.gz` is left alone: ADD unpacks only
archives of tar.

Bad:
    FROM debian:12
    COPY app.tar.gz /opt/
    RUN tar -xzf /opt/app.tar.gz -C /opt

Good:
    FROM debian:12 AS build
    ADD app.tar.gz /opt/
    COPY --from=build /x.tar /
    COPY data.tar /srv/
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.patterns import later
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File, Program, Stage
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.INFO

_ARCHIVE = later(r".*\.(?:tar|Z|bz2|gz|lz|lzma|tZ|tb2|tbz|tbz2|tgz|tlz|tpz|txz|xz)")
_UNPACKERS = ("gunzip", "bunzip2", "unlzma", "unxz", "zgz", "uncompress", "zcat", "gzcat")


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        copies = [each for each in stage.of(ast.Copy) if isinstance(each, ast.Copy)]
        unpacked = _unpacked(stage) if copies else {}
        for instruction in copies if unpacked else ():
            if any(flag.name == "from" for flag in instruction.flags):
                continue
            for word in instruction.sources:
                # The destination may be the archive's new name.
                names = (_name(word.text), _name(instruction.dest.text))
                last = max(unpacked.get(name, -1) for name in names)
                if _ARCHIVE.fullmatch(names[0]) and last > instruction.span.start:
                    yield Finding(word.span, "`ADD` unpacks this archive by itself")
                    break


def _unpacked(stage: Stage) -> dict[str, int]:
    """Return the names of files that are unpacked, each with where this is done last."""
    return {
        _name(value): run.outer.span.start
        for run in stage.runs
        for program in run.programs
        if _unpacks(program)
        for value in program.call.values
        if program.name == "tar" or ".t" in value
    }


def _name(path: str) -> str:
    return path.strip("'\"").replace("\\", "/").rpartition("/")[2]


def _unpacks(program: Program) -> bool:
    if program.name != "tar":
        return program.name in _UNPACKERS
    first = program.call.values[0] if program.call.values else ""
    is_short = "x" in first and not first.startswith("--") and "/" not in first
    return is_short or program.call.has_flag("extract", "get", "x")
