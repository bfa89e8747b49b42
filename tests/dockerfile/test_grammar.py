"""The grammar reads every line, and only it decides what a heredoc is."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.core.source import Source
from buildkit_py.dockerfile.grammar import grammar_path, is_heredoc, openings
from buildkit_py.dockerfile.parse import parse


def test_the_grammar_is_found() -> None:
    assert os.path.isfile(grammar_path())


@settings(deadline=None)
@given(st.sampled_from(["RUN ", "COPY ", "ADD ", "ONBUILD RUN ", ""]), st.text(), st.booleans())
def test_every_line_is_read(keyword: str, rest: str, backtick: bool) -> None:
    line = (keyword + rest.replace("\n", "")).strip() or "a"

    for opening in openings(line, "`" if backtick else "\\"):
        assert "<<" in line[opening.start : opening.end]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("RUN <<A", [("A", True, False, 0)]),
        ("RUN cat <<-A 3<<B", [("A", True, True, 0), ("B", True, False, 3)]),
        ("RUN << A", [("A", True, False, 0)]),
        ("RUN <<- A", []),
        ('RUN <<"A B" <<\'C\' <<D"E"F', [("A B", False, False, 0), ("C", False, False, 0),
                                        ("DEF", False, False, 0)]),
        (r"RUN <<\A <<B\ C", [("A", True, False, 0), ("B C", True, False, 0)]),
        (r'RUN <<"A\"\\\x"', [(r'A"\\x', False, False, 0)]),
        ("RUN <<< A", []),
        ("RUN a<<A", []),
        ("RUN <<A>b", [("A>b", True, False, 0)]),
        ("RUN <<A<b", []),
        ('RUN <<""', []),
        ('RUN "<<A"', []),
        ('RUN " <<A', []),
        ('RUN ["<<A"]', []),
        ('RUN ["a"] <<A', [("A", True, False, 0)]),
        ("CMD <<A", []),
        ("ENV A=b <<A", []),
        ("copy --chown=1 <<A /x", [("A", True, False, 0)]),
        ("ONBUILD ADD <<A /x", [("A", True, False, 0)]),
        ("ONBUILD CMD <<A", []),
        ("ONBUILD <<A", []),
    ],
)  # fmt: skip
def test_heredocs_of_a_line(line: str, found: list[tuple[str, bool, bool, int]]) -> None:
    assert [(o.name, o.expand, o.chomp, o.fd) for o in openings(line, "\\")] == found


@pytest.mark.parametrize(
    ("word", "expected"),
    [("<<A", True), ("<<-A", True), ("<<", False), ("x<<A", False), ("<<'A", False), ("/x", False)],
)
def test_a_word_is_a_heredoc_or_not(word: str, expected: bool) -> None:
    assert is_heredoc(word) is expected


def test_threads_may_parse_at_once() -> None:
    texts = [
        f'FROM a\nRUN --mount=type=cache,target=/{i} echo {i}\nCMD ["{i}"]\n' for i in range(200)
    ]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: parse(Source("f", text)), texts))

    assert [each.instructions[1].original.split()[-1] for each in found] == [
        str(i) for i in range(200)
    ]
