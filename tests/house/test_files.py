"""Every module says what it is, and stays small enough to hold one idea."""

from __future__ import annotations

import ast

from tests.house.sources import TREE, modules

MOST_LINES = 550
"""About 500, as CONTRIBUTING says: above it, a file holds two ideas."""


def test_every_module_says_what_it_is() -> None:
    silent = [str(path) for path, module in modules() if not ast.get_docstring(module)]
    silent += [
        str(path) for path, module in modules(TREE / "tests") if not ast.get_docstring(module)
    ]

    assert silent == []


def test_no_file_holds_two_ideas() -> None:
    lengths = {str(path): len((TREE / path).read_text().splitlines()) for path, _ in modules()}

    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_every_room_is_tested() -> None:
    rooms = {path.parts[1] for path, _ in modules() if len(path.parts) > 2}

    untested = {room for room in rooms if not list((TREE / "tests" / room).rglob("test_*.py"))} - {
        "engine"
    }

    assert untested == set()
