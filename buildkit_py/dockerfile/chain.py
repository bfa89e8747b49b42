"""The state that a stage's instructions thread through: root file system, environment, config.

`Chain` is the one thing in this room that changes: one per stage, copied from its base stage.
Counterpart: BuildKit's dispatchState.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from buildkit_py.core.data import dataclass, field, replace
from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Span
from buildkit_py.core.text import did_you_mean
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.config import with_path
from buildkit_py.dockerfile.paths import clean
from buildkit_py.dockerfile.request import LowerRequest, ResolvedImage
from buildkit_py.dockerfile.stages import SCRATCH, BadReference, Origin, Stages, undefined
from buildkit_py.dockerfile.words import Expansion, expansion
from buildkit_py.graph.ops import Base, Local, Op, Scratch
from buildkit_py.graph.vertex import Input, Vertex
from buildkit_py.oci.image import ContainerConfig, History, ImageConfig
from buildkit_py.oci.platform import Platform

COMMENT = "buildkit.dockerfile.v0"


@dataclass(slots=True)
class Graph:
    """What all stages of one build share: vertices so far, images, warnings.

    vertices: in the order in which they were made
    roots: the finished stages' root file systems, by index
    """

    request: LowerRequest
    escape: str
    stages: Stages
    images: Mapping[tuple[str, Platform], ResolvedImage]
    vertices: list[Vertex] = field(default_factory=list)
    roots: dict[int, Vertex] = field(default_factory=dict)
    bases: dict[tuple[str, Platform], Vertex] = field(default_factory=dict)
    warnings: list[InputError] = field(default_factory=list)
    context: Vertex | None = None
    nothing: Vertex | None = None

    def add(self, vertex: Vertex) -> Vertex:
        self.vertices.append(vertex)
        return vertex

    def local_context(self, at: Span) -> Vertex:
        """Return the one vertex of the build context."""
        if self.context is None:
            self.context = self.add(
                Vertex(Local("context"), name="[internal] load build context", span=at)
            )
        return self.context

    def scratch(self, at: Span) -> Vertex:
        """Return the one vertex of the empty file system."""
        if self.nothing is None:
            self.nothing = self.add(Vertex(Scratch(), name="FROM scratch", span=at))
        return self.nothing

    def image(self, name: str, platform: Platform, at: Span, prefix: str, stage: str) -> Vertex:
        """Return the vertex of an image's file system; equal images share one."""
        found = self.images[name, platform]
        key = (found.manifest, platform)
        if key not in self.bases:
            reference = found.reference
            if "@" not in reference:
                reference = f"{reference}@{found.manifest}"
            op = Base(found.reference, found.manifest, platform)
            vertex = Vertex(op, name=f"{prefix}FROM {reference}", span=at, stage=stage)
            self.bases[key] = self.add(vertex)
        return self.bases[key]


