"""A shell script as data: its simple commands, in the order in which they are written.

What a rule asks of a script is which programs it runs and with what words. So a script is a flat
list of simple commands, wherever they stand: in a pipeline, a loop, a function, `$(…)`. Offsets
count characters of the script's text.
"""

from __future__ import annotations

from buildkit_py.core.tuples import NamedTuple


class ShellWord(NamedTuple):
    """One word.

    raw: as written, quotes and all
    value: with quotes and escapes taken off; an expansion stays as it is written
    literal: the word holds no expansion, so `value` is what the program gets
    """

    raw: str
    value: str
    literal: bool
    start: int
    end: int


class Redirect(NamedTuple):
    """`2> file`: the operator without the number before it, and the word behind it."""

    operator: str
    target: ShellWord


class Command(NamedTuple):
    """A simple command; `words` is empty when it only sets variables.

    before: what stands before it: ``, `;`, `&`, `&&`, `||`, `|`, a line end
    """

    words: tuple[ShellWord, ...]
    assignments: tuple[ShellWord, ...]
    redirects: tuple[Redirect, ...]
    before: str
    start: int
    end: int


class Comment(NamedTuple):
    start: int
    end: int


class Script(NamedTuple):
    """pipes: where `|` or `|&` joins two commands.

    broken: where the text stops being a script, or None; commands before that are kept
    """

    text: str
    commands: tuple[Command, ...]
    pipes: tuple[int, ...]
    comments: tuple[Comment, ...]
    broken: int | None
