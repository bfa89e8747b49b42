"""EXPOSE names a port of the container, and nothing of the host.

Addresses and ports of the host are chosen with `docker run -p`; here they are ignored, and Docker
has announced to refuse them.

Bad:
    FROM debian:12
    EXPOSE 127.0.0.1:8080:80

Good:
    FROM debian:12
    EXPOSE 80
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File, without_braces
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for instruction in stage.body:
            if isinstance(instruction, ast.Expose):
                for word in instruction.ports:
                    host = without_braces(word.text).rpartition(":")[0]
                    if host.strip(":"):
                        yield Finding(
                            word.span, f"`{word.text}` names an address or port of the host"
                        )
