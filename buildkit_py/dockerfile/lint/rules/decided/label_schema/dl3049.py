"""An image has the labels that the project asks for.

Looked for in each stage that no other one starts from or copies from, and in those that it starts
from. Labels of base images are known with `--resolve`.

Bad (with label-schema: org.example.team: text):
    FROM debian:12
    LABEL org.example.name="x"

Good (with label-schema: org.example.team: text):
    FROM debian:12 AS base
    LABEL org.example.team="core"
    FROM golang:1.24 AS build
    RUN make
    FROM base
    COPY --from=build /x /x
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lint.facts import File, Stage
from buildkit_py.dockerfile.lint.labels import labels
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.INFO


def check(file: File) -> Iterator[Finding]:
    if not file.settings.label_schema:
        return
    used = _copied_from(file)
    own: dict[int, set[str]] = {}
    for stage, name, _ in labels(file):
        own.setdefault(stage.index, set()).add(name)
    for stage in file.stages:
        if stage.is_parent or stage.index in used:
            continue
        config = file.base_config(stage)
        there = set(config.config.labels) if config else set()
        for each in stage.chain():
            there |= own.get(each.index, set())
        for name, _ in file.settings.label_schema:
            if name not in there:
                yield Finding(stage.origin.image.span, f"the label `{name}` is missing")


def _copied_from(file: File) -> set[int]:
    """Return the numbers of the stages that files are copied out of."""
    names: dict[str, Stage] = {}
    used: set[int] = set()
    for stage in file.stages:
        for instruction in stage.body:
            for flag in instruction.flags if isinstance(instruction, ast.Copy) else ():
                source = (flag.value or "").lower()
                if flag.name == "from" and source in names:
                    used.add(names[source].index)
        names[str(stage.index)] = stage
        if stage.name:
            names[stage.name] = stage
    return used
