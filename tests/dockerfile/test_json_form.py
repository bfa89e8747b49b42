"""JSON arrays are told from words as Go's encoding/json does it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.dockerfile.json_form import MOST_DEPTH, decode, stranger

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)  # fmt: skip


@given(st.text())
def test_a_string_is_decoded(text: str) -> None:
    literal = json.dumps(text)

    assert decode(literal) == text
    assert decode(json.dumps(text, ensure_ascii=False)) == text


@pytest.mark.parametrize("literal", [r'"\ud83d"', r'"\ude00\ud83d"', '"\udcff"'])
def test_half_a_character_is_replaced(literal: str) -> None:
    assert set(decode(literal)) == {"\ufffd"}


@given(st.lists(VALUES, max_size=5))
def test_the_first_element_that_is_no_string_is_found(values: list[object]) -> None:
    text = json.dumps(values, indent=1)
    strange = [value for value in values if not isinstance(value, str)]

    at = stranger(text)

    if strange:
        assert at is not None
        assert json.JSONDecoder().raw_decode(text, at)[0] == strange[0]
    else:
        assert at is None


@given(st.lists(VALUES, min_size=1, max_size=3), st.data())
def test_a_damaged_array_is_no_json(values: list[object], data: st.DataObject) -> None:
    text = json.dumps(values)
    at = data.draw(st.integers(0, len(text) - 1))
    broken = text[:at] + data.draw(st.sampled_from(["", "x", '"', ",", "]"])) + text[at + 1 :]
    try:
        json.loads(broken)
    except ValueError:
        assert stranger(broken) is None


@pytest.mark.parametrize(
    "text",
    ["[1", "[1]]", "[1,]", "[NaN]", "[Infinity]", "[01]", "[1e999]", "[1 2]", "{}", "1", "",
     "['a']", '["a"] # 1', "[1]\v", "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1)],
)  # fmt: skip
def test_what_go_would_not_read_is_no_json(text: str) -> None:
    assert stranger(text) is None


def test_depth_is_no_matter() -> None:
    depth = MOST_DEPTH

    assert stranger("[" * depth + "]" * depth) == 1
