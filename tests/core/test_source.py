"""Spans know their line, column and text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.core.source import Source, Span


@given(st.text(), st.data())
def test_a_span_is_found_again_on_its_own_line(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    span = Span(Source("f", text), start, start)

    rest = text[start:].split("\n")[0]
    line = span.source.line(span.line)
    assert line[span.column - 1 :].startswith(rest.removesuffix("\r"))


def test_a_place_is_written_as_compilers_write_it() -> None:
    source = Source("Dockerfile", "FROM a\nRUN b\n")

    assert source.span(7, 10).place == "Dockerfile:2:1"


def test_a_span_of_several_lines_ends_where_its_last_character_is() -> None:
    source = Source("f", "one\ntwo\nthree\n")

    assert (source.span(0, 8).end_line, source.span(0, 9).end_line) == (2, 3)


def test_line_ends_of_either_kind_are_not_part_of_a_line() -> None:
    source = Source("f", "a\r\nb\nc")

    assert [source.line(n) for n in (1, 2, 3)] == ["a", "b", "c"]
