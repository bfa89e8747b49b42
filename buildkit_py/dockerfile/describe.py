"""A lowered build as text: for people who ask what would be done, and for tests.

    #3 [build 2/5] RUN make
        on #2
        reads #1 /src
        run args=["/bin/sh","-c","make"] cwd="/src" ...

Parts that are empty are left out. Arguments and environment are shown with their values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from buildkit_py.core.draw import draw
from buildkit_py.dockerfile.request import Lowered
from buildkit_py.graph.vertex import Input


def describe(lowered: Lowered) -> str:
    """Return the plan of a build, with a line end."""
    return "\n".join(_lines(lowered)) + "\n"


def _lines(lowered: Lowered) -> Iterator[str]:
    numbers = {id(vertex): number for number, vertex in enumerate(lowered.vertices, 1)}
    for vertex in lowered.vertices:
        yield f"#{numbers[id(vertex)]} {vertex.name}"
        for each in vertex.inputs:
            yield f"    {_input(each, numbers)}"
        components = vertex.op.components()
        yield f"    {components.pop('kind')}{_components(components)}"
    yield f"root #{numbers[id(lowered.root)]}"
    yield f"layers{''.join(f' #{numbers[id(vertex)]}' for vertex in lowered.layers)}"
    yield f"base {lowered.base.reference if lowered.base else 'none'}"
    config = lowered.config
    yield f"platform {config.platform}"
    if config.author:
        yield f"author {config.author}"
    yield f"config {_json(config.config.to_data())}"
    for entry in config.history:
        yield f"history {'empty' if entry.empty_layer else 'layer'} {_json(entry.created_by)}"
    for warning in lowered.warnings:
        yield draw(warning, level="warning")


def _input(source: Input, numbers: Mapping[int, int]) -> str:
    number = numbers[id(source.vertex)]
    if source.select is None:
        return f"on #{number}"
    without = f" without {' '.join(source.exclude)}" if source.exclude else ""
    return f"reads #{number} {' '.join(source.select)}{without}"


def _components(components: Mapping[str, Any]) -> str:
    return "".join(f" {name}={_json(value)}" for name, value in components.items() if value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
