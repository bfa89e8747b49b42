"""YAML as compose files have it, with a true span on every value and key."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.compose import reading
from buildkit_py.compose.errors import BadYaml, DuplicateKey, TooLarge
from buildkit_py.compose.tree import Node, plain
from buildkit_py.core.draw import draw
from buildkit_py.core.source import Source


def read(text: str) -> list[reading.Document]:
    return reading.read(Source("compose.yaml", text))


def root(text: str) -> Node:
    (document,) = read(text)
    return document.root


def walk(node: Node) -> list[Node]:
    children = node.value.values() if isinstance(node.value, dict) else node.value
    nested = children if isinstance(node.value, dict | list) else ()
    return [node, *(each for child in nested for each in walk(child))]


def test_every_value_and_key_has_its_text() -> None:
    text = "a: 1\nb: [x, {y: 'z'}]\nc: |\n  two\n  lines\n\nd:\n  e: é f\n"

    node = root(text)

    spans = {
        name: (each.key and each.key.text, each.span.text) for name, each in node.value.items()
    }
    assert spans == {
        "a": ("a", "1"),
        "b": ("b", "[x, {y: 'z'}]"),
        "c": ("c", "|\n  two\n  lines"),
        "d": ("d", "e: é f"),
    }
    assert node.value["b"].value[1].value["y"].span.text == "'z'"
    assert node.value["d"].value["e"].span.place == "compose.yaml:8:6"


def test_aliases_point_at_their_anchor_and_share_nothing() -> None:
    node = root("a: &x {k: [1]}\nb: *x\n")
    a, b = node.value["a"], node.value["b"]

    assert plain(a) == plain(b)
    assert b.span.text == a.span.text
    assert (b.key.text, b.value is a.value) == ("b", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<<: {a: 1, b: 1}\na: 2", {"a": 2, "b": 1}),
        ("a: 2\n<<: {a: 1, b: 1}", {"a": 2, "b": 1}),
        ("x: &x {a: 1}\ny:\n  <<: [*x, {a: 2, c: 3}]", {"x": {"a": 1}, "y": {"a": 1, "c": 3}}),
        ("x: &x [{a: 1}]\ny: {<<: *x}", {"x": [{"a": 1}], "y": {"a": 1}}),
        ('"<<": plain', {"<<": "plain"}),
    ],
)
def test_merge_keys(text: str, expected: Any) -> None:
    assert plain(root(text)) == expected


def test_resets_leave_their_paths() -> None:
    (document,) = read("s: &s\n  a: !reset null\n  b: !override [1]\n  c: [!reset x, y]\nt: *s\n")

    assert plain(document.root) == {"s": {"b": [1], "c": ["y"]}, "t": {"b": [1], "c": ["y"]}}
    assert document.resets == [
        ("s", "a"), ("s", "b"), ("s", "c", "0"), ("t", "a"), ("t", "b"), ("t", "c", "0"),
    ]  # fmt: skip


def test_documents_are_read_one_by_one() -> None:
    documents = read("a: 1\n---\nb: &x 2\n---\nc: 3\n")

    assert [plain(each.root) for each in documents] == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert read("") == read("# only a comment\n") == []


@pytest.mark.parametrize(
    ("text", "kind", "message", "place"),
    [
        ("a: 1\n'a': 2", DuplicateKey, "the key `a` is already defined at line 1", "2:1"),
        ("a:\n  1: x", BadYaml, "non-string key `1`", "2:3"),
        ("~: x", BadYaml, "non-string key `~`", "1:1"),
        ("[a]: x", BadYaml, "a key must be a string", "1:1"),
        ("a: *b", BadYaml, "there is no anchor `b` before this alias", "1:4"),
        ("a: &a {b: *a}", TooLarge, "the anchor `a` contains itself", "1:11"),
        ("a:\n\tb: 1", BadYaml, "this is no YAML: found character that cannot start any", "2:1"),
        ("a: [1", BadYaml, "this is no YAML: did not find expected ',' or ']'", "1:6"),
        ("<<: 1", BadYaml, "`<<` merges mappings, or a list of them", "1:5"),
        ("a: !!int x", BadYaml, "`x` is no `!!int`", "1:4"),
        ("a: !!binary '%'", BadYaml, "this is no Base64 of a text", "1:4"),
        ("a: .nan", BadYaml, "`.nan` is no number of compose files", "1:4"),
        ("a: [!!float -.inf]", BadYaml, "`-.inf` is no number of compose files", "1:5"),
        ("a: \x01", BadYaml, "this is no YAML: control characters are not allowed", "1:4"),
    ],
)
def test_complaints_point_at_the_fault(
    text: str, kind: type[BadYaml], message: str, place: str
) -> None:
    with pytest.raises(kind) as caught:
        read(text)

    assert caught.value.message.startswith(message)
    assert caught.value.at is not None
    assert caught.value.at.place == f"compose.yaml:{place}"


def test_bombs_are_bounded() -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )

    with pytest.raises(TooLarge, match="more than 100000 values"):
        read(laughs)
    with pytest.raises(TooLarge, match="nested deeper than 100 levels"):
        read("[" * 900 + "]" * 900)


def test_the_python_parser_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    text = "a: &x {b: [1, 'two', \"3\"]}\nc: *x\nd: |\n  é\n  f\n"
    expected = [(plain(n), n.span.start, n.span.end) for n in walk(root(text))]

    monkeypatch.setattr(reading, "parser_of", lambda text: (yaml.SafeLoader(text), yaml.YAMLError))

    assert [(plain(n), n.span.start, n.span.end) for n in walk(root(text))] == expected


def test_only_the_c_parser_is_imported_and_pyyaml_works_afterwards() -> None:
    script = """
import sys
from buildkit_py.compose.reading import read
from buildkit_py.core.source import Source
read(Source("f", "a: 1"))
assert "yaml" not in sys.modules and "yaml.constructor" not in sys.modules
try:
    read(Source("f", "a: ["))
except Exception as error:
    assert type(error).__name__ == "BadYaml", error
import yaml
assert yaml.load("a: [1]", Loader=yaml.CSafeLoader) == {"a": [1]}
try:
    yaml.load("a: [", Loader=yaml.CSafeLoader)
except yaml.YAMLError:
    print("ok")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("ok\n", "")


WORDS = st.text("abcz-_ :#'\"é\n", min_size=1, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)


@given(VALUES)
def test_spans_are_true(value: Any) -> None:
    import json

    text = json.dumps({"top": value}, ensure_ascii=False, indent=1)

    node = root(text)

    assert plain(node) == {"top": value}
    for each in walk(node):
        assert 0 <= each.span.start <= each.span.end <= len(text)
        if each.key is not None:
            assert json.loads(each.key.text) is not None
        if not isinstance(each.value, dict | list):
            assert json.loads(each.span.text) == each.value


def outcome(text: str) -> str:
    """Return how a text is read, or drawn as a complaint."""
    try:
        return f"read {len(read(text))}"
    except (BadYaml, DuplicateKey, TooLarge) as error:
        return draw(error)


@given(st.text("ab:[]{},&*!|>'\"%@`#-? \n\t<~0", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert outcome(text).startswith(("read ", "error[compose/"))
