"""What rules ask of a file, found out once: its stages, and what every RUN calls.

Nothing here complains: a file that would not build, but could be parsed, has facts as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from buildkit_py.core.data import dataclass, field
from buildkit_py.core.source import Source, Span
from buildkit_py.core.tuples import NamedTuple
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.errors import DockerfileError
from buildkit_py.dockerfile.ignore import Patterns
from buildkit_py.dockerfile.lint.settings import NOTHING, Settings
from buildkit_py.dockerfile.lint.variables import Variables, follow
from buildkit_py.dockerfile.shell.calls import Call, calls, words_call
from buildkit_py.dockerfile.shell.scan import scan
from buildkit_py.dockerfile.shell.script import Script, ShellWord
from buildkit_py.oci.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.oci.image import ImageConfig

_POSIX_SHELLS = ("sh", "bash", "ash", "dash", "zsh", "ksh", "mksh", "busybox")
_FOREIGN_SHELLS = ("pwsh", "powershell", "cmd")
MANY = 1 << 30
"""More commands than any rule counts to."""


class Base(NamedTuple):
    """What FROM names, taken apart as written: variables stay.

    span: the whole word
    """

    text: str
    name: str
    tag: str | None
    digest: str | None
    span: Span


@dataclass(eq=False)
class Stage:
    """One stage.

    name: in lower case
    parent: the stage it starts from; root: the first stage of that chain
    shell: what SHELL, or a comment, has set at its end, here or in its parents
    names: of the variables that ENV and ARG set, here or in its parents
    """

    index: int
    origin: ast.From
    base: Base
    name: str | None
    parent: Stage | None
    body: list[ast.Instruction] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    is_last: bool = False
    is_parent: bool = False
    shell: tuple[str, ...] | None = None
    names: frozenset[str] = frozenset()

    @cached_property
    def root(self) -> Stage:
        *_, first = self.chain()
        return first

    def chain(self) -> Iterator[Stage]:
        """Yield this stage, the one it starts from, and so on."""
        stage: Stage | None = self
        while stage is not None:
            yield stage
            stage = stage.parent

    def of(self, kind: type[ast.Instruction]) -> list[ast.Instruction]:
        return [each for each in self.body if isinstance(each, kind)]

    @property
    def is_kept(self) -> bool:
        """Whether its layers are part of an image, not only files copied out of it."""
        return self.is_last or self.is_parent


class Program(NamedTuple):
    """A call and its place in the file."""

    call: Call
    place: Callable[[int, int], Span]

    @property
    def name(self) -> str:
        return self.call.name

    @property
    def span(self) -> Span:
        """The whole call."""
        end = max([self.call.word.end, *(word.end for word in self.call.arguments)])
        return self.place(self.call.word.start, end)

    @property
    def name_span(self) -> Span:
        return self.of(self.call.word)

    def of(self, word: ShellWord) -> Span:
        return self.place(word.start, word.end)


@dataclass(eq=False)
class Run:
    """A RUN, also one that ONBUILD triggers.

    outer: the instruction of the file: the RUN itself, or its ONBUILD
    shell: what SHELL, or a comment, has set for it, or None; of this stage and its parents
    """

    run: ast.Run
    outer: ast.Instruction
    stage: Stage
    shell: tuple[str, ...] | None

    @property
    def is_trigger(self) -> bool:
        return self.outer is not self.run

    @cached_property
    def is_posix(self) -> bool:
        """Whether its text is a script for a shell of the POSIX family."""
        if self.shell and any(foreign in self.shell[0].lower() for foreign in _FOREIGN_SHELLS):
            return False
        body = self._own_body
        return body is None or _interpreter(body.content) in (*_POSIX_SHELLS, "")

    @cached_property
    def scripts(self) -> list[tuple[Script, Callable[[int, int], Span]]]:
        """Its texts, scanned, with what turns offsets into places."""
        command = self.run.command
        if isinstance(command, ast.ExecForm) or not self.is_posix:
            return []
        if self._own_body is not None:
            return [_scanned(self._own_body)]
        script = scan(command.text.text)
        found: list[tuple[Script, Callable[[int, int], Span]]] = [(script, command.part)]
        bodies = {body.name: body for body in self.run.heredocs}
        for each in script.commands:
            if each.words and each.words[0].value.rpartition("/")[2] in _POSIX_SHELLS:
                # sh <<EOF: what stands below is its script.
                found += [
                    _scanned(bodies[redirect.target.value])
                    for redirect in each.redirects
                    if redirect.operator in ("<<", "<<-") and redirect.target.value in bodies
                ]
        return found

    @cached_property
    def programs(self) -> list[Program]:
        """What it calls, in the order of the text."""
        command = self.run.command
        if isinstance(command, ast.ExecForm):
            words, place = _exec_words(command)
            return [Program(call, place) for call in words_call(words)]
        return [Program(call, place) for script, place in self.scripts for call in calls(script)]

    @cached_property
    def pipes(self) -> list[Span]:
        return [place(at, at + 1) for script, place in self.scripts for at in script.pipes]

    @cached_property
    def command_count(self) -> int:
        """How many simple commands its text has; `[ … ]` is a condition and none.

        Many, when it is no script that we can read.
        """
        if isinstance(self.run.command, ast.ExecForm):
            return 1
        if not self.is_posix:
            return MANY
        return sum(
            not command.words or command.words[0].raw != "["
            for script, _ in self.scripts
            for command in script.commands
        )

    @cached_property
    def mount_flags(self) -> list[tuple[ast.Flag, Mapping[str, str]]]:
        """Each `--mount` and its fields, by their long names."""
        from buildkit_py.dockerfile.mounts import fields

        found: list[tuple[ast.Flag, Mapping[str, str]]] = []
        for flag in self.run.flags:
            if flag.name == "mount":
                try:
                    found.append((flag, {name: value or "" for name, value in fields(flag)}))
                except DockerfileError:
                    continue
        return found

    @property
    def mounts(self) -> list[Mapping[str, str]]:
        """The fields of each `--mount`, by their long names."""
        return [fields for _, fields in self.mount_flags]

    def is_cached(self, *places: str) -> bool:
        """Tell whether a cache or tmpfs mount covers, or lies in, one of these directories."""
        return any(
            mount.get("type", "").lower() in ("cache", "tmpfs")
            and any(part in mount.get("target", "") for part in places)
            for mount in self.mounts
        )

    @cached_property
    def _own_body(self) -> ast.Heredoc | None:
        """The heredoc that is the whole script: `RUN <<EOF`."""
        command = self.run.command
        if isinstance(command, ast.ExecForm) or not self.run.heredocs:
            return None
        text = command.text.text
        first = self.run.heredocs[0]
        # `<<EOF` alone: no command is named that would read it.
        script = scan(text)
        return None if script.commands or "<<" not in text else first


def _scanned(body: ast.Heredoc) -> tuple[Script, Callable[[int, int], Span]]:
    span = body.span

    def place(start: int, end: int) -> Span:
        return Span(span.source, span.start + start, span.start + end)

    return scan(span.text), place


def _interpreter(text: str) -> str:
    """Return the name of the program that `#!` names, or an empty text."""
    line = text.partition("\n")[0]
    if not line.startswith("#!"):
        return ""
    words = line[2:].split()
    if words and words[0].endswith("/env"):
        words = [word for word in words[1:] if not word.startswith("-")]
    return words[0].rpartition("/")[2] if words else ""


def _exec_words(
    command: ast.ExecForm,
) -> tuple[tuple[ShellWord, ...], Callable[[int, int], Span]]:
    """Return the strings of an exec form as words whose offsets are those of the file."""
    words = tuple(
        ShellWord(each.span.text, each.text, True, each.span.start, each.span.end)
        for each in command.words
    )
    source = command.words[0].span.source if command.words else Source("", "")
    return words, lambda start, end: Span(source, start, end)


class File:
    """A parsed file and what rules ask of it.

    ignore: what .dockerignore leaves out of the context, if that is known
    empty_bases: take an unknown base image as one with an empty config, as BuildKit's checks do
        when they cannot pull; else what an image may bring is given the benefit of the doubt
    bases: the configs of base images that are known, by the name FROM gives
    settings: what the project decides
    platform: what is built for
    """

    def __init__(
        self,
        dockerfile: ast.Dockerfile,
        *,
        ignore: Patterns | None = None,
        empty_bases: bool = False,
        bases: Mapping[str, ImageConfig] | None = None,
        platform: Platform | None = None,
        settings: Settings = NOTHING,
    ) -> None:
        self.dockerfile = dockerfile
        self.source = dockerfile.source
        self.escape = dockerfile.escape
        self.instructions = dockerfile.instructions
        self.ignore = ignore
        self.empty_bases = empty_bases
        self.bases = bases or {}
        self.settings = settings
        self.platform = platform or Platform("linux", "amd64")

    @cached_property
    def folded(self) -> str:
        """The text in lower case."""
        return self.source.text.lower()

    @cached_property
    def stages(self) -> list[Stage]:
        stages: list[Stage] = []
        by_name: dict[str, Stage] = {}
        for instruction in self.instructions:
            if isinstance(instruction, ast.From):
                base = read_base(instruction.image)
                parent = by_name.get(base.text.lower())
                if parent is not None:
                    parent.is_parent = True
                name = instruction.name.text.lower() if instruction.name else None
                stage = Stage(len(stages), instruction, base, name, parent)
                stages.append(stage)
                if name:
                    by_name[name] = stage
            elif stages:
                stages[-1].body.append(instruction)
        if stages:
            stages[-1].is_last = True
        for stage in stages:
            _follow(stage)
        return stages

    @cached_property
    def globals(self) -> list[ast.Arg]:
        """The ARGs before the first FROM."""
        found = []
        for instruction in self.instructions:
            if isinstance(instruction, ast.From):
                break
            if isinstance(instruction, ast.Arg):
                found.append(instruction)
        return found

    @cached_property
    def variables(self) -> Variables:
        return follow(self)

    def base_config(self, stage: Stage) -> ImageConfig | None:
        """Return the config of the image that a stage's chain starts from, if it is known."""
        return self.bases.get(self.variables.images[stage.root.index] or "")

    @cached_property
    def runs(self) -> list[Run]:
        return [run for stage in self.stages for run in stage.runs]

    @cached_property
    def programs(self) -> Mapping[str, Sequence[tuple[Run, Program]]]:
        """All that is called, by name."""
        found: dict[str, list[tuple[Run, Program]]] = {}
        for run in self.runs:
            for program in run.programs:
                found.setdefault(program.name, []).append((run, program))
        return found

    def calls(self, *names: str) -> Iterator[tuple[Run, Program]]:
        """Yield the calls of these programs; of several, in the order of the names."""
        for name in names:
            yield from self.programs.get(name, ())


