"""From the AST to the graph of steps: the whole way through a Dockerfile.

    read the stages, find the target
    repeat: which stages does it reach, which images do those need (ONBUILD may add to both)
    walk each reachable stage: its instructions thread a `Chain`, and some of them make vertices

Metadata instructions make no vertex, so they cannot break the cache. Pure: images are found by
the resolver that is passed in. Counterpart: BuildKit dockerfile2llb/convert.go.
"""

from __future__ import annotations

from collections.abc import Mapping

from buildkit_py.core.errors import Bug, InputError, InputErrors
from buildkit_py.core.source import Span
from buildkit_py.core.text import did_you_mean
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile import lower_metadata as metadata
from buildkit_py.dockerfile.chain import Chain, Graph, begin
from buildkit_py.dockerfile.lower_copy import lower_copy
from buildkit_py.dockerfile.lower_run import PROXIES, lower_run
from buildkit_py.dockerfile.request import (
    ImageRequest,
    Lowered,
    LowerRequest,
    ResolvedImage,
    Resolver,
)
from buildkit_py.dockerfile.stages import (
    SCRATCH,
    Origin,
    Stages,
    check_circles,
    on_command_line,
    origins,
    reachable,
    read_stages,
)
from buildkit_py.graph.vertex import Vertex
from buildkit_py.oci.platform import Platform
from buildkit_py.oci.reference import BadReference as BadImageName
from buildkit_py.oci.reference import parse_reference

__all__ = [
    "ImageRequest", "LowerRequest", "Lowered", "ResolvedImage", "Resolver", "lower",
]  # fmt: skip

COUNTED = (ast.Run, ast.Copy, ast.Add, ast.Workdir)
"""Instructions that count as steps, besides a FROM of an image."""

UNDECLARED = ("SOURCE_DATE_EPOCH",)
"""Build arguments that mean something without an ARG, besides proxies and BUILDKIT_*."""


class TriggerFailed(InputError):
    """A trigger kept in the base image cannot be used."""

    code = "dockerfile/bad-trigger"


def lower(file: ast.Dockerfile, request: LowerRequest, resolve: Resolver) -> Lowered:
    """Return the graph of a Dockerfile's target stage, and the image config it ends with.

    Raises InputError, or InputErrors where several instructions are wrong; and whatever
    `resolve` raises.
    """
    if request.named_contexts:
        raise InputError(
            "named contexts (`--build-context`) are not supported yet", code="dockerfile/not-yet"
        )
    stages = read_stages(file, request.build_args, predefined(file, request))
    target = stages.target(request.target)
    found = _Found(stages, request, resolve, file.escape)
    wanted = found.settle(target)
    graph = Graph(request, file.escape, stages, found.images)
    graph.warnings += stages.warnings
    graph.warnings += _undeclared(file, request, found)
    chains: dict[int, Chain] = {}
    errors: list[InputError] = []
    for index in wanted:
        chains[index] = _walk(graph, index, chains, found.triggers.get(index, ()), errors)
        graph.roots[index] = chains[index].root
    if errors:
        raise errors[0] if len(errors) == 1 else InputErrors(errors)
    last = chains[target]
    if request.labels:
        last.configure(labels={**last.config.labels, **request.labels})
    return Lowered(
        root=last.root,
        base=last.base,
        layers=tuple(last.layers),
        config=last.finished(),
        vertices=_needed(graph.vertices, last.root),
        warnings=tuple(graph.warnings),
    )


def predefined(file: ast.Dockerfile, request: LowerRequest) -> dict[str, str]:
    """Return the global arguments that every Dockerfile has."""
    names = [each.name for each in file.instructions if isinstance(each, ast.From)]
    last = names[-1].text.lower() if names and names[-1] else ""
    arguments = {"TARGETSTAGE": request.target or last or "default"}
    for kind, platform in (("BUILD", request.build_platform), ("TARGET", request.platform)):
        arguments |= {
            f"{kind}PLATFORM": str(platform),
            f"{kind}OS": platform.os,
            f"{kind}OSVERSION": "",
            f"{kind}ARCH": platform.architecture,
            f"{kind}VARIANT": platform.variant,
        }
    return arguments


