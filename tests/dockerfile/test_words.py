"""Words: variables, quotes and escapes come out as BuildKit's lexer has them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.core.draw import draw
from buildkit_py.core.source import Source
from buildkit_py.dockerfile.wildcards import replace, trim_prefix, trim_suffix
from buildkit_py.dockerfile.words import (
    DEEPEST,
    MOST_CHARACTERS,
    BadWord,
    expand,
    expand_words,
    expansion,
)

ENV = {"a": "1 2", "v": "foobarfoo", "e": "", "p": "/usr/bin/x.tar.gz", "b_1": "ok", "ü": "umlaut"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain text", "plain text"),
        ("$a", "1 2"),
        ("${a}x$v", "1 2xfoobarfoo"),
        ("$b_1-$nothing.", "ok-."),
        ("$ü", "umlaut"),
        ("$", "$"),
        ("$.", "$."),
        ("a$", "a$"),
        ("$001aaa", "aaa"),
        ("$$a", "a"),
        ("$@$*$#$?$-$!$0", ""),
        ("\\$a", "$a"),
        ("\\\\$b_1", "\\ok"),
        ("a\\bc", "abc"),
        ("tail\\", "tail"),
        ("'$a \"x\" \\'", '$a "x" \\'),
        ('"$a"', "1 2"),
        ('"\\$a \\"q\\" \\\\ \\n"', '$a "q" \\ \\n'),
        ("a'b'\"c\"d", "abcd"),
        ("<<EOF", "<<EOF"),
        ("${nothing:-w}", "w"),
        ("${nothing-w}", "w"),
        ("${e:-w}", "w"),
        ("${e-w}", ""),
        ("${v:-w}", "foobarfoo"),
        ("${nothing:-${other:-${a}}}", "1 2"),
        ("${nothing:-\\}}", "}"),
        ("${nothing:-'}'}", "}"),
        ("${v:+w}", "w"),
        ("${v+w}", "w"),
        ("${e:+w}", ""),
        ("${e+w}", "w"),
        ("${nothing:+w}", ""),
        ("${v:?no}", "foobarfoo"),
        ("${v?no}", "foobarfoo"),
        ("${v#foo}", "barfoo"),
        ("${v#*o}", "obarfoo"),
        ("${v##*o}", ""),
        ("${v%foo}", "foobar"),
        ("${v%o*}", "foobarfo"),
        ("${v%%o*}", "f"),
        ("${v#x}", "foobarfoo"),
        ("${p##*/}", "x.tar.gz"),
        ("${p%%.*}", "/usr/bin/x"),
        ("${p%.*}", "/usr/bin/x.tar"),
        ("${v#f??b}", "arfoo"),
        ("${v/foo/X}", "Xbarfoo"),
        ("${v//foo/X}", "XbarX"),
        ("${v/o*/X}", "fX"),
        ("${v//?/X}", "XXXXXXXXX"),
        ("${p//\\//_}", "_usr_bin_x.tar.gz"),
        ("${v/foo/}", "barfoo"),
        ("${v//o/$b_1}", "fokokbarfokok"),
        ("${nothing/a/b}", ""),
        ("${nothing#a}", ""),
    ],
)
def test_a_word_expands(text: str, expected: str) -> None:
    assert expand(text, ENV) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("`$a", "$a"), ("\\$b_1", "\\ok"), ('"`"`$"', '"$'), ("c:\\x", "c:\\x"), ("``", "`")],
)
def test_the_escape_character_may_be_a_backtick(text: str, expected: str) -> None:
    assert expand(text, ENV, escape="`") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('it\'s $b_1 "$b_1"\n', 'it\'s ok "ok"\n'),
        ("\\$a \\n", "$a n"),
        ("${nothing:-'x'}", "'x'"),
    ],
)
def test_quotes_mean_nothing_in_a_heredoc(text: str, expected: str) -> None:
    assert expand(text, ENV, quotes=False) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("  x  y ", ("x", "y")),
        ("$a", ("1", "2")),
        ('"$a"', ("1 2",)),
        ("x\\ y z", ("x y", "z")),
        ("$a$a", ("1", "21", "2")),
        ("'a b'c d", ("a bc", "d")),
        ("'' x", ("x",)),
        ("$nothing", ()),
    ],
)
def test_values_are_split_but_quoted_ones_are_not(text: str, words: tuple[str, ...]) -> None:
    assert expand_words(text, ENV) == words


def test_names_that_had_a_value_and_names_that_had_none_are_told() -> None:
    text = "$a ${x} ${y:-$z} ${v#$q} '$quoted' $x ${r%w}"
    told = expansion(text, ENV, at=Source("f", text).span(0, len(text)))

    assert told.used == ("a", "v")
    assert [(each.name, each.at.text) for each in told.unset if each.at] == [
        ("x", "${x}"),
        ("z", "$z"),
        ("q", "$q"),
        ("r", "${r%w}"),
    ]


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ("x${", "missing `}` in `${`", "${"),
        ("x${a", "missing `}` in `${`", "${a"),
        ("x${a:", "missing `}` in `${`", "${a:"),
        ("x${a:-b", "missing `}` in `${`", "${a:-b"),
        ("x${}y", "bad substitution `${}`", "${}"),
        ("${{a}", "bad substitution `${{`", "${{"),
        ("${:x}", "bad substitution `${:`", "${:"),
        ("${a:=w}", "unsupported modifier `:=`", ":="),
        ("${a^^}", "unsupported modifier `^`", "^"),
        ("${a:1:2}", "unsupported modifier `:1`", ":1"),
        ("${a:#w}", "unsupported modifier `:#`", ":#"),
        ("${x:?}", "x: is not allowed to be unset", "${x:?}"),
        ("${e:?}", "e: is not allowed to be empty", "${e:?}"),
        ("${x?give it}", "x: give it", "${x?give it}"),
        ("${v#\\x}", "invalid escape `\\x` in a pattern", "${v#\\x}"),
        ("${v/p}", "missing `/` in `${`", "${v/p}"),
        ("a'b", "a single quote is not closed", "'b"),
        ('a"b\\"', "a double quote is not closed", '"b\\"'),
    ],
)
def test_a_bad_word_is_marked_where_it_is_bad(text: str, message: str, marked: str) -> None:
    source = Source("Dockerfile", f"ENV k={text}")

    with pytest.raises(BadWord) as caught:
        expand(text, ENV, at=source.span(6, 6 + len(text)))

    assert caught.value.message == message
    assert caught.value.at is not None
    assert caught.value.at.text == marked


def test_a_bad_word_is_drawn_with_its_place() -> None:
    source = Source("Dockerfile", "FROM x\nENV path=${path:=/bin}\n")
    expected = """\