@dataclass(slots=True)
class Chain:
    """One stage while its instructions are read.

    root: the file system so far; base: the image at the bottom, None for scratch
    layers: the vertices above the base, lowest first
    env: what RUN and expansions see: the image's environment and ARGs, the last one wins
    arguments: ARGs declared so far, with the value each had then; None without one
    total, step: how many steps the stage counts, and how many have been
    cmd_set: CMD stood in this stage; onbuild: the instruction at hand is a trigger
    """

    graph: Graph
    label: str
    index: int
    platform: Platform
    root: Vertex
    base: ResolvedImage | None
    config: ContainerConfig
    history: list[History]
    layers: list[Vertex]
    env: dict[str, str]
    arguments: dict[str, str | None]
    author: str | None
    total: int
    named: bool
    step: int = 0
    cmd_set: bool = False
    onbuild: bool = False

    @property
    def cwd(self) -> str:
        return clean(self.config.working_dir)

    def configure(self, **changes: Any) -> None:
        """Replace fields of the container config."""
        self.config = replace(self.config, **changes)

    def prefix(self) -> str:
        """Return `[stage 2/5] ` for the next step, as BuildKit counts them."""
        self.step += 1
        label = f"{self.label} " if self.named else ""
        number = f"{self.step:{len(str(self.total))}d}"
        return f"[{label}{number}/{self.total}] "

    def layer(self, op: Op, inputs: Sequence[Input], text: str, at: Span) -> None:
        """Add a step on top of the root file system that makes a layer."""
        trigger = "ONBUILD " if self.onbuild else ""
        self.root = self.graph.add(
            Vertex(
                op,
                (Input(self.root), *inputs),
                name=f"{self.prefix()}{trigger}{text}",
                span=at,
                stage=self.label,
            )
        )
        self.layers.append(self.root)

    def record(self, text: str, *, layer: bool = False) -> None:
        """Add an entry to the history."""
        self.history.append(History(created_by=text, comment=COMMENT, empty_layer=not layer))

    def expansion(self, word: ast.Word) -> Expansion:
        """Expand a word with what this stage knows, and warn of names nobody declared."""
        result = expansion(word.text, self.env, escape=self.graph.escape, at=word.span)
        self.warn_of_unset(result, word.span)
        return result

    def expand(self, word: ast.Word) -> str:
        return self.expansion(word).text

    def expand_flag(self, flag: ast.Flag) -> str:
        return self.expand(ast.Word(flag.value or "", flag.span))

    def expand_body(self, heredoc: ast.Heredoc) -> str:
        """Expand the body of a heredoc: quotes mean nothing, and `\\` is always the escape."""
        result = expansion(heredoc.content, self.env, quotes=False, at=heredoc.span)
        self.warn_of_unset(result, heredoc.span)
        return result.text

    def warn_of_unset(self, result: Expansion, at: Span) -> None:
        for each in result.unset:
            name = each.name
            if name not in self.arguments and (name[0].isalpha() or name[0] == "_"):
                hint = did_you_mean(name, [*self.env, *self.arguments])
                if hint is None and name in self.graph.stages.arguments:
                    hint = f"declare `ARG {name}` in this stage to bring it in"
                self.graph.warnings.append(undefined(name, each.at or at, hint))

    def check_above(self, origin: Origin | None, verb: str, flag: ast.Flag) -> None:
        """Raise BadReference when files are taken from a stage that is not built yet."""
        if origin is None or origin.stage is None or origin.stage in self.graph.roots:
            return
        name = self.graph.stages[origin.stage].label
        raise BadReference(
            f"cannot {verb} from stage `{name}`",
            at=flag.span,
            label=f"it needs to be defined before current stage `{self.label}`",
            hint=f"move stage `{name}` above this one",
        )

    def source(self, origin: Origin | None, at: Span) -> Vertex:
        """Return the vertex that COPY or a mount reads from."""
        if origin is None:
            return self.graph.local_context(at)
        if origin.stage is not None:
            return self.graph.roots[origin.stage]
        if origin.image == SCRATCH:
            return self.graph.scratch(at)
        platform = self.graph.request.platform
        return self.graph.image(origin.image, platform, origin.span, "", self.label)

    def finished(self) -> ImageConfig:
        """Return the image config of the stage as it stands."""
        base = self.base.config if self.base else None
        platform = self.platform
        if self.graph.request.platform_given:
            platform = self.graph.request.platform
        elif base is not None and base.platform.architecture:
            platform = base.platform
        return ImageConfig(
            platform,
            self.config,
            author=self.author,
            diff_ids=base.diff_ids if base else (),
            history=tuple(self.history),
            extra=base.extra if base else {},
        )


def begin(graph: Graph, index: int, below: Chain | None, *, total: int, named: bool) -> Chain:
    """Start a stage: from the stage below, from its base image, or from nothing.

    total: how many steps the stage counts; named: their names say of which stage they are
    """
    stage = graph.stages[index]
    if below is not None:
        return replace(
            below,
            label=stage.label,
            index=index,
            # Triggers are not inherited. The environment is, with the image's on top: ENV wins
            # over an ARG of the stage below.
            config=replace(below.config, on_build=()),
            env=below.env | _env(below.config.env),
            arguments=dict(below.arguments),
            history=list(below.history),
            layers=list(below.layers),
            total=total,
            named=named,
            step=0,
            cmd_set=False,
        )
    platform = graph.request.platform
    base = None
    config = ContainerConfig(working_dir="/")
    if stage.image != SCRATCH:
        platform = stage.platform or platform
        base = graph.images[stage.image, platform]
        config = replace(base.config.config, on_build=())
        if config.working_dir:
            config = replace(config, working_dir=clean(config.working_dir))
    config = with_path(config)
    chain = Chain(
        graph=graph,
        label=stage.label,
        index=index,
        platform=platform,
        root=graph.scratch(stage.origin.image.span),
        base=base,
        config=config,
        history=list(base.config.history) if base else [],
        layers=[],
        env=_env(config.env),
        arguments={},
        author=base.config.author if base else None,
        total=total,
        named=named,
    )
    if base is not None:
        prefix = chain.prefix()
        if base.config.diff_ids:
            span = stage.origin.span
            chain.root = graph.image(stage.image, platform, span, prefix, stage.label)
    return chain


def _env(env: Sequence[str]) -> dict[str, str]:
    pairs = (each.partition("=") for each in env)
    return {name: value for name, _, value in pairs}