def _follow(stage: Stage) -> None:
    """Find what a stage runs, and what holds at its end; its parent is done already."""
    shell = _shell_named(stage.origin) or (stage.parent.shell if stage.parent else None)
    names: set[str] = set()
    for instruction in stage.body:
        if instruction.comments:
            shell = _shell_named(instruction) or shell
        if isinstance(instruction, ast.Env | ast.Arg):
            names.update(pair.key.text for pair in instruction.pairs)
        if isinstance(instruction, ast.Shell):
            shell = tuple(word.text for word in instruction.command.words)
        elif isinstance(instruction, ast.Run):
            stage.runs.append(Run(instruction, instruction, stage, shell))
        elif isinstance(instruction, ast.Onbuild) and isinstance(instruction.trigger, ast.Run):
            stage.runs.append(Run(instruction.trigger, instruction, stage, shell))
    stage.shell = shell
    inherited = stage.parent.names if stage.parent else frozenset()
    stage.names = inherited | names if names else inherited


def _shell_named(instruction: ast.Instruction) -> tuple[str, ...] | None:
    """Return the shell that a comment above tells: `# hadolint shell=powershell`."""
    for comment in instruction.comments:
        name, _, value = comment.partition("=")
        if name.split() == ["hadolint", "shell"] and value.strip():
            return (value.split()[0],)
    return None


