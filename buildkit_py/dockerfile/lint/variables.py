"""Variables, followed through a file as BuildKit follows them when it builds.

Each stage has what its base stage had at its end; what the base image brings is not known. An ARG
counts as declared from its line on, with or without a value. RUN, CMD and ENTRYPOINT are expanded
by the shell inside and play no part, but for the flags of RUN.
Counterpart: moby/buildkit dockerfile2llb/convert.go (dispatch, dispatchArg) and validations.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from buildkit_py.core.patterns import later
from buildkit_py.core.source import Span
from buildkit_py.core.tuples import NamedTuple
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.words import BadWord, expansion
from buildkit_py.runtime.spec import DEFAULT_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.dockerfile.lint.facts import File, Stage

_VARIABLE = later(r"\$(?:\{(\w+)\}?|(\w+))")

MOST_DISTANCE = 2
"""Edits between an unknown name and one that is suggested."""

MOST_SUGGESTIONS = 100
"""Names for which one like them is sought in a file; who needs more has other worries."""

MOST_KNOWN = 1000
"""Names among which one is sought."""


class Miss(NamedTuple):
    """A variable without a value. near: a name like it that has one there."""

    stage: Stage
    instruction: ast.Instruction
    name: str
    span: Span
    near: str | None


class GlobalMiss(NamedTuple):
    """A variable in FROM that no ARG declares. near: a declared name like it."""

    name: str
    span: Span
    near: str | None


class Expanded(NamedTuple):
    """A word's text after expansion, and whether every name in it had a value."""

    text: str
    complete: bool


class Variables(NamedTuple):
    """What was met.

    misses: in stages; global_misses: in FROM
    workdirs: the path of each WORKDIR, by its offset
    images: what each FROM names when no build argument is given, by its stage's number; None
        when that cannot be expanded
    platforms: the value of each `--platform`, by its stage's number
    broken: of words that cannot be expanded, whatever the values of variables are
    """

    misses: list[Miss]
    global_misses: list[GlobalMiss]
    workdirs: Mapping[int, Expanded]
    images: list[str | None]
    platforms: Mapping[int, Expanded]
    broken: list[BadWord]


def follow(file: File) -> Variables:
    """Expand what a build would expand, and keep what was missing."""
    system, machine = file.platform.os, file.platform.architecture
    defaults = {"TARGETSTAGE": (file.stages[-1].name or "") if file.stages else ""}
    for prefix in ("BUILD", "TARGET"):
        defaults |= {
            f"{prefix}PLATFORM": str(file.platform),
            f"{prefix}OS": system,
            f"{prefix}OSVERSION": "",
            f"{prefix}ARCH": machine,
            f"{prefix}VARIANT": file.platform.variant,
        }
    declared = set(defaults)
    found = Variables([], [], {}, [], {}, [])
    for instruction in file.globals:
        for pair in instruction.pairs:
            declared.add(pair.key.text)
            if pair.value is not None:
                value, _ = _expanded(pair.value, defaults, file.escape, found)
                defaults[pair.key.text] = value or ""
    for stage in file.stages:
        _from(file, stage, defaults, declared, found)
    _Walk(file, defaults, found).run()
    return found


def _from(
    file: File, stage: Stage, defaults: Mapping[str, str], declared: set[str], found: Variables
) -> None:
    def read(word: ast.Word) -> tuple[str | None, bool]:
        text, missed = _expanded(word, defaults, file.escape, found)
        spans = name_spans(word) if missed else {}
        for name in missed:
            if name not in declared:
                few = len(found.global_misses) < MOST_SUGGESTIONS
                near = nearest(name, declared) if few else None
                found.global_misses.append(GlobalMiss(name, spans.get(name, word.span), near))
        return text, not missed

    found.images.append(read(stage.origin.image)[0])
    for flag in stage.origin.flags:
        if flag.name == "platform":
            start = flag.span.end - len(flag.value or "")
            span = Span(flag.span.source, start, flag.span.end)
            text, complete = read(ast.Word(flag.value or "", span))
            assert isinstance(found.platforms, dict)
            found.platforms[stage.index] = Expanded(text or "", complete)


def _expanded(
    word: ast.Word, values: Mapping[str, str], escape: str, found: Variables
) -> tuple[str | None, list[str]]:
    """Return the text, None when it cannot be expanded, and the names without a value."""
    missed: dict[str, None] = {}

    def get(name: str) -> str | None:
        value = values.get(name)
        if value is None:
            missed[name] = None
        return value

    try:
        return expansion(word.text, get, escape=escape).text, list(missed)
    except BadWord:
        found.broken.extend(_broken(word, escape=escape, quotes=True))
        return None, list(missed)


def _broken(word: ast.Word, *, escape: str, quotes: bool) -> Iterator[BadWord]:
    """Yield why a word cannot be expanded, if that is so whatever the values are.

    `${name?text}` can, where the name is set.
    """
    try:
        expansion(word.text, lambda name: "x", escape=escape, quotes=quotes, at=word.span)
    except BadWord as error:
        yield error


