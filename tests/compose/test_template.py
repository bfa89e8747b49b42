"""Variables in texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.compose.template import TemplateError, substitute, variables

VALUES = {"X": "v", "E": "", "x": "low", "D": "a$X"}


def expand(template: str) -> str:
    errors: list[TemplateError] = []
    text = substitute(template, VALUES.get, errors)
    assert errors == []
    return text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("$X ${X}", "v v"), ("$U|${U}", "|"), ("$$X $$$X", "$X $v"), ("$x$X", "lowv"),
        ("a$ $1 $(c) $} $É $", "a$ $1 $(c) $} $É $"),
        ("${U:-d}${E:-d}${X:-d}", "ddv"), ("${U-d}${E-d}${X-d}", "dv"),
        ("${U:+a}${E:+a}${X:+a}", "a"), ("${U+a}${E+a}${X+a}", "aa"),
        ("${X:?e}${X?e}${E?e}", "vv"), ("${U:-a?b}", "a?b"), ("${U:-{a}}", "{a}"),
        ("${U:-a}b}", "ab}"), ("${U:-${E:-${X}}}", "v"), ("${X:-${U?never read}}", "v"),
        ("${U:-$X}-${U:-x}}", "v-x}"), ("${U:-}", ""), ("$D", "a$X"), ("${U:-é}", "é"),
    ],
)  # fmt: skip
def test_forms(template: str, text: str) -> None:
    assert expand(template) == text


@pytest.mark.parametrize(
    ("template", "faults"),
    [
        ("${X:=d}", ["${X:=d}"]),
        ("a ${} b ${1} c", ["${}", "${1}"]),
        ("${X", ["${X"]),
        ("${ X}", ["${ X}"]),
        ("${U:-a\nb}", ["${U:-a"]),
        ("${U:-${}}", ["${}"]),
    ],
)
def test_malformed_ones_are_all_found(template: str, faults: list[str]) -> None:
    errors: list[TemplateError] = []

    substitute(template, VALUES.get, errors)

    assert [error.text for error in errors] == faults
    assert not any(error.missing for error in errors)


def test_required_ones_say_which_and_why() -> None:
    errors: list[TemplateError] = []

    substitute("${U:?set $X} ${E:?} ${V?}", VALUES.get, errors)

    assert [(e.missing, e.reason) for e in errors] == [("U", "set v"), ("E", ""), ("V", "")]


def test_unset_variables_are_told() -> None:
    unset: list[str] = []

    substitute("$U ${V} ${W:-d} $X", VALUES.get, [], unset.append)

    assert unset == ["U", "V"]


def test_variables_are_found_also_in_defaults() -> None:
    found = variables("$A ${B:-${C:?m}} ${D:+$E} $$F ${G")

    assert [(v.name, v.default, v.alternate, v.required) for v in found] == [
        ("A", "", "", False),
        ("B", "${C:?m}", "", False),
        ("C", "", "", True),
        ("D", "", "$E", False),
        ("E", "", "", False),
    ]


@given(st.text("$X{}:-+?U_1 \né", max_size=30))
def test_any_text_is_expanded_or_explained(template: str) -> None:
    errors: list[TemplateError] = []

    text = substitute(template, VALUES.get, errors)

    assert isinstance(text, str)
    assert all(error.text in template for error in errors)
    assert isinstance(variables(template), list)


@given(st.text("abc{}:-+?_1 \né", max_size=30))
def test_texts_without_dollars_stay(template: str) -> None:
    assert expand(template) == template


@given(st.text(max_size=30))
def test_doubled_dollars_are_plain_text(text: str) -> None:
    assert expand(text.replace("$", "$$")) == text


def test_deep_defaults_are_an_error_and_no_crash() -> None:
    errors: list[TemplateError] = []

    substitute("${A:-" * 500 + "}" * 500, VALUES.get, errors)

    assert errors