def read_base(word: ast.Word) -> Base:
    """Take the name of an image apart; a colon before the last slash belongs to a port.

    What stands in `${name:-default}` parts nothing.
    """
    text = word.text
    hidden = without_braces(text)
    at = hidden.find("@")
    end = len(text) if at < 0 else at
    colon = hidden.find(":", hidden.rfind("/", 0, end) + 1, end)
    return Base(
        text,
        text[: end if colon < 0 else colon],
        None if colon < 0 else text[colon + 1 : end],
        None if at < 0 else text[at + 1 :],
        word.span,
    )


def without_braces(text: str) -> str:
    """Blank out what stands in `${…}`, and keep the length."""
    out, depth = [], 0
    for at, character in enumerate(text):
        if character == "{" and text[at - 1 : at] == "$":
            depth += 1
        out.append(" " if depth else character)
        if character == "}" and depth:
            depth -= 1
    return "".join(out)


def first_of_run(found: Iterable[tuple[Run, Program]]) -> Iterator[tuple[Run, Program]]:
    """Keep only the first call of each RUN: one complaint a RUN is enough."""
    seen: set[int] = set()
    for run, program in found:
        if id(run) not in seen:
            seen.add(id(run))
            yield run, program


def first_calls(file: File, *names: str) -> Iterator[tuple[Run, Program]]:
    """Yield the first call of one of these programs in each RUN."""
    return first_of_run(file.calls(*names))
