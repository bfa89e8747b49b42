"""Plain scalars as go-yaml reads them, numbers as Go prints them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.compose.scalars import float32, go_float, go_text, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("on", "on"), ("y", "y"), ("True", True), ("FALSE", False),
        ("", None), ("~", None), ("null", None), ("nULL", "nULL"),
        ("010", 8), ("0o10", 8), ("0x1F", 31), ("0b11", 3), ("1_000", 1000), ("+1", 1), ("-7", -7),
        ("08", 8.0), ("1:30", "1:30"), ("22:22", "22:22"), ("1.10", 1.1), ("1e3", 1000.0),
        (".5", 0.5), ("1e400", "1e400"), ("_1", "_1"), ("0x", "0x"), ("-", "-"), ("1-2", "1-2"),
        ("18446744073709551615", 18446744073709551615), ("18446744073709551616", 2.0**64),
        ("2001-12-14", "2001-12-14 00:00:00 +0000 UTC"), ("2001-13-14", "2001-13-14"),
        ("2001-02-29", "2001-02-29"), ("2001-12-14x", "2001-12-14x"),
        ("2001-12-14T21:59:43.10-05:00", "2001-12-14 21:59:43.1 -0500 -0500"),
    ],
)  # fmt: skip
def test_what_a_plain_scalar_means(text: str, value: object) -> None:
    found = resolve(text)

    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.1, "1.1"), (1000000.0, "1e+06"), (1234567.0, "1.234567e+06"), (12000.0, "12000"),
        (1.0, "1"), (0.0001, "0.0001"), (0.00001, "1e-05"), (-0.0, "-0"), (1e21, "1e+21"),
        (123456789.5, "1.234567895e+08"), (100000.5, "100000.5"), (0.05, "0.05"),
        (2.0**64, "1.8446744073709552e+19"), (True, "true"), (None, "<nil>"), (7, "7"),
        (float("inf"), "+Inf"), (float("nan"), "NaN"),
    ],
)  # fmt: skip
def test_values_as_go_prints_them(value: object, text: str) -> None:
    assert go_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_printed_float_is_the_same_float(value: float) -> None:
    assert float(go_float(value)) == value


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_has_at_most_nine_digits(value: float) -> None:
    text = go_float(value, bits=32)

    assert float32(float(text)) == value
    assert len(text.partition("e")[0].strip("-").replace(".", "").strip("0")) <= 9


@given(st.text(max_size=12))
def test_resolving_never_fails(text: str) -> None:
    assert resolve(text) is None or type(resolve(text)) in (bool, int, float, str)