error[dockerfile/bad-word]: unsupported modifier `:=`
 --> Dockerfile:2:16
  |
2 | ENV path=${path:=/bin}
  |                ^^ not supported in a Dockerfile

hint: use one of `:-`, `:+`, `:?`, `#`, `%` and `/`, or expand it in a RUN"""

    with pytest.raises(BadWord) as caught:
        expand("${path:=/bin}", {}, at=source.span(16, 29))

    assert draw(caught.value) == expected


def test_a_word_over_a_continuation_is_marked_whole() -> None:
    source = Source("Dockerfile", "ENV a=x\\\n${\n")

    with pytest.raises(BadWord) as caught:
        expand("x${", {}, at=source.span(6, 11))

    assert caught.value.at == source.span(6, 11)


def test_nesting_has_an_end() -> None:
    deep = "${x:-" * DEEPEST + "y" + "}" * DEEPEST

    assert expand(deep, {}) == "y"
    with pytest.raises(BadWord, match="inside one another"):
        expand("${x:-" + deep + "}", {})


def test_values_cannot_grow_without_end() -> None:
    large = "x" * (MOST_CHARACTERS // 2)

    assert len(expand("$a$a", {"a": large})) == MOST_CHARACTERS
    with pytest.raises(BadWord, match="longer than"):
        expand("$a$a$a", {"a": large})
    with pytest.raises(BadWord, match="longer than"):
        expand("${a//x/$b}", {"a": "x" * 2000, "b": "y" * 4000})


def test_a_long_text_takes_time_in_proportion() -> None:
    long = "${v#" + "*o" * 999 + "}" + "x" * 60_000 + "$v'q'" * 4000

    assert len(expand(long, {"v": "o" * 999})) == 60_000 + 4000 * 1000


PLAIN = st.text(st.sampled_from("abc \t'\"$\\{}/*"), max_size=12)


@given(PLAIN)
def test_single_quotes_keep_everything(text: str) -> None:
    quoted = "'" + text.replace("'", "'\\''") + "'"

    assert expand(quoted, ENV) == text


@given(PLAIN)
def test_escapes_keep_everything(text: str) -> None:
    assert expand("".join(f"\\{c}" for c in text), ENV) == text


@given(PLAIN, st.sampled_from(["\\", "`"]))
def test_a_word_expands_or_is_refused_within_its_bounds(text: str, escape: str) -> None:
    source = Source("f", text)
    try:
        expanded = expansion(text, ENV, escape=escape, at=source.span(0, len(text)))
    except BadWord as error:
        bad = error
    else:
        # Whatever splits, no character but blanks gets lost.
        assert "".join("".join(expanded.words).split()) == "".join(expanded.text.split())
        return
    assert 0 <= bad.start < bad.end <= len(text)


def slow_match(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(slow_match(pattern[1:], text[n:]) for n in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and slow_match(pattern[1:], text[1:])


SMALL = st.text(st.sampled_from("ab"), max_size=7)
PATTERN = st.text(st.sampled_from("ab*?"), max_size=5)


@settings(max_examples=300)
@given(PATTERN, SMALL, st.booleans())
def test_the_shortest_or_longest_end_is_cut(pattern: str, value: str, longest: bool) -> None:
    cut = sorted(n for n in range(len(value) + 1) if slow_match(pattern, value[:n]))
    kept = sorted(n for n in range(len(value) + 1) if slow_match(pattern, value[n:]))

    prefix = trim_prefix(pattern, value, longest=longest)
    suffix = trim_suffix(pattern, value, longest=longest)

    assert prefix == (value[cut[-1 if longest else 0] :] if cut else value)
    assert suffix == (value[: kept[0 if longest else -1]] if kept else value)


@settings(max_examples=300)
@given(PATTERN, SMALL)
def test_the_leftmost_longest_match_is_replaced(pattern: str, value: str) -> None:
    spans = [
        (start, -end)
        for start in range(len(value) + 1)
        for end in range(start, len(value) + 1)
        if slow_match(pattern, value[start:end])
    ]
    expected = value
    if spans:
        start, end = min(spans)
        expected = f"{value[:start]}<>{value[-end:]}"

    assert replace(pattern, "<>", value, everywhere=False) == expected


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [("", "ab", "-a-b-"), ("*", "ab", "-"), ("a", "aab", "--b"), ("x", "ab", "ab"), ("", "", "-")],
)
def test_all_matches_are_replaced(pattern: str, value: str, expected: str) -> None:
    assert replace(pattern, "-", value, everywhere=True) == expected
