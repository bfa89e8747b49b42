"""A label that the project asks for is not empty.

Bad (with label-schema: org.example.team: text):
    FROM debian:12
    LABEL org.example.team=""

Good (with label-schema: org.example.team: text):
    FROM debian:12
    LABEL org.example.team="core" other=""
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.labels import labels, value_of
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    wanted = {name for name, _ in file.settings.label_schema}
    for _, name, pair in labels(file) if wanted else ():
        if name in wanted and value_of(file, pair) == "":
            yield Finding((pair.value or pair.key).span, f"the label `{name}` is empty")
