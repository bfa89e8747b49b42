"""The protocol of EXPOSE is in lower case.

Images store `80/tcp`; whatever compares by text will not find `80/TCP`.

Bad:
    FROM debian:12
    EXPOSE 80/TCP

Good:
    FROM debian:12
    EXPOSE 80/tcp 53/udp
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Edit, Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for instruction in stage.body:
            if isinstance(instruction, ast.Expose):
                for word in instruction.ports:
                    port, _, protocol = word.text.partition("/")
                    if "$" not in protocol and protocol != protocol.lower():
                        fixed = f"{port}/{protocol.lower()}"
                        yield Finding(
                            word.span,
                            f"write `{word.text}` as `{fixed}`",
                            (Edit(word.span, fixed),),
                        )
