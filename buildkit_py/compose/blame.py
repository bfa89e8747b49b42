"""Complaints of several phases about one project, told at once.

What a phase complains of is taken out of the tree, a service's key or another section's entry as a
whole. So the phases behind it judge what is right so far, and say nothing that follows from a
complaint made before. `broken` are the paths of what was taken out: nobody may miss it.
"""

from __future__ import annotations

from buildkit_py.core.errors import InputError, InputErrors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from buildkit_py.compose.tree import Node, Path


class Blame:
    """What is wrong so far. errors: in the order of the phases; broken: where it was."""

    def __init__(self) -> None:
        self.errors: list[InputError] = []
        self.broken: set[Path] = set()

    def add(self, root: Node, errors: Sequence[InputError]) -> None:
        """Take note of errors, and take out of a tree what they point at."""
        self.errors += errors
        self.take_out(root, errors)

    def take_out(self, root: Node, errors: Sequence[InputError]) -> None:
        """Take out of a tree what errors that are told elsewhere point at."""
        places = {id(error.at) for error in errors if error.at is not None}
        if places:
            self.broken |= _taken_out(root, places)

    def is_broken(self, *path: str) -> bool:
        """Say whether something, or what it is in, was complained of before."""
        return any(path[:end] in self.broken for end in range(1, len(path) + 1))

    def stop(self, *, sort: bool = False) -> None:
        """Raise what is wrong, if anything is. sort: in the order of the files' text."""
        stop_at(sorted(self.errors, key=place_of) if sort else self.errors)

    def during(self, phase: Callable[[], Node]) -> Node:
        """Carry out a phase that raises; what it raises comes behind what is known."""
        try:
            return phase()
        except InputError as error:
            if self.errors:
                self.errors += several(error)
                self.stop(sort=True)
            raise


def several(error: InputError) -> Sequence[InputError]:
    """Return the errors that one stands for."""
    return error.errors if isinstance(error, InputErrors) else (error,)


def stop_at(errors: Sequence[InputError]) -> None:
    """Raise what was collected, if anything was."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise InputErrors(errors)


def part_of(path: Path) -> Path:
    """Return the path of what is taken out for a fault at a path."""
    return path[: 3 if path[:1] == ("services",) else 2]


def place_of(error: InputError) -> tuple[bool, str, int]:
    """Return what complaints are sorted by."""
    at = error.at
    return (True, "", 0) if at is None else (False, at.source.name, at.start)


def _taken_out(root: Node, places: set[int]) -> set[Path]:
    paths = {part_of(path) for path in _blamed(root, (), places)}
    for path in paths:
        node: Node | None = root
        for name in path[:-1]:
            node = None if node is None else node.get(name)
        if node is not None and type(node.value) is dict:
            node.value.pop(path[-1], None)
    return paths


def _blamed(node: Node, path: Path, places: set[int]) -> Iterable[Path]:
    """Give the paths of what is at certain spans: spans by identity, for equal ones are others."""
    if type(node.value) is dict:
        entries = list(node.value.items())
    elif type(node.value) is list:
        entries = [(str(at), each) for at, each in enumerate(node.value)]
    else:
        return
    for name, each in entries:
        if id(each.span) in places or (each.key is not None and id(each.key) in places):
            yield (*path, name)
        else:
            yield from _blamed(each, (*path, name), places)