class _Found:
    """What is known of the reachable stages: images and triggers, round by round."""

    def __init__(
        self, stages: Stages, request: LowerRequest, resolve: Resolver, escape: str
    ) -> None:
        self.stages = stages
        self.request = request
        self.resolve = resolve
        self.escape = escape
        self.images: dict[tuple[str, Platform], ResolvedImage] = {}
        self.triggers: dict[int, tuple[ast.Instruction, ...]] = {}
        self.taken: list[list[Origin]] = []
        errors: list[InputError] = []
        for stage in stages.stages:
            self.taken.append([])
            for instruction in stage.body:
                try:
                    self.taken[-1] += origins(stages, stage.index, instruction)
                except InputError as error:
                    errors.append(error)
        if errors:
            raise errors[0] if len(errors) == 1 else InputErrors(errors)
        check_circles(stages, self.taken)

    def settle(self, target: int) -> tuple[int, ...]:
        """Resolve until nothing new is needed; return the reachable stages."""
        while True:
            wanted = reachable(self.stages, target, self.taken)
            fresh = [index for index in wanted if index not in self.triggers]
            self._resolve(wanted)
            for index in fresh:
                self._add_triggers(index)
            if not fresh:
                return wanted
            check_circles(self.stages, self.taken)

    def _resolve(self, wanted: tuple[int, ...]) -> None:
        asked: dict[tuple[str, Platform], ImageRequest] = {}
        for index in wanted:
            stage = self.stages[index]
            if stage.base is None and stage.image != SCRATCH:
                platform = stage.platform or self.request.platform
                span = stage.origin.image.span
                asked.setdefault((stage.image, platform), self._ask(stage.image, platform, span))
            for origin in self.taken[index]:
                if origin.stage is None and origin.image != SCRATCH:
                    key = (origin.image, self.request.platform)
                    asked.setdefault(key, self._ask(*key, origin.span))
        asked = {key: each for key, each in asked.items() if key not in self.images}
        if asked:
            answers = self.resolve(list(dict.fromkeys(asked.values())))
            for key, each in asked.items():
                self.images[key] = answers[each]

    def _ask(self, name: str, platform: Platform, span: Span) -> ImageRequest:
        try:
            reference = parse_reference(name)
        except BadImageName as error:
            names = [stage.name for stage in self.stages.stages if stage.name]
            hint = did_you_mean(name, names) or error.hint
            raise InputError(error.message, code=error.code, at=span, hint=hint) from None
        return ImageRequest(reference.name, platform, span)

    def _add_triggers(self, index: int) -> None:
        stage = self.stages[index]
        triggers: list[ast.Instruction] = []
        if stage.base is not None:
            below = self.stages[stage.base]
            triggers = [each.trigger for each in below.body if isinstance(each, ast.Onbuild)]
        elif stage.image != SCRATCH:
            platform = stage.platform or self.request.platform
            image = self.images[stage.image, platform]
            triggers = [
                self._parse_trigger(text, image, stage.origin)
                for text in image.config.config.on_build
            ]
        self.triggers[index] = tuple(triggers)
        for trigger in triggers:
            self.taken[index] += origins(self.stages, index, trigger)

    def _parse_trigger(self, text: str, image: ResolvedImage, origin: ast.From) -> ast.Instruction:
        from buildkit_py.dockerfile.parse import parse_instruction

        try:
            trigger = parse_instruction(text, name=f"ONBUILD of {image.reference}")
        except InputErrors as error:
            raise error.errors[0] from None
        if isinstance(trigger, (ast.Onbuild, ast.From, ast.Maintainer)):
            raise TriggerFailed(
                f"`{trigger.keyword.text}` cannot be a trigger",
                at=origin.image.span,
                label="this image has it as ONBUILD",
            )
        return trigger