class _Walk:
    """Follows the stages in their order."""

    def __init__(self, file: File, defaults: Mapping[str, str], found: Variables) -> None:
        self.file = file
        self.defaults = defaults
        self.found = found
        self.ends: list[tuple[dict[str, str], set[str]]] = []
        self.suggested = 0

    def run(self) -> None:
        for stage in self.file.stages:
            if stage.parent is not None:
                values, arguments = self.ends[stage.parent.index]
                values, arguments = dict(values), set(arguments)
            else:
                values, arguments = {"PATH": DEFAULT_PATH}, set()
                config = self.file.bases.get(self.found.images[stage.index] or "")
                for pair in config.config.env if config else ():
                    name, _, value = pair.partition("=")
                    values[name] = value
            for instruction in stage.body:
                self.step(stage, instruction, values, arguments)
            self.ends.append((values, arguments))

    def suggest(self, name: str, values: Mapping[str, str]) -> str | None:
        self.suggested += 1
        return nearest(name, values) if self.suggested <= MOST_SUGGESTIONS else None

    def step(
        self,
        stage: Stage,
        instruction: ast.Instruction,
        values: dict[str, str],
        arguments: set[str],
    ) -> None:
        def expand(word: ast.Word, *, quotes: bool = True) -> Expanded:
            text = word.text
            if "$" not in text and "'" not in text and '"' not in text:
                return Expanded(text, True)
            missed: dict[str, None] = {}

            def get(name: str) -> str | None:
                value = values.get(name)
                if value is None:
                    missed[name] = None
                return value

            escape = self.file.escape if quotes else "\\"
            try:
                text = expansion(text, get, escape=escape, quotes=quotes).text
            except BadWord:  # the text stays as it is written
                self.found.broken.extend(_broken(word, escape=escape, quotes=quotes))
            spans = name_spans(word) if missed else {}
            for name in missed:
                if name not in arguments:
                    self.found.misses.append(
                        Miss(
                            stage,
                            instruction,
                            name,
                            spans.get(name, word.span),
                            self.suggest(name, values),
                        )
                    )
            return Expanded(text, not missed)

        match instruction:
            case ast.Env():
                new = {
                    expand(pair.key).text: expand(pair.value).text
                    for pair in instruction.pairs
                    if pair.value is not None
                }
                values.update(new)
            case ast.Arg():
                for pair in instruction.pairs:
                    name = pair.key.text
                    if pair.value is not None:
                        values[name] = expand(pair.value).text
                    elif name in self.defaults:
                        values[name] = self.defaults[name]
                    arguments.add(name)
            case ast.Workdir():
                assert isinstance(self.found.workdirs, dict)
                self.found.workdirs[instruction.span.start] = expand(instruction.path)
            case _:
                for word in _words(instruction):
                    expand(word)
                for body in instruction.heredocs:
                    if body.expand and isinstance(instruction, ast.Copy | ast.Add):
                        expand(ast.Word(body.span.text, body.span), quotes=False)


def _words(instruction: ast.Instruction) -> Iterator[ast.Word]:
    match instruction:
        case ast.Label():
            for pair in instruction.pairs:
                yield pair.key
                if pair.value is not None:
                    yield pair.value
        case ast.Copy() | ast.Add():
            yield from (word for word in instruction.sources if not word.text.startswith("<<"))
            yield instruction.dest
            yield from _flag_values(instruction, ("chown", "chmod", "checksum", "exclude"))
        case ast.Run():
            yield from _flag_values(instruction, ("mount",))
        case ast.User():
            yield instruction.user
        case ast.Stopsignal():
            yield instruction.signal
        case ast.Volume():
            yield from instruction.paths
        case _:
            return


def _flag_values(instruction: ast.Instruction, names: tuple[str, ...]) -> Iterator[ast.Word]:
    for flag in instruction.flags:
        if flag.name in names and flag.value is not None:
            yield ast.Word(flag.value, flag.span)


def name_spans(word: ast.Word) -> dict[str, Span]:
    """Return where each `$name` or `${name}` of a word stands first."""
    source, start = word.span.source, word.span.start
    found: dict[str, Span] = {}
    for each in _VARIABLE.finditer(word.span.text):
        name = each[1] or each[2]
        found.setdefault(name, Span(source, start + each.start(), start + each.end()))
    return found


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name with the fewest edits to `name`, at most MOST_DISTANCE."""
    best: tuple[int, str] | None = None
    for each in sorted(islice(known, MOST_KNOWN)):
        if each and abs(len(each) - len(name)) <= MOST_DISTANCE:
            distance = _distance(name, each)
            if distance <= MOST_DISTANCE and (best is None or distance < best[0]):
                best = (distance, each)
    return best[1] if best else None


def _distance(a: str, b: str) -> int:
    """Return Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (left != right))
    return row[-1]
