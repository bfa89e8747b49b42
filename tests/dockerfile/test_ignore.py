"""Ignore files: which paths they leave out, and which directories need not be walked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.core.draw import draw
from buildkit_py.core.source import Source
from buildkit_py.dockerfile import glob, ignore
from buildkit_py.dockerfile.ignore import BadIgnorePattern, Patterns

PEERS = Path(__file__).parents[2] / "fixtures" / "peers"


def patterns(text: str) -> Patterns:
    return Patterns.parse(Source(".dockerignore", text))


@pytest.mark.parametrize(
    ("text", "path", "ignored"),
    [
        ("", "a", False),
        ("a", "a", True),
        ("a", "b/a", False),
        ("a", "a/b/c", True),
        ("/a", "a", True),
        ("a/", "a/b", True),
        ("./a/../b", "b", True),
        ("../a", "a", False),
        ("/../a", "a", True),
        (".", "a", False),
        ("/", "a", False),
        ("  a  ", "a", True),
        ("# a\n#b", "a", False),
        (" #a", "#a", True),
        ("\ufeffa\r\nb\r\n", "a", True),
        ("\ufeffa\r\nb\r\n", "b", True),
        ("*.md", "x.md", True),
        ("*.md", "d/x.md", False),
        ("**/*.md", "x.md", True),
        ("**/*.md", "d/e/x.md", True),
        ("**.md", "d/x.md", True),
        ("**/x", "x", True),
        ("**/x", "a/b/x/c", True),
        ("**/x", "ax", False),
        ("a/**", "a", False),
        ("a/**", "a/b/c", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "axb", False),
        ("**/a/**/b", "1/a/2/a/b", True),
        ("**", "anything/at/all", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("[!a]x", "!x", True),
        ("\\*", "*", True),
        ("\\*", "a", False),
        ("a.c", "abc", False),
        ("a+b|c$", "a+b|c$", True),
        ("*\n!d/e", "d", True),
        ("*\n!d/e", "d/e/f", False),
        ("*\n!d/e", "d/f", True),
        ("!d/e\n*", "d/e", True),
        ("*.md\n!README*.md\nREADME-secret.md", "README.md", False),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
        ("a\n! /a/b", "a/b", False),
        ("a/b\n!a", "a/b", True),
        ("a\na/b\n!a", "a/b", False),
    ],
)
def test_a_path_is_ignored(text: str, path: str, ignored: bool) -> None:
    assert patterns(text).ignores(path) is ignored


@pytest.mark.parametrize(
    ("text", "directory", "may"),
    [
        ("a", "b", True),
        ("a", "a", False),
        ("a\n!b", "a", False),
        ("a\n!a/b", "a", True),
        ("!a/b\na", "a", False),
        ("a\n!a/*/c", "a/x", True),
        ("a\n!a/*/c", "a/x/y", False),
        ("a\n!**/c", "a/x/y", True),
        ("*\n!d/e", "d", True),
        ("*\n!d/e", "f", False),
        ("a\n![a/b]*/c", "a", True),
        ("x*\n!x\\*/c", "x*", True),
        ("x*\n!x\\*/c", "xy", False),
        ("", "", True),
        ("**", "", True),
    ],
)
def test_a_directory_is_walked_only_when_something_below_it_may_be_kept(
    text: str, directory: str, may: bool
) -> None:
    assert patterns(text).may_descend(directory) is may


def test_the_deciding_line_is_told() -> None:
    decided = patterns("keep\n# all of it\n  !keep/**  \n").why("keep/a.log")

    assert decided is not None
    assert (decided.span.text, decided.span.line, decided.keeps) == ("!keep/**", 3, True)
    assert patterns("a").why("b") is None


def test_patterns_of_exclude_flags_need_no_file() -> None:
    exclude = Patterns.of(["*.md", "!README.md", ""])

    assert [exclude.ignores(path) for path in ("a.md", "README.md", "x")] == [True, False, False]


def test_a_lone_exclamation_mark_is_refused() -> None:
    expected = """\
error[dockerfile/bad-ignore-pattern]: illegal exclusion pattern: "!"
 --> .dockerignore:2:1
  |
2 | !
  | ^ brings nothing back

hint: write what to keep behind the `!`"""

    with pytest.raises(BadIgnorePattern) as caught:
        patterns("a\n!\n")

    assert draw(caught.value) == expected


def test_a_bad_pattern_is_shown_in_its_line() -> None:
    expected = """\
error[dockerfile/bad-ignore-pattern]: syntax error in pattern `a[b`: `[` is not closed
 --> .dockerignore:1:3
  |