def _walk(
    graph: Graph,
    index: int,
    chains: Mapping[int, Chain],
    triggers: tuple[ast.Instruction, ...],
    errors: list[InputError],
) -> Chain:
    """Lower one stage; complaints go to `errors`, so that one build shows them all."""
    stage = graph.stages[index]
    steps = sum(isinstance(each, COUNTED) for each in (*triggers, *stage.body))
    from_image = stage.base is None and stage.image != SCRATCH
    chain = begin(
        graph,
        index,
        chains[stage.base] if stage.base is not None else None,
        total=steps + from_image,
        named=len(graph.stages.stages) > 1,
    )
    for instruction, onbuild in [*((t, True) for t in triggers), *((i, False) for i in stage.body)]:
        chain.onbuild = onbuild
        try:
            lower_instruction(chain, instruction)
        except InputError as error:
            errors.append(error)
    return chain


def lower_instruction(chain: Chain, instruction: ast.Instruction) -> None:
    """Apply one instruction to the chain of its stage."""
    match instruction:
        case ast.Run():
            lower_run(chain, instruction)
        case ast.Copy() | ast.Add():
            lower_copy(chain, instruction)
        case ast.Workdir():
            metadata.lower_workdir(chain, instruction)
        case ast.Env():
            metadata.lower_env(chain, instruction)
        case ast.Arg():
            metadata.lower_arg(chain, instruction)
        case ast.Label():
            metadata.lower_label(chain, instruction)
        case ast.Cmd():
            metadata.lower_cmd(chain, instruction)
        case ast.Entrypoint():
            metadata.lower_entrypoint(chain, instruction)
        case ast.Shell():
            metadata.lower_shell(chain, instruction)
        case ast.User():
            metadata.lower_user(chain, instruction)
        case ast.Expose():
            metadata.lower_expose(chain, instruction)
        case ast.Volume():
            metadata.lower_volume(chain, instruction)
        case ast.Stopsignal():
            metadata.lower_stopsignal(chain, instruction)
        case ast.Healthcheck():
            metadata.lower_healthcheck(chain, instruction)
        case ast.Maintainer():
            metadata.lower_maintainer(chain, instruction)
        case ast.Onbuild():
            metadata.lower_onbuild(chain, instruction)
        case _:
            raise Bug(f"{type(instruction).__name__} cannot stand in a stage")


def _undeclared(file: ast.Dockerfile, request: LowerRequest, found: _Found) -> list[InputError]:
    """Warn of build arguments that no ARG asks for: BuildKit drops them without a word."""
    instructions = [
        *file.instructions,
        *(each for some in found.triggers.values() for each in some),
    ]
    declared = {
        pair.key.text for each in instructions if isinstance(each, ast.Arg) for pair in each.pairs
    }
    known = declared | set(predefined(file, request)) | set(UNDECLARED)
    return [
        InputError(
            f"the build argument `{name}` is used nowhere",
            code="dockerfile/undeclared-build-arg",
            at=on_command_line("--build-arg", name),
            label="no ARG declares it",
            hint=did_you_mean(name, declared) or f"declare `ARG {name}` where it is used",
        )
        for name in request.build_args
        if name not in known and name.upper() not in PROXIES and not name.startswith("BUILDKIT_")
    ]


def _needed(vertices: list[Vertex], root: Vertex) -> tuple[Vertex, ...]:
    """Return the vertices that `root` needs, in the order in which they were made."""
    needed: set[int] = set()
    left = [root]
    while left:
        vertex = left.pop()
        if id(vertex) not in needed:
            needed.add(id(vertex))
            left += [each.vertex for each in vertex.inputs]
    return tuple(vertex for vertex in vertices if id(vertex) in needed)
