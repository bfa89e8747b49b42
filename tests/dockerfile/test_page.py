"""docs/dockerfile.md names every instruction and every flag."""

from __future__ import annotations

import re

import pytest

from buildkit_py.dockerfile.flags import KNOWN
from buildkit_py.dockerfile.instructions import BUILDERS
from tests.house.sources import TREE

PAGE = (TREE / "docs" / "dockerfile.md").read_text()
ROWS = [row.split("|")[1:] for row in PAGE.partition("\n## Where")[0].split("\n") if row[:1] == "|"]


def row_of(keyword: str) -> str:
    rows = [" ".join(row) for row in ROWS if f"`{keyword}`" in row[0]]
    assert len(rows) == 1, keyword
    return rows[0]


@pytest.mark.parametrize("keyword", sorted(BUILDERS))
def test_the_page_has_a_row_with_all_flags(keyword: str) -> None:
    row = row_of(keyword)

    missing = [flag for flag in KNOWN.get(keyword, ()) if f"`--{flag}`" not in row]

    assert missing == []


def test_the_page_names_no_flag_that_is_unknown() -> None:
    known = {flag for flags in KNOWN.values() for flag in flags}

    named = {flag for row in ROWS for flag in re.findall(r"`--([a-z-]+)`", " ".join(row))}

    assert named - known == set()
