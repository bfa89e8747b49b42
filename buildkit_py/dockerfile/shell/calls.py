"""What programs a script calls: wrappers such as `sudo` and `sh -c` seen through.

A `Call` is a program's name and its arguments. `sudo -E apt-get install x` is a call of `sudo`
and one of `apt-get`; `sh -c 'a && b'` is a call of `sh`, one of `a` and one of `b`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from buildkit_py.core.tuples import NamedTuple
from buildkit_py.dockerfile.shell.scan import scan
from buildkit_py.dockerfile.shell.script import Command, Script, ShellWord

_WRAPPERS: dict[str, str] = {
    "builtin": "",
    "busybox": "",
    "chronic": "",
    "command": "",
    "doas": "u C",
    "eatmydata": "",
    "env": "u unset C chdir S",
    "exec": "a",
    "ionice": "c n p",
    "nice": "n adjustment",
    "nohup": "",
    "retry": "d t",
    "setarch": "",
    "stdbuf": "i o e",
    "sudo": "u user g group C D h p r t T U",
    "time": "f o",
    "timeout": "k s kill-after signal",
    "xargs": "a d E I L n P s arg-file delimiter max-args max-procs replace",
}
"""Programs that run what their arguments name, and their options that take a value."""

_ONE_WORD_FIRST = ("timeout", "setarch")
"""Wrappers with one word of their own before the program."""

_SHELLS = frozenset("sh bash ash dash zsh ksh /bin/sh /bin/bash /bin/ash /bin/dash".split())

DEEPEST = 4
"""`sh -c "sh -c '…'"` is followed this far."""


class Call(NamedTuple):
    """One program that is run.

    name: what is run, quotes taken off; never with an expansion in it
    word: the word that names it
    arguments: the words behind it
    wrapped: named by another program's arguments
    number: of the simple command it stands in, counted over the script from 0
    """

    name: str
    word: ShellWord
    arguments: tuple[ShellWord, ...]
    wrapped: bool
    number: int

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(word.value for word in self.arguments)

    def has(self, *words: str) -> bool:
        """Tell whether one of these is among the arguments."""
        return any(word.value in words for word in self.arguments)

    def has_flag(self, *names: str) -> bool:
        """Tell whether an option is given: `-y` is `y`, `--yes` and `--yes=x` are `yes`."""
        return not flags(self.arguments).isdisjoint(names)


def calls(script: Script) -> tuple[Call, ...]:
    """Return all calls of a script, in the order in which they are written."""
    return tuple(
        call
        for index, command in enumerate(script.commands)
        if command.words
        for call in _calls(command.words, index, wrapped=False, depth=0)
    )


def words_call(words: tuple[ShellWord, ...]) -> tuple[Call, ...]:
    """Return the calls of a command that is given as words, without a shell."""
    return tuple(_calls(words, 0, wrapped=False, depth=0)) if words else ()


def _calls(
    words: tuple[ShellWord, ...], index: int, *, wrapped: bool, depth: int
) -> Iterator[Call]:
    first, arguments = words[0], words[1:]
    if not first.literal:
        return
    name = first.value
    yield Call(name, first, arguments, wrapped, index)
    if depth >= DEEPEST:
        return
    valued = _WRAPPERS.get(name)
    if valued is not None:
        inner = _behind_options(arguments, valued.split(), skip=name in _ONE_WORD_FIRST)
        if inner:
            yield from _calls(inner, index, wrapped=True, depth=depth + 1)
    elif name in _SHELLS:
        text = _shell_text(arguments)
        if text is not None:
            for command in _inside(text):
                if command.words:
                    yield from _calls(command.words, index, wrapped=True, depth=depth + 1)


def _behind_options(
    arguments: tuple[ShellWord, ...], valued: list[str], *, skip: bool
) -> tuple[ShellWord, ...]:
    """Return the arguments from the first that is no option, no assignment, no option's value."""
    at = 0
    while at < len(arguments):
        value = arguments[at].value
        if value == "--":
            at += 1
            break
        if value.startswith("-") and len(value) > 1:
            name = value.lstrip("-")
            at += 1 + (name in valued)
        elif "=" in value and value.partition("=")[0].isidentifier():
            at += 1
        else:
            break
    return arguments[at + skip :]


def _shell_text(arguments: tuple[ShellWord, ...]) -> ShellWord | None:
    """Return the word behind `-c` or `-ec` of a shell."""
    for at, word in enumerate(arguments):
        if not word.value.startswith(("-", "+")):
            return None
        if word.value.startswith("-") and not word.value.startswith("--") and "c" in word.value:
            rest = arguments[at + 1 :]
            while len(rest) > 1 and rest[0].value in ("-e", "-x", "-u", "-l", "-i"):
                rest = rest[1:]
            return rest[0] if rest else None
        if word.value.endswith("o") and not word.value.startswith("--"):
            # -o and -euo take a word: the name of what is switched.
            return _shell_text(arguments[at + 2 :])
    return None


def _inside(word: ShellWord) -> tuple[Command, ...]:
    """Return the commands of a script that is one quoted word, at their places around it.

    Only where the quotes are the first and last character and nothing in it is escaped: then the
    offsets are those of the word, moved by one.
    """
    raw, mark = word.raw, word.raw[:1]
    if mark not in ("'", '"') or raw[-1:] != mark or len(raw) < 2 or raw[1:-1] != word.value:
        return ()
    if mark in raw[1:-1]:
        return ()
    shift = word.start + 1
    return tuple(_moved(command, shift) for command in scan(word.value).commands)


def _moved(command: Command, shift: int) -> Command:
    return command._replace(
        words=tuple(
            word._replace(start=word.start + shift, end=word.end + shift) for word in command.words
        ),
        start=command.start + shift,
        end=command.end + shift,
    )


def flags(arguments: Iterable[ShellWord]) -> set[str]:
    """Return the names of options: `--x=y` gives `x`, `-abc` gives `a`, `b` and `c`."""
    found: set[str] = set()
    for word in arguments:
        value = word.value
        if value.startswith("--"):
            found.add(value[2:].partition("=")[0])
        elif value.startswith("-"):
            found.update(value[1:].partition("=")[0])
    return found


def operands(arguments: Iterable[ShellWord], valued: Iterable[str] = ()) -> list[ShellWord]:
    """Return the words that are neither options nor the values of options.

    valued: names of the options that take a value as the next word, without dashes
    """
    names = frozenset(valued)
    out: list[ShellWord] = []
    skip = only_operands = False
    for word in arguments:
        value = word.value
        if skip:
            skip = False
        elif only_operands or not value.startswith("-") or value == "-":
            out.append(word)
        elif value == "--":
            only_operands = True
        else:
            name = value.lstrip("-")
            skip = (name if value.startswith("--") else name[-1:]) in names or name in names
    return out
