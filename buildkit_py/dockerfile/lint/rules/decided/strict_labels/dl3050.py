"""An image has no other labels than those the project names.

Where `strict-labels` is set, `label-schema` is the whole list.

Bad (with strict-labels, label-schema: org.example.team: text):
    FROM debian:12
    LABEL org.example.team="core" org.examples.name="x"

Good (with strict-labels, label-schema: org.example.team: text):
    FROM debian:12
    LABEL org.example.team="core"
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.text import did_you_mean
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.labels import labels
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.INFO
alone = True


def check(file: File) -> Iterator[Finding]:
    if not file.settings.strict_labels:
        return
    known = [name for name, _ in file.settings.label_schema]
    for _, name, pair in labels(file):
        if name not in known:
            hint = did_you_mean(name, known)
            message = f"the label `{name}` is not one of those that the project names"
            yield Finding(pair.key.span, message + (f"; {hint}" if hint else ""))
