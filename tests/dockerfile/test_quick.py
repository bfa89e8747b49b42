"""The quick reader says what Lark says, or leaves the line to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.core.source import Source
from buildkit_py.dockerfile import quick
from buildkit_py.dockerfile.grammar import ask_lark, ask_lark_for_words, openings
from buildkit_py.dockerfile.lines import SPACES, Reader
from buildkit_py.dockerfile.reading import Reading
from tests.house.sources import TREE

FIXTURES = sorted((TREE / "fixtures" / "dockerfiles").rglob("Dockerfile"))

KEYWORDS = st.sampled_from(
    [*quick._TAILS, "run", "Env", "healthCheck", "ONBUILD RUN", "onbuild env", "ONBUILD ONBUILD",
     "RUM", "cop", "ſhell", "RUNx", "#"]
)  # fmt: skip
PIECES = st.sampled_from(
    [*" \t'\"\\`=[],<>$#-", "--", "--a", "--a=b", "-- ", '--"', "NONE", "CMD", "AS", "a", "b=c",
     'd="e f"', "g='h", '["i"]', '["j", "k"]', '["l", 1]', '["m"', '"]', "<<E", "<<-'F G'", "é",
     "\u3000", "\x85", "\x0b", "\x1c", "\0", "=", "a b", '""', "\\\\", "``"]
)  # fmt: skip


def agree(line: str, escape: str) -> bool:
    """Compare both readings; tell whether the quick one had an answer."""
    fast = quick.read(line, escape)
    if fast is None:
        return False
    (slow,) = ask_lark([line], escape)

    assert plain(fast) == plain(slow)
    return True


def plain(reading: Reading | None) -> object:
    if reading is None:
        return None
    return (
        reading.keyword, list(reading.flags), list(reading.tail), reading.json,
        plain(reading.trigger),
    )  # fmt: skip


@settings(deadline=None, max_examples=1500)
@given(KEYWORDS, st.lists(PIECES, max_size=12).map("".join), st.sampled_from("\\`"))
def test_both_read_the_same(keyword: str, rest: str, escape: str) -> None:
    line = f"{keyword} {rest}".strip(SPACES)

    agree(line, escape)


@settings(deadline=None, max_examples=600)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_both_find_the_same_heredocs(text: str) -> None:
    fast = quick.heredoc_words(text)

    assert fast is None or fast == ask_lark_for_words(text)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.parent.name)
def test_both_read_the_fixtures_the_same(path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    reader = Reader(Source(str(path), text), openings)

    for line in reader.lines():
        agree(line.text, reader.escape)


@pytest.mark.parametrize("keyword", quick._TAILS)
def test_plain_lines_need_no_lark(keyword: str) -> None:
    rest = {"ONBUILD": "RUN a", "HEALTHCHECK": "--interval=1s CMD a"}.get(keyword, "a=b c=d")

    assert agree(f"{keyword} {rest}", "\\")
    assert agree(f"{keyword} {rest.replace('a', 'é')}", "`")


def test_an_ordinary_file_is_read_without_lark() -> None:
    text = (TREE / "Dockerfile").read_text()
    script = (
        "import sys\n"
        "from buildkit_py.core.source import Source\n"
        "from buildkit_py.dockerfile.parse import parse\n"
        "parse(Source('f', sys.stdin.read()))\n"
        "assert 'lark' not in sys.modules\n"
    )

    subprocess.run([sys.executable, "-c", script], input=text, text=True, check=True, cwd=TREE)
