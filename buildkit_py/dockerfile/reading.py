"""What the grammar says of one logical line: grammar.py makes it, instructions.py reads it."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_py.core.data import dataclass
from buildkit_py.core.tuples import NamedTuple


class Piece(NamedTuple):
    """A token: its terminal's name, its text, and its offsets in the text of the line.

    A tuple, since a file has a hundred of them, and frozen data classes cost three times more.
    """

    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Reading:
    """One line as the grammar has it.

    tail: words of any kind, in order
    json: the tail is a JSON array
    trigger: what ONBUILD triggers
    """

    keyword: Piece
    flags: Sequence[Piece]
    tail: Sequence[Piece]
    json: bool
    trigger: Reading | None