1 |   a[b
  |   ^^^

hint: a backslash takes the meaning of the next character: `\\[`"""

    with pytest.raises(BadIgnorePattern) as caught:
        patterns("  a[b")

    assert draw(caught.value) == expected


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[a-]", "[-a]", "[^]", "a\\", "[a\\"])
def test_go_refuses_these_patterns_too(pattern: str) -> None:
    with pytest.raises(glob.BadPattern):
        glob.match(pattern, "x")


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*c", "abc", True),
        ("a*/b", "a/c/b", False),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a*b?c*x", "abxbbxdbxebxczzy", False),
        ("ab[b-d]", "abc", True),
        ("ab[^c]", "abc", False),
        ("[\\]a]", "]", True),
        ("[x\\-]", "-", True),
        ("[b-a]", "a", False),
        ("a???b", "aαααb", True),
        ("a[^/]b", "a/b", False),
        ("**", "a", True),
        ("a\\*b", "a*b", True),
    ],
)
def test_names_match_as_in_go(pattern: str, name: str, matches: bool) -> None:
    assert glob.match(pattern, name) is matches


def slow_match(tokens: list[glob.Token], path: str) -> bool:
    """Try every way: the meaning of a pattern as its documentation has it."""
    if not tokens:
        return path == ""
    token, *rest = tokens
    if token.kind == "stars":
        ends = [0, *(at + 1 for at, c in enumerate(path) if c == "/")]
        if not rest:
            ends = list(range(len(path) + 1))
        return any(slow_match(rest, path[end:]) for end in ends)
    if token.kind == "star":
        length = len(path.split("/")[0])
        return any(slow_match(rest, path[end:]) for end in range(length + 1))
    if token.kind == "text":
        return path[:1] == token.text and slow_match(rest, path[1:])
    assert token.kind == "any"
    return path[:1] not in ("", "/") and slow_match(rest, path[1:])


def slow_ignores(lines: list[str], path: str) -> bool:
    """Walk down to the path; a line that would change nothing is not looked at."""
    parts = path.split("/")
    matched: set[int] = set()
    ignored = False
    for depth in range(len(parts)):
        at = "/".join(parts[: depth + 1])
        above, matched, ignored = matched, set(), False
        for number, line in enumerate(lines):
            keeps = line.startswith("!")
            tokens = glob.tokenize(line.removeprefix("!"), deep=True)
            if number in above or (keeps is ignored and slow_match(tokens, at)):
                matched.add(number)
                ignored = not keeps
    return ignored


NAMES = st.sampled_from(["a", "b", "ab", "a.b"])
SEGMENTS = st.sampled_from(["a", "b", "ab", "*", "**", "a*", "*b", "?", "*a*b", "a.b", "*.*", "?b"])
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)
LINES = st.lists(
    st.tuples(st.sampled_from(["", "!"]), st.lists(SEGMENTS, min_size=1, max_size=5)).map(
        lambda parts: parts[0] + "/".join(parts[1])
    ),
    max_size=6,
)


@settings(max_examples=400, deadline=None)
@given(LINES, PATHS)
def test_every_path_is_decided_as_the_slow_model_decides(lines: list[str], path: str) -> None:
    assert patterns("\n".join(lines)).ignores(path) is slow_ignores(lines, path)


@settings(max_examples=400, deadline=None)
@given(LINES, PATHS, PATHS)
def test_nothing_is_kept_below_a_directory_that_is_not_walked(
    lines: list[str], directory: str, below: str
) -> None:
    read = patterns("\n".join(lines))

    if not read.may_descend(directory):
        assert read.ignores(f"{directory}/{below}")


def test_forgetting_directories_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ignore, "_MOST_REMEMBERED", 2)
    read = patterns("a/b\n!a/b/c/d")

    for _ in range(3):
        asked = [read.ignores(path) for path in ("a/b/c/x", "a/b/c/d/x", "a/x/y/z", "b/c/d/e")]
        assert asked == [True, False, False, False]


def test_a_hostile_pattern_takes_no_time() -> None:
    read = patterns("*a" * 60 + "b\n" + "**/a/" * 30 + "b")

    assert not read.ignores("a" * 255)
    assert not read.ignores("a/" * 1000 + "c")


def test_twenty_thousand_lines_are_read() -> None:
    read = patterns("".join(f"dir{n}/*.log\n" for n in range(20_000)))

    assert read.ignores("dir19999/x.log")
    assert not read.ignores("dir19999/x.txt")


def test_the_same_files_are_kept_as_by_buildkit() -> None:
    """Recorded from docker 26.1: `COPY . /` of one tree under 150 random ignore files."""
    recorded = json.loads((PEERS / "docker-26.1" / "dockerignore.json").read_text())
    different = []
    for case in recorded["cases"]:
        read = patterns("\n".join(case["ignore"]))
        kept = "".join("01"[not read.ignores(path)] for path in recorded["files"])
        if kept != case["kept"]:
            different.append(case["ignore"])

    assert len(recorded["cases"]) == 150
    assert different == []
