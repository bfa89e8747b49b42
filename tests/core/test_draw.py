"""Errors as people see them."""

from __future__ import annotations

import pytest

from buildkit_py.core.draw import draw
from buildkit_py.core.errors import BuildkitError, InputError, InputErrors
from buildkit_py.core.source import Source


def test_a_place_an_excerpt_and_a_hint() -> None:
    source = Source("Dockerfile", "FROM alpine\nRUM echo hi\n")
    error = InputError(
        "unknown instruction `RUM`",
        code="dockerfile/unknown-instruction",
        at=source.span(12, 15),
        label="not a Dockerfile instruction",
        hint="did you mean `RUN`?",
    )

    assert (
        draw(error)
        == """\
error[dockerfile/unknown-instruction]: unknown instruction `RUM`
 --> Dockerfile:2:1
  |
2 | RUM echo hi
  | ^^^ not a Dockerfile instruction

hint: did you mean `RUN`?"""
    )


def test_a_span_of_several_lines_is_underlined_on_each() -> None:
    source = Source("f", "RUN one \\\n    two\nX\n")

    assert (
        draw(InputError("no", code="x/y", at=source.span(0, 17), label="here"))
        == """\
error[x/y]: no
 --> f:1:1
  |
1 | RUN one \\
  | ^^^^^^^^^
2 |     two
  |     ^^^ here"""
    )


def test_a_long_span_shows_its_first_lines() -> None:
    source = Source("f", "a\n" * 20)

    drawn = draw(InputError("no", code="x/y", at=source.span(0, 39)))

    assert drawn.splitlines()[-1] == "  | … 14 more lines"


def test_a_long_line_is_cut_around_the_fault() -> None:
    source = Source("f", "RUN " + "a" * 10_000 + "FAULT" + "b" * 10_000 + "\n")

    drawn = draw(InputError("no", code="x/y", at=source.span(10_004, 10_009)))

    excerpt, under = drawn.splitlines()[3:5]
    assert max(map(len, drawn.splitlines())) < 200
    assert excerpt[under.index("^") : under.index("^") + 5] == "FAULT"
    assert under.count("^") == 5


def test_several_errors_are_all_drawn() -> None:
    errors = InputErrors([InputError("one", code="x/a"), InputError("two", code="x/b")])

    assert draw(errors) == "error[x/a]: one\n\nerror[x/b]: two"


def test_what_could_command_a_terminal_is_escaped() -> None:
    source = Source("f\x1b[2J", "RUN \x1b[31m\tx\n")
    error = InputError(
        "bad \x1b]0;title\x07", code="x/y", at=source.span(4, 11), label="\x1b[2Jx", hint="\x1bc"
    )

    drawn = draw(error)

    assert "\x1b" not in drawn
    assert "\x07" not in drawn
    assert "RUN \\x1b[31m    x" in drawn


@pytest.mark.parametrize("style", ["error", "hint"])
def test_colours_are_the_painter_s(style: str) -> None:
    painted: list[str] = []

    def paint(text: str, given: str) -> str:
        painted.append(given)
        return f"<{text}>"

    drawn = draw(BuildkitError("no", code="x/y", hint="do it"), paint=paint)

    assert style in painted
    assert drawn == "<error[x/y]>: no\n\n<hint>: do it"


def test_a_span_at_the_end_of_an_empty_text_is_drawn() -> None:
    assert "--> f:1:1" in draw(InputError("empty", code="x/y", at=Source("f", "").span(0, 0)))
