"""What the parser takes and no build does: mounts, ports, signals and modes that mean nothing.

BuildKit's checks say so because they follow a build up to its first step. Words with a variable in
them are left to the build.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from buildkit_py.core.errors import InputError
from buildkit_py.core.patterns import later
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.words import expansion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    Checked = TypeVar("Checked")

MOST_PORT = 65_535
_OCTAL = later(r"[0-7]{3,4}")


def unbuildable(instructions: Iterable[ast.Instruction], escape: str) -> Iterator[InputError]:
    """Yield the complaints that a build would end with; what ONBUILD triggers is for a child's."""
    for instruction in instructions:
        match instruction:
            case ast.Run():
                for flag in _constant(instruction.flags, "mount"):
                    yield from _complaint(_mount, flag, escape)
            case ast.Expose():
                for word in instruction.ports:
                    if "$" not in word.text and not _is_port(word.text):
                        yield from _complaint(_port, word, escape)
            case ast.Stopsignal():
                if "$" not in instruction.signal.text:
                    yield from _complaint(_signal, instruction.signal, escape)
            case ast.Copy() | ast.Add():
                for flag in _constant(instruction.flags, "chmod"):
                    if not _OCTAL.fullmatch(flag.value or ""):
                        yield from _complaint(_mode, flag, escape)
            case _:
                pass


def _constant(flags: Iterable[ast.Flag], name: str) -> Iterator[ast.Flag]:
    """Yield the flags of a name whose values hold no variable."""
    return (flag for flag in flags if flag.name == name and "$" not in (flag.value or ""))


def _complaint(
    check: Callable[[Checked, str], None], what: Checked, escape: str
) -> Iterator[InputError]:
    try:
        check(what, escape)
    except InputError as error:
        yield error


def _mount(flag: ast.Flag, escape: str) -> None:
    from buildkit_py.dockerfile.mounts import parse_mount

    parse_mount(flag, lambda text: expansion(text, {}, escape=escape).text)


def _is_port(text: str) -> bool:
    """Tell whether a text is what nearly all write; looking closer costs an import."""
    port, slash, protocol = text.partition("/")
    if slash and protocol.lower() not in ("tcp", "udp", "sctp"):
        return False
    return port.isascii() and port.isdecimal() and int(port[:9]) <= MOST_PORT


def _port(word: ast.Word, escape: str) -> None:
    from buildkit_py.dockerfile.config import exposed_ports

    exposed_ports(expansion(word.text, {}, escape=escape).words, word.span)


def _signal(word: ast.Word, escape: str) -> None:
    from buildkit_py.dockerfile.config import check_signal

    check_signal(expansion(word.text, {}, escape=escape).text, word.span)


def _mode(flag: ast.Flag, escape: str) -> None:
    from buildkit_py.dockerfile.lower_copy import check_mode

    check_mode(flag.value or "", flag)
