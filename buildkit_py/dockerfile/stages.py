"""The stages of a Dockerfile: what they start from, what they take from one another.

Names are compared without case; where two stages have one name, a later instruction means the
nearest one above it. Only what the target reaches matters: nothing else is resolved or run.
Counterpart: BuildKit dockerfile2llb/convert.go (toDispatchState, toCommand).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Source, Span
from buildkit_py.core.text import did_you_mean
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.errors import BeforeFrom, NoStage
from buildkit_py.dockerfile.mounts import source_stage
from buildkit_py.dockerfile.words import expansion
from buildkit_py.oci.platform import Platform, parse_platform

SCRATCH = "scratch"


class BadStage(InputError):
    """A stage cannot be what it says: nothing to start from, a bad platform, no stage at all."""

    code = "dockerfile/bad-stage"


class UnknownTarget(InputError):
    code = "dockerfile/unknown-target"


class BadReference(InputError):
    """`--from` names a stage that is not there yet, or goes in a circle."""

    code = "dockerfile/bad-from"


@dataclass(frozen=True, slots=True)
class Stage:
    """FROM and what follows.

    image: what FROM names, expanded
    base: the index of the stage it starts from, None when `image` is an image or `scratch`
    platform: None when FROM has no `--platform`
    """

    index: int
    origin: ast.From
    name: str | None
    image: str
    base: int | None
    platform: Platform | None
    body: tuple[ast.Instruction, ...]

    @property
    def label(self) -> str:
        return self.name or f"stage-{self.index}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where COPY --from or a mount takes files from: a stage's index, or else an image's name."""

    stage: int | None
    image: str
    span: Span


@dataclass(frozen=True, slots=True)
class Stages:
    """All stages, and the global ARGs: their values, and every name that FROM may use."""

    stages: tuple[Stage, ...]
    arguments: Mapping[str, str]
    warnings: tuple[InputError, ...]

    def __getitem__(self, index: int) -> Stage:
        return self.stages[index]

    def named(self, name: str, before: int) -> int | None:
        """Return the nearest stage of that name above stage `before`, else one below it."""
        name = name.lower()
        found = [stage.index for stage in self.stages if stage.name == name]
        above = [index for index in found if index < before]
        return above[-1] if above else found[-1] if found else None

    def target(self, name: str | None) -> int:
        """Return the index of the stage to build: the last one, or the one named."""
        if not name:
            return len(self.stages) - 1
        found = self.named(name, len(self.stages))
        if found is None:
            names = [stage.name for stage in self.stages if stage.name]
            hint = did_you_mean(name, names)
            if hint is None:
                hint = (
                    f"the stages are {', '.join(f'`{each}`' for each in names)}"
                    if names
                    else "no stage has a name: give it one with `FROM … AS name`"
                )
            raise UnknownTarget(
                f"target stage `{name}` could not be found",
                at=on_command_line("--target", name),
                label="no stage has this name",
                hint=hint,
            )
        return found


def read_stages(
    file: ast.Dockerfile, build_args: Mapping[str, str], predefined: Mapping[str, str]
) -> Stages:
    """Split a file into stages and expand what FROM says.

    predefined: the platform's arguments and TARGETSTAGE; a build argument overrides any
    Raises InputError; problems in FROM lines are raised for unreachable stages, too.
    """
    arguments = {name: build_args.get(name, value) for name, value in predefined.items()}
    declared: set[str] = set(arguments)
    warnings: list[InputError] = []
    blocks: list[tuple[ast.From, list[ast.Instruction]]] = []
    for instruction in file.instructions:
        if isinstance(instruction, ast.From):
            blocks.append((instruction, []))
        elif blocks:
            blocks[-1][1].append(instruction)
        elif isinstance(instruction, ast.Arg):
            for name, value in _global_argument(instruction, arguments, build_args, file.escape):
                declared.add(name)
                if value is not None:
                    arguments[name] = value
        else:
            raise BeforeFrom(instruction.keyword.span)
    if not blocks:
        raise NoStage(file.source.span(0, 0))
    stages: list[Stage] = []
    for origin, body in blocks:
        stages.append(
            _stage(origin, tuple(body), stages, arguments, declared, file.escape, warnings)
        )
    return Stages(tuple(stages), arguments, tuple(warnings))


def _global_argument(
    instruction: ast.Arg,
    arguments: Mapping[str, str],
    build_args: Mapping[str, str],
    escape: str,
) -> Iterator[tuple[str, str | None]]:
    for pair in instruction.pairs:
        name = pair.key.text
        if name in build_args:
            yield name, build_args[name]
        elif pair.value is not None:
            word = pair.value
            yield name, expansion(word.text, arguments, escape=escape, at=word.span).text
        else:
            yield name, None


