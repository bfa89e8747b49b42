"""docs/lint.md has the page of every rule; `pytest --accept` writes them anew."""

from __future__ import annotations

import pytest

from buildkit_py.cli.lint import FAIL_ON, FORMATS
from buildkit_py.cli.lint_toml import KEYS
from buildkit_py.dockerfile.lint.formats import FORMATS as SHOWN
from buildkit_py.dockerfile.lint.pages import markdown
from buildkit_py.dockerfile.lint.registry import all_rules
from buildkit_py.dockerfile.lint.select import PRESETS
from tests.house.sources import TREE

PAGE = TREE / "docs" / "lint.md"
MARK = "<!-- written by tests/house/test_lint_page.py from the rules -->\n"


def test_every_rule_has_its_section(request: pytest.FixtureRequest) -> None:
    by_hand, mark, pages = PAGE.read_text().partition(MARK)
    wanted = "\n" + "\n".join(markdown(rule) for rule in all_rules())
    if request.config.getoption("--accept"):
        PAGE.write_text(by_hand + MARK + wanted)
        return

    assert mark, f"{PAGE} has lost its mark"
    assert pages == wanted, "the pages of rules differ; run pytest --accept"


def test_every_word_one_can_choose_is_explained() -> None:
    by_hand = PAGE.read_text().partition(MARK)[0]
    words = (*FORMATS, *FAIL_ON, *PRESETS, *KEYS)

    assert [word for word in words if f"`{word}`" not in by_hand] == []
    assert FORMATS == SHOWN
