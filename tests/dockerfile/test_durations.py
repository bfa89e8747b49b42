"""Durations are those of Go."""

from __future__ import annotations

import pytest

from buildkit_py.dockerfile.durations import duration_ns


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("5s", 5_000_000_000),
        ("1m30s", 90_000_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("-2ms", -2_000_000),
        ("+2us", 2_000),
        ("3µs", 3_000),
        ("1.9ns", 1),
        ("2562047h47m16.854775807s", (1 << 63) - 1),
    ],
)
def test_a_duration_is_read(text: str, nanoseconds: int) -> None:
    assert duration_ns(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "is not a duration"),
        ("s", "is not a duration"),
        (".s", "is not a duration"),
        ("-", "is not a duration"),
        ("5", "has no unit"),
        ("1s5", "has no unit"),
        ("5 s", "has an unknown unit ` s`"),
        ("5sec", "has an unknown unit `sec`"),
        ("2562047h47m16.854775808s", "is too long"),
        ("9" * 5000 + "h", "is too long"),
    ],
)
def test_what_is_none_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        duration_ns(text)
