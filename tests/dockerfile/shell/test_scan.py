"""The shell scanner: which commands, which words, where; and that nothing makes it fall over."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.dockerfile.shell.scan import scan


def commands(text: str) -> list[list[str]]:
    return [[word.value for word in command.words] for command in scan(text).commands]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a", [["a"]]),
        ("a b  c\td", [["a", "b", "c", "d"]]),
        ("a; b & c && d || e", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ("a | b |& c", [["a"], ["b"], ["c"]]),
        ("a\nb\\\n c", [["a"], ["b", "c"]]),
        ("'a b' \"c d\" e\\ f", [["a b", "c d", "e f"]]),
        ("\\cd x", [["cd", "x"]]),
        ("a'b'\"c\"d", [["abcd"]]),
        ('echo "a \\"b\\" \\n"', [["echo", 'a "b" \\n']]),
        ("$'a\\'b' c", [["a\\'b", "c"]]),
        ("a # b\nc#d", [["a"], ["c#d"]]),
        ("(a; b) && { c; }", [["a"], ["b"], ["c"]]),
        ("if a; then b; elif c; then d; else e; fi", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ("while a; do b; done < x | c", [["a"], ["b"], ["c"]]),
        ("until a; do b; done", [["a"], ["b"]]),
        ("for x in a b c; do d $x; done", [["d", "$x"]]),
        ("for x; do a; done", [["a"]]),
        ("for x\ndo a; done", [["a"]]),
        ("for ((i=0; i<3; i++)); do a; done", [["a"]]),
        ("case $x in a|b) c;; (d) e ;; *) f; esac; g", [["c"], ["e"], ["f"], ["g"]]),
        ("case x in esac; a", [["a"]]),
        ("f() { a; }; f", [["a"], ["f"]]),
        ("function f { a; }", [["a"]]),
        ("! a && time -p b", [["a"], ["b"]]),
        ("x=1 y=$(a) b", [["b"], ["a"]]),
        ("x=1", [[]]),
        ("x=(a $(b) c) d", [["d"], ["b"]]),
        ("a $(b `c`) d", [["a", "$(b `c`)", "d"], ["b", "`c`"], ["c"]]),
        ('a "$(b "c d")"', [["a", '$(b "c d")'], ["b", "c d"]]),
        ('a ${x:-$(b)} "${y:-it\'s}"', [["a", "${x:-$(b)}", "${y:-it's}"], ["b"]]),
        ("a $((1 + $(b) * (2)))", [["a", "$((1 + $(b) * (2)))"], ["b"]]),
        ("a $((b); c)", [["a", "$((b); c)"], ["b"], ["c"]]),
        ("((x++)); a", [["a"]]),
        ("((a); b)", [["a"], ["b"]]),
        ("[[ $x =~ ^(a|b)$ && -f y ]] && c", [["c"]]),
        ("[ -f a ] && b", [["[", "-f", "a", "]"], ["b"]]),
        ("a > b 2>&1 >>c <d &>e 3<>f >|g", [["a"]]),
        ("a 2 > b", [["a", "2"]]),
        ("a <(b c) >(d)", [["a", "<(b c)", ">(d)"], ["b", "c"], ["d"]]),
        ("a <<EOF b\nc; d\nEOF\ne", [["a", "b"], ["e"]]),
        ("a <<-'E F'\n\tc\n\tE F\nb", [["a"], ["b"]]),
        ("a <<<'b c'; d", [["a"], ["d"]]),
        ("ls !(a|b).c", [["ls", "!(a|b).c"]]),
        ("a &&\nb ||\n\nc", [["a"], ["b"], ["c"]]),
        ("a\r\nb\r\n", [["a"], ["b"]]),
        ("echo if then done", [["echo", "if", "then", "done"]]),
        ("'if' a", [["if", "a"]]),
        ("a$", [["a$"]]),
        ("a {b,c} }", [["a", "{b,c}", "}"]]),
    ],
)
def test_commands_and_their_words(text: str, expected: list[list[str]]) -> None:
    assert commands(text) == expected
    assert scan(text).broken is None


@pytest.mark.parametrize(
    "text",
    ["a; b 'c", 'a; b "c', "a; b $(c", "a; b `c", "a; b ${c", "a; (b", "a; )", "a; case b c",
     "a; b (c)", "a; ;; b", "a; b >", "a; $'", "a; [[ b", "a; x=(b"],
)  # fmt: skip
def test_what_comes_before_a_fault_is_kept(text: str) -> None:
    script = scan(text)

    assert script.broken is not None
    assert [word.value for command in script.commands[:1] for word in command.words] == ["a"]


def test_an_expansion_makes_a_word_not_literal() -> None:
    words = scan("a 'b$c' $d \"e$f\" `g` \\$h i$").commands[0].words

    assert [word.literal for word in words] == [True, True, False, False, False, True, True]


def test_pipes_comments_and_what_stands_before() -> None:
    script = scan("a | b && c # d")

    assert script.pipes == (2,)
    assert [command.before for command in script.commands] == ["", "|", "&&"]
    assert [script.text[c.start : c.end] for c in script.comments] == ["# d"]


TOKENS = st.sampled_from(
    [*" \n;&|()<>'\"\\$`{}[]#!=", "$(", "$((", "))", "${", "<<EOF", "\nEOF\n", "if ", "then ",
     "fi", "case ", " in ", "esac", ";;", "for ", "do ", "done", "[[ ", " ]]", "x=(", "a", "b1",
     "2>", "&>", "<(", "function ", "\t", "é", "\0"]
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(st.lists(TOKENS, max_size=60).map("".join))
def test_no_text_makes_it_raise_and_every_word_is_where_it_says(text: str) -> None:
    script = scan(text)

    for command in script.commands:
        assert 0 <= command.start <= command.end <= len(text)
        for word in (*command.assignments, *command.words):
            assert text[word.start : word.end] == word.raw
            assert word.raw
    assert all(text[at] == "|" for at in script.pipes)
    assert [c.start for c in script.commands] == sorted(c.start for c in script.commands)


@settings(deadline=None)
@given(st.lists(st.text("ab /-=.,:$'\"\\ é", min_size=1), min_size=1, max_size=6))
def test_single_quoted_words_come_back(words: list[str]) -> None:
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)

    assert commands(f"x {quoted}") == [["x", *words]]


@pytest.mark.parametrize(
    "unit",
    ["$((", "(", "((", "$(", '"$(', "`", "${", "<(", "case x in a) ", "a ", "'a' ", "a;", "$((x))",
     "$((x)+(y) ", "[[ ", "x=(", "!(", "\\\n", "#", "# \n", "<<E\n", "a|"],
)  # fmt: skip
def test_time_is_linear(unit: str) -> None:
    def seconds(count: int) -> float:
        text = unit * count
        best = 9.0
        for _ in range(3):
            start = time.process_time()
            scan(text)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(8_000) < 0.01 + 40 * seconds(1_000)