def _stage(
    origin: ast.From,
    body: tuple[ast.Instruction, ...],
    above: Sequence[Stage],
    arguments: Mapping[str, str],
    declared: set[str],
    escape: str,
    warnings: list[InputError],
) -> Stage:
    def expanded(text: str, span: Span) -> tuple[str, str | None]:
        result = expansion(text, arguments, escape=escape, at=span)
        hint = None
        for each in result.unset:
            name = each.name
            if name in declared:
                hint = f"`ARG {name}` has no value: give it one, or use `--build-arg {name}=…`"
            else:
                near = did_you_mean(name, arguments)
                hint = near or f"declare `ARG {name}` before the first FROM"
            if name not in declared:
                warnings.append(undefined(name, each.at or span, hint))
        return result.text, hint

    word = origin.image
    image, hint = expanded(word.text, word.span)
    if not image:
        raise BadStage(
            f"the base name `{word.text}` is blank",
            at=word.span,
            label="expands to nothing",
            hint=hint or "give the argument a default, or a value with `--build-arg`",
        )
    platform = None
    for flag in origin.flags:
        if flag.name == "platform":
            text, hint = expanded(flag.value or "", flag.span)
            if not text:
                raise BadStage(
                    f"the platform `{flag.value or ''}` is blank",
                    at=flag.span,
                    label="expands to nothing",
                    hint=hint or "write it as `linux/amd64`",
                )
            platform = _platform(text, flag.span)
    name = origin.name.text.lower() if origin.name else None
    base = next((stage.index for stage in reversed(above) if stage.name == image), None)
    if base is None and image != SCRATCH:
        near = next((stage for stage in above if stage.name == image.lower()), None)
        if near is not None:
            raise BadStage(
                f"there is no stage `{image}`",
                at=word.span,
                label="stage names are in lower case here",
                hint=f"did you mean `{near.name}`?",
            )
    return Stage(len(above), origin, name, image, base, platform, body)


def _platform(text: str, at: Span) -> Platform:
    try:
        return parse_platform(text)
    except InputError as error:
        raise BadStage(error.message, at=at, hint=error.hint) from None


def on_command_line(option: str, value: str) -> Span:
    """Return the place of an option's value, for complaints about what is in no file."""
    return Source(option, value).span(0, len(value))


def undefined(name: str, at: Span, hint: str | None) -> InputError:
    """The warning that a variable has no value and was never declared."""
    return InputError(
        f"the variable `{name}` is not defined",
        code="dockerfile/undefined-variable",
        at=at,
        label="expands to nothing",
        hint=hint,
    )


def origins(stages: Stages, index: int, instruction: ast.Instruction) -> tuple[Origin, ...]:
    """Return what an instruction of stage `index` takes from other stages and images, in order.

    Raises BadReference for a wrong number and for a variable.
    """
    found: list[Origin] = []
    for flag in instruction.flags:
        if isinstance(instruction, ast.Copy) and flag.name == "from" and flag.value:
            found.append(copy_origin(stages, index, flag))
        elif isinstance(instruction, ast.Run) and flag.name == "mount":
            name = source_stage(flag)
            if name is not None:
                found.append(mount_origin(stages, index, flag, name))
    return tuple(found)


def copy_origin(stages: Stages, index: int, flag: ast.Flag) -> Origin:
    """Return what `COPY --from=…` in stage `index` means."""
    name = flag.value or ""
    result = expansion(name, {}, at=flag.span)
    if result.unset or result.text != name:
        raise BadReference(
            "variable expansion is not supported for `--from`",
            at=flag.span,
            hint="define a stage for it: `FROM $IMAGE AS name` with a global ARG",
        )
    if name.isascii() and name.isdecimal():
        number = int(name) if len(name) < 10 else len(stages.stages)
        if number >= len(stages.stages):
            most = len(stages.stages) - 1
            raise BadReference(
                f"invalid stage index `{name}`",
                at=flag.span,
                label="there is no such stage",
                hint=f"stages are numbered from 0 to {most}; a name is safer",
            )
        return Origin(number, "", flag.span)
    return Origin(stages.named(name, index), name, flag.span)


def mount_origin(stages: Stages, index: int, flag: ast.Flag, name: str) -> Origin:
    """Return what `RUN --mount=from=…` in stage `index` means: never a stage's number."""
    if name.isascii() and name.isdecimal():
        raise BadReference(
            f"`from={name}` of a mount is no stage",
            at=flag.span,
            hint="a mount takes a stage's name, not its number: write `FROM … AS name`",
        )
    return Origin(stages.named(name, index), name, flag.span)


def check_circles(stages: Stages, taken: Sequence[Sequence[Origin]]) -> None:
    """Raise BadReference when stages take files from one another in a circle.

    taken: for each stage, what its instructions take
    """
    done: set[int] = set()
    for first in range(len(taken)):
        path: list[tuple[int, Iterator[Origin]]] = [(first, iter(taken[first]))]
        open_stages = {first}
        while path and first not in done:
            current, rest = path[-1]
            origin = next(rest, None)
            if origin is None:
                path.pop()
                open_stages.discard(current)
                done.add(current)
            elif origin.stage is not None and origin.stage in open_stages:
                chain = [index for index, _ in path]
                chain = [*chain[chain.index(origin.stage) :], origin.stage]
                raise BadReference(
                    f"circular dependency detected on stage: `{stages[origin.stage].label}`",
                    at=origin.span,
                    label=" needs ".join(stages[index].label for index in chain),
                )
            elif origin.stage is not None and origin.stage not in done:
                path.append((origin.stage, iter(taken[origin.stage])))
                open_stages.add(origin.stage)


def reachable(stages: Stages, target: int, taken: Sequence[Sequence[Origin]]) -> tuple[int, ...]:
    """Return the stages that the target needs, itself included, in the order of the file."""
    found: set[int] = set()
    left = [target]
    while left:
        index = left.pop()
        if index in found:
            continue
        found.add(index)
        base = stages[index].base
        left += [base] if base is not None else []
        left += [origin.stage for origin in taken[index] if origin.stage is not None]
    return tuple(sorted(found))
