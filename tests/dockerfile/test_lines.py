"""Logical lines know where each of their characters was written."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.core.source import Source
from buildkit_py.dockerfile.lines import Line, Opening, Reader

PARTS = st.lists(
    st.sampled_from(
        [
            "\n",
            "\n",
            "\\\n",
            "`\n",
            "\\ \t\n",
            "\r\n",
            "# c\n",
            " ",
            "\t",
            "a",
            "bc",
            "\\",
            "`",
            "é",
        ]
        + ["# escape=`\n", "<<E", "\nE\n", "\ufeff", "\xa0"]
    ),
    max_size=30,
)


def read(text: str, *openings: Opening) -> tuple[Reader, list[Line]]:
    reader = Reader(Source("f", text), lambda line, escape: list(openings))
    return reader, list(reader.lines())


@settings(deadline=None)
@given(PARTS)
def test_every_character_is_found_where_it_was_written(parts: list[str]) -> None:
    _, lines = read("".join(parts))

    for line in lines:
        written = [line.span(at, at + 1) for at in range(len(line.text))]
        assert [each.text for each in written] == list(line.text)
        assert [each.start for each in written] == sorted({each.start for each in written})
        assert line.begin <= line.span(0, 0).start <= line.end


@settings(deadline=None)
@given(PARTS)
def test_lines_do_not_overlap(parts: list[str]) -> None:
    _, lines = read("".join(parts))

    for above, below in pairwise(lines):
        assert above.begin < above.end <= below.begin


def test_a_stretch_over_a_continuation_ends_at_its_last_character() -> None:
    _, (line,) = read("RUN a\\\nb\\\n c")

    assert line.text == "RUN ab c"
    assert line.span(4, 6).text == "a\\\nb"
    assert line.span(4, 5).text == "a"
    assert line.span(5, 6).text == "b"


@pytest.mark.parametrize(
    ("text", "escape", "names"),
    [
        ("", "\\", []),
        ("# escape=`", "`", ["escape"]),
        ("#  ESCAPE\t= `  \r\n", "`", ["escape"]),
        ("\ufeff# syntax=a\n# check=skip=all\n# escape=`\nX", "`", ["syntax", "check", "escape"]),
        ("\n# escape=`", "\\", []),
        ("# a comment\n# escape=`", "\\", []),
        ("#\n# escape=`", "\\", []),
        ("# escape=\n", "\\", []),
        ("# other=1\n# escape=`", "\\", []),
        ("X\n# escape=`", "\\", []),
        ("// escape=`", "\\", []),
    ],
)
def test_directives_stand_first_or_nowhere(text: str, escape: str, names: list[str]) -> None:
    reader, _ = read(text)

    assert (reader.escape, list(reader.directives)) == (escape, names)


def test_a_directive_is_no_comment_of_the_first_instruction() -> None:
    _, (line,) = read("# syntax=a\n# about\nFROM b")

    assert line.comments == ("about",)


@pytest.mark.parametrize(
    ("body", "end"),
    [("E\n", "E"), ("E", "E"), ("E\r\r\n", "E\r\r"), ("xE\nEx\n E\nE \nE\n", "E")],
)
def test_a_heredoc_ends_at_its_name_alone(body: str, end: str) -> None:
    text = f"RUN <<E\n{body}"
    reader, (line,) = read(text, Opening("E", expand=True, chomp=False, fd=0, start=4, end=7))

    assert reader.errors == []
    assert text[: line.end].endswith(f"\n{end}")
    assert line.heredocs[0].content == body.rstrip("\r\n").removesuffix("E")


def test_tabs_may_stand_before_the_end_of_a_chomped_heredoc() -> None:
    opening = Opening("E", expand=True, chomp=True, fd=0, start=4, end=8)
    _, (line, below) = read("RUN <<-E\n\t\ta E\n\t\tE\nRUN", opening)

    assert line.heredocs[0].content == "a E\n"
    assert below.text == "RUN"
