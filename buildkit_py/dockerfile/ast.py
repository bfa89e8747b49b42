"""The AST of a Dockerfile: one frozen class per instruction, a span on every word.

A `Word` is text before any expansion, with quotes and escapes as written; where it runs over a
continuation, `text` is the joined text and `span` covers the source from first to last character.
`parse.py` builds these from what Lark returns; `resolve.py` and `lower.py` read them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from buildkit_py.core.data import dataclass
from buildkit_py.core.source import Source, Span


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Flag:
    """`--name` or `--name=value`; quotes and escapes are processed, as BuildKit does.

    value: None when there is no `=`
    original: as written, with leading dashes
    """

    name: str
    value: str | None
    original: str
    span: Span


@dataclass(frozen=True, slots=True)
class Heredoc:
    """`<<EOF … EOF`. `content` ends with a line end unless empty; tabs are cut when `chomp`.

    expand: no part of the delimiter was quoted
    fd: the number before `<<`, 0 when there is none
    span: the body, without the line that ends it; so its text still has the tabs
    """

    name: str
    content: str
    expand: bool
    chomp: bool
    fd: int
    span: Span


@dataclass(frozen=True, slots=True)
class ShellForm:
    """The raw rest of the line (joined); heredoc bodies are in the instruction's `heredocs`.

    starts, places: where the pieces of a continued line start, in `text` and in the source; the
        first start may be negative; empty when the line is not continued
    """

    text: Word
    starts: tuple[int, ...] = ()
    places: tuple[int, ...] = ()

    def part(self, start: int, end: int) -> Span:
        """Return where the characters from `start` to before `end` of the text stand."""
        span = self.text.span
        if not self.starts:
            return Span(span.source, span.start + start, span.start + end)
        first = self._place(start)
        return Span(span.source, first, self._place(end - 1) + 1 if end > start else first)

    def _place(self, offset: int) -> int:
        piece = bisect_right(self.starts, offset) - 1
        return self.places[piece] + offset - self.starts[piece]


@dataclass(frozen=True, slots=True)
class ExecForm:
    """A JSON array; each word's text is the decoded string."""

    words: tuple[Word, ...]


Command = ShellForm | ExecForm


@dataclass(frozen=True, slots=True)
class Pair:
    """`key=value` of ENV, LABEL and ARG; `value` is None for `ARG key`."""

    key: Word
    value: Word | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What every instruction has.

    keyword: as written, such as `RUN` or `run`
    span: from the keyword (or an empty continued line above it) to the last character, heredoc
        bodies included; its lines are BuildKit's
    original: the logical line: continuations joined, comments dropped, trimmed at the right
    comments: the comment block directly above, without `#`
    """

    keyword: Word
    flags: tuple[Flag, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    span: Span
    original: str
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """name: lower case, as BuildKit keeps it; None when the stage has none.

    words: all one or three words as written
    """

    image: Word
    name: Word | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    command: ExecForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Instruction):
    """sources may be words `<<EOF`, whose bodies are in `heredocs`, in order. `json`: JSON form."""

    sources: tuple[Word, ...]
    dest: Word
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Instruction):
    sources: tuple[Word, ...]
    dest: Word
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    pairs: tuple[Pair, ...]
    legacy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    pairs: tuple[Pair, ...]
    legacy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    ports: tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    paths: tuple[Word, ...]
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    user: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    path: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopsignal(Instruction):
    signal: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    name: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """kind: `CMD` or `NONE` as written; command: None for `NONE`."""

    kind: Word
    command: Command | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild(Instruction):
    """trigger: the nested instruction; trigger_text: what the image config stores for it."""

    trigger: Instruction
    trigger_text: str


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A parsed file. Instructions before the first FROM are ARGs (resolve.py checks that).

    directives: `syntax`, `escape`, `check` as given, keys in lower case
    """

    source: Source
    escape: str
    directives: Mapping[str, Word]
    instructions: tuple[Instruction, ...]
