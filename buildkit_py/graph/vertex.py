"""A step of the build graph."""

from __future__ import annotations

from buildkit_py.core.data import dataclass, field
from buildkit_py.core.source import Span
from buildkit_py.graph.ops import Op


@dataclass(frozen=True, slots=True)
class Input:
    """What a vertex reads from another one.

    select: None for the whole root file system, which is never hashed, only trusted by its key;
        else the paths (wildcards allowed) whose content decides
    exclude: patterns, in the dialect of ignore files, relative to each selected source
    """

    vertex: Vertex
    select: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Vertex:
    """One step: what it does and what it reads. Compared by identity.

    name: what people see, such as `[build 2/5] RUN make`
    span: the instruction, for errors
    stage: the stage's name or number, for `--no-cache-filter`
    """

    op: Op
    inputs: tuple[Input, ...] = ()
    name: str = field(default="", compare=False)
    span: Span | None = field(default=None, compare=False, repr=False)
    stage: str = ""
