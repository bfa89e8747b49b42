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
from buildkit_py.dockerfile.lint.facts import File, Program
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.INFO

_ARCHIVE = later(r".*\.(?:tar|Z|bz2|gz|lz|lzma|tZ|tb2|tbz|tbz2|tgz|tlz|tpz|txz|xz)")
_UNPACKERS = ("gunzip", "bunzip2", "unlzma", "unxz", "zgz", "uncompress", "zcat", "gzcat")


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for instruction in stage.of(ast.Copy):
            assert isinstance(instruction, ast.Copy)
            if any(flag.name == "from" for flag in instruction.flags):
                continue
            archives = [
                word for word in instruction.sources if _ARCHIVE.fullmatch(_name(word.text))
            ]
            if not archives:
                continue
            # The destination may be the archive's new name.
            names = {_name(word.text) for word in archives} | {_name(instruction.dest.text)} - {""}
            if any(
                _unpacks(program, names)
                for run in stage.runs
                if run.outer.span.start > instruction.span.start
                for program in run.programs
            ):
                yield Finding(archives[0].span, "`ADD` unpacks this archive by itself")


def _name(path: str) -> str:
    return path.strip("'\"").replace("\\", "/").rpartition("/")[2]


def _unpacks(program: Program, names: set[str]) -> bool:
    values = program.call.values
    if program.name == "tar":
        first = values[0] if values else ""
        is_short = "x" in first and not first.startswith("--") and "/" not in first
        if not is_short and not program.call.has_flag("extract", "get", "x"):
            return False
        return any(_name(value) in names for value in values)
    return program.name in _UNPACKERS and any(
        _name(value) in names and ".t" in value for value in values
    )
