"""Every error has an explanation, and every explanation an error."""

from __future__ import annotations

import ast
from collections import Counter

from tests.house.sources import TREE, modules

PAGE = TREE / "docs" / "errors.md"


def codes(module: ast.Module) -> set[str]:
    """Return the codes a module raises: `code = "a/b"` in classes, `code="a/b"` in calls."""
    values = [
        node.value
        for node in ast.walk(module)
        if (isinstance(node, ast.keyword) and node.arg == "code")
        or (
            isinstance(node, ast.Assign)
            and any(isinstance(each, ast.Name) and each.id == "code" for each in node.targets)
        )
    ]
    return {
        value.value
        for value in values
        # A program's text may be called `code`, too.
        if isinstance(value, ast.Constant)
        and isinstance(value.value, str)
        and " " not in value.value
    }


def explained() -> list[str]:
    lines = PAGE.read_text().splitlines()
    return [line.split("`")[1] for line in lines if line.startswith("### `")]


def test_every_code_is_explained_once() -> None:
    raised = {code for _, module in modules() for code in codes(module)}

    assert sorted(raised - set(explained())) == []
    assert sorted(set(explained()) - raised) == []
    assert [code for code, count in Counter(explained()).items() if count > 1] == []


def test_explanations_are_more_than_their_headings() -> None:
    sections = PAGE.read_text().split("### `")[1:]

    assert [section.partition("`")[0] for section in sections if len(section.split()) < 6] == []


def test_codes_are_a_room_and_a_complaint() -> None:
    bad = [code for code in explained() if code != "bug" and len(code.split("/")) != 2]

    assert bad == []
