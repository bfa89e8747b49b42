"""A port is at most 65535.

No build takes a larger one: without this rule it is reported as `DL1000`.

Bad:
    FROM debian:12
    EXPOSE 80000

Good:
    FROM debian:12
    EXPOSE 8000-8010 65535/udp $PORT
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.patterns import later
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.dockerfile.lint.unbuildable import MOST_PORT

severity = Severity.ERROR
alone = True

_NUMBER = later(r"[0-9]+")


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for instruction in stage.body:
            for word in instruction.ports if isinstance(instruction, ast.Expose) else ():
                ports = word.text.rpartition(":")[2].partition("/")[0]
                for number in ports.strip("'\"").split("-"):
                    # Python does not make numbers of texts as long as one likes.
                    if _NUMBER.fullmatch(number) and int(number[:9]) > MOST_PORT:
                        yield Finding(word.span, f"there is no port `{number}`: 65535 is the last")
