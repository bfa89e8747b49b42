"""Comments that leave findings out. All forms that people have in their files are read:

    # hadolint ignore=DL3006,DL3008      the next instruction
    # hadolint global ignore=DL3006      the file
    # hadolint stage ignore=DL3006       the stage whose FROM comes next
    # hadolint shell=powershell          read in facts.py: what runs RUN where no SHELL says it
    # check=skip=StageNameCasing         at the top the file, elsewhere the next instruction
    # pybuild: ignore[DL3006] reason     the next instruction; ignore[all] for every rule
    # pybuild: ignore-file[DL3006]       the file

Kinder than the tools they come from: empty lines and other comments may stand between, several
add up, a reason may follow, an unknown code spoils nothing (it is a finding of its own), and
inside a continued instruction a comment speaks for the line below it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from buildkit_py.core.errors import InputError
from buildkit_py.core.patterns import later
from buildkit_py.core.source import Source, Span
from buildkit_py.core.tuples import NamedTuple
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.lines import SPACES
from buildkit_py.dockerfile.lint.check_options import Check, read_check

_HADOLINT = later(r"hadolint\s+(?:(global|stage)\s+)?ignore\s*=\s*([\w, \t]+)")
_CHECK = later(r"check\s*=\s*(\w+=.*)", re.IGNORECASE)
_OWN = later(r"pybuild:\s*(ignore|ignore-file)\[([^\]\n]*)\]")
_WORD = later(r"\w+")


class Pragma(NamedTuple):
    """One comment.

    scope: `file`, `stage` or `next`
    wrong: what of it means nothing; unread: a part that nobody reads
    """

    scope: str
    codes: frozenset[str]
    places: tuple[Span, ...]
    span: Span
    wrong: tuple[InputError, ...] = ()
    unread: Span | None = None


class Suppressions:
    """Which findings the comments of a file leave out: none, unless they are `enabled`.

    errors: about instructions that could not be read; comments above those mean no others
    """

    def __init__(
        self, file: ast.Dockerfile, errors: Sequence[InputError] = (), *, enabled: bool = True
    ) -> None:
        directive = file.directives.get("check")
        self._directive = directive.span if directive is not None else None
        self.check = read_check(directive.span) if directive is not None else Check()
        self.pragmas: list[Pragma] = []
        self._everywhere = set(self.check.skip) if enabled else set()
        self._instructions = file.instructions
        self._starts = [each.span.start for each in file.instructions]
        self._by_instruction: dict[int, set[str]] = {}
        self._by_line: dict[int, set[str]] = {}
        if enabled and "#" in file.source.text:
            unread = [each.at.end_line for each in errors if each.at]
            for span, above, line in _comments(file, unread):
                self._take(span, above, line)

    def _take(self, span: Span, above: int | None, line: int) -> None:
        """Read one comment, but not the directive again.

        above: the number of the instruction below it; None inside of one, and then
        line: the number of the line below that is neither empty nor a comment
        """
        if self._directive is not None and self._directive.line == span.line:
            return
        for pragma in read_comment(span):
            self.pragmas.append(pragma)
            if pragma.scope == "file":
                self._everywhere |= pragma.codes
            elif above is None:
                self._by_line.setdefault(line, set()).update(pragma.codes)
            elif pragma.scope == "stage":
                for number in self._stage_from(above):
                    self._by_instruction.setdefault(number, set()).update(pragma.codes)
            else:
                self._by_instruction.setdefault(above, set()).update(pragma.codes)

    def _stage_from(self, number: int) -> Iterator[int]:
        """Yield the instructions of the stage that begins at, or holds, an instruction."""
        first = True
        for each in range(number, len(self._instructions)):
            if isinstance(self._instructions[each], ast.From) and not first:
                return
            first = False
            yield each

    def hides(self, span: Span, *codes: str | None) -> bool:
        """Tell whether a finding there, with one of these codes, is left out."""
        if _holds(self._everywhere, codes):
            return True
        if self._by_instruction:
            number = bisect_right(self._starts, span.start) - 1
            if _holds(self._by_instruction.get(max(number, 0), ()), codes):
                return True
        return bool(self._by_line) and _holds(self._by_line.get(span.line, ()), codes)


def _holds(ignored: set[str] | tuple[()], codes: tuple[str | None, ...]) -> bool:
    return bool(ignored) and ("all" in ignored or any(code in ignored for code in codes))


def read_comment(span: Span) -> Iterator[Pragma]:
    """Yield what one comment, `#` included, leaves out."""
    text = span.text.lstrip("#" + SPACES)
    offset = span.end - len(text)
    if found := _OWN.match(text):
        scope = "file" if found[1] == "ignore-file" else "next"
        yield _pragma(scope, found, 2, offset, span)
    elif found := _HADOLINT.match(text):
        scope = {"global": "file", "stage": "stage"}.get(found[1] or "", "next")
        yield _pragma(scope, found, 2, offset, span)
    elif found := _CHECK.match(text):
        check = read_check(span.source.span(offset + found.start(1), offset + found.end(1)))
        yield Pragma("next", check.skip, check.places, span, check.wrong, check.unread)


def _pragma(scope: str, found: re.Match[str], group: int, offset: int, span: Span) -> Pragma:
    """Return the pragma whose codes are words of a group, up to the first word without a comma."""
    start = found.start(group)
    codes: list[str] = []
    places: list[Span] = []
    at = 0
    text = found[group]
    for word in _WORD.finditer(text):
        between = text[at : word.start()]
        if codes and "," not in between:
            break  # a reason
        at = word.end()
        codes.append("all" if word[0].lower() == "all" else word[0])
        first = offset + start + word.start()
        places.append(Span(span.source, first, first + len(word[0])))
    return Pragma(scope, frozenset(codes), tuple(places), span)


def _comments(
    file: ast.Dockerfile, unread: Sequence[int]
) -> Iterator[tuple[Span, int | None, int]]:
    """Yield the comments of a file: place, number of the instruction below, line below.

    unread: lines of instructions that are not in the file's
    """
    source = file.source
    line = 1
    for number, instruction in enumerate(file.instructions):
        first = instruction.span.line
        if unread:
            line = max([line, *(each + 1 for each in unread if each < first)])
        for span in _comment_lines(source, line, first):
            yield span, number, 0
        bodies = instruction.heredocs
        end = bodies[0].span.start if bodies else instruction.span.end
        last = source.line_number(max(instruction.span.start, end - 1))
        waiting: list[Span] = []
        for each in range(first + 1, last + 1):
            comment = _comment(source, each)
            if comment is not None:
                waiting.append(comment)
            elif waiting and source.line(each).strip(SPACES):
                yield from ((span, None, each) for span in waiting)
                waiting.clear()
        line = instruction.span.end_line + 1
    # Behind the last instruction only what is said of the whole file matters.
    last = len(file.instructions) - 1
    for span in _comment_lines(source, line, len(source.starts) + 1):
        if "global" in span.text or "ignore-file" in span.text:
            yield span, last, 0


def _comment_lines(source: Source, first: int, end: int) -> Iterator[Span]:
    for number in range(first, end):
        comment = _comment(source, number)
        if comment is not None:
            yield comment


def _comment(source: Source, number: int) -> Span | None:
    """Return the comment that a line is, from its `#` on."""
    text = source.line(number)
    body = text.lstrip(SPACES)
    if not body.startswith("#"):
        return None
    start = source.starts[number - 1]
    return Span(source, start + len(text) - len(body), start + len(text))
