"""Projects as text: YAML in go-yaml's style that reads back, JSON as docker has it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from buildkit_py.compose.reading import read
from buildkit_py.compose.render import service_hash, to_json
from buildkit_py.compose.tree import plain
from buildkit_py.compose.yaml_text import natural, to_yaml
from buildkit_py.core.source import Source
from tests.compose.conftest import loaded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"), ("", '""'), ("yes", "'yes'"), ("N", "'N'"), ("true", '"true"'),
        ("null", '"null"'), ("1", '"1"'), ("0x1f", '"0x1f"'), ("1:30", "'1:30'"), ("~", '"~"'),
        ("a: b", "'a: b'"), ("a #b", "'a #b'"), ("a#b", "a#b"), ("- x", "'- x'"), ("-x", "-x"),
        ("@x", "'@x'"), (" x", "' x'"), ("x ", "'x '"), ("it's", "it's"), ("'x", "'''x'"),
        ("a\tb", '"a\\tb"'), ("\x07", '"\\a"'), ("é", "é"), ("<<", "'<<'"), ("x:", "'x:'"),
        ("2001-12-14", '"2001-12-14"'), ("---", "'---'"), ("?", "'?'"), ("=", "="),
        ("a\nb", "|-\n  a\n  b"), ("a\nb\n", "|\n  a\n  b"), ("a\n\n", "|+\n  a\n"),
        (" a\nb", '|2-\n   a\n  b'), ("a \nb", '"a \\nb"'), ("\n", '"\\n"'),
    ],
)  # fmt: skip
def test_texts(text: str, expected: str) -> None:
    assert to_yaml({"k": text}) == f"k: {expected}\n"


def test_nested_values() -> None:
    value = {"a": [{"b": 1, "c": [True, None]}, [1.5, []], {}], "d": {}, "e": {"f": "x"}}

    assert to_yaml(value) == (
        "a:\n  - b: 1\n    c:\n      - true\n      - null\n  - - 1.5\n    - []\n  - {}\n"
        "d: {}\ne:\n  f: x\n"
    )
    assert to_yaml({}) == "{}\n"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a10", "a2", "a1"], ["a1", "a2", "a10"]),
        (["b", "a", "1"], ["1", "a", "b"]),
        (["a-b", "ab", "a"], ["a", "a-b", "ab"]),
    ],
)
def test_keys_are_in_natural_order(names: list[str], expected: list[str]) -> None:
    assert sorted(names, key=natural) == expected


TEXTS = st.text("ab01 :#-'\"\n\t\\{}[]&*!|>%@`~.,?=é\x07\x85\u2028", max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300)
@example({"a": "\n 0"})
@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=3))
def test_printed_yaml_reads_back(value: dict[str, Any]) -> None:
    (document,) = read(Source("f", to_yaml(value)))

    assert plain(document.root) == value


def test_a_project_printed_and_loaded_again_is_the_same() -> None:
    text = """\
services:
  web:
    build: {context: ., args: {A: 1}}
    ports: ['8080-8081:80-81', '127.0.0.1::90/udp']
    volumes: ['data:/d', './x:/x:ro']
    environment: [A=$$x, B]
    command: sh -c 'echo "$$A"'
    deploy: {resources: {limits: {cpus: '0.1', memory: 1g}}}
    depends_on: {db: {condition: service_healthy}}
  db: {image: b, healthcheck: {test: x, interval: 90s}, secrets: [{source: s, mode: 0400}]}
volumes: {data: }
secrets: {s: {file: ./s}}
"""
    once = to_json(loaded(text).values)

    again = to_json(loaded(once.replace("$", "$$")).values)

    assert json.loads(again) == json.loads(once)


def test_the_hash_leaves_out_what_needs_no_new_container() -> None:
    text = "services: {s: {image: b, %s}}"
    plain_hash = service_hash(loaded(text % "hostname: h").services["s"])

    same = [
        "scale: 2", "deploy: {replicas: 2}", "profiles: []", "pull_policy: always", "build: .",
    ]  # fmt: skip
    other = ["hostname: i", "environment: {A: 1}", "deploy: {mode: x}"]
    hashes = [service_hash(loaded(text % f"hostname: h, {key}").services["s"]) for key in same]

    # An empty `deploy` is one more thing that docker hashes.
    assert [each == plain_hash for each in hashes] == [True, False, True, True, True]
    assert plain_hash not in [service_hash(loaded(text % key).services["s"]) for key in other]


def test_a_hash_is_dockers() -> None:
    """Taken with docker compose 2.26.1: `config --hash s` of this file."""
    text = "services: {s: {image: busybox, command: [a, '<&>'], environment: {A: 1}}}"

    service = loaded({"compose.yaml": f"name: x\n{text}"}).services["s"]

    expected = "1c4127575afd69558e1b60e248b93e600071a59fe38572c0a4289b6f4deaa085"
    assert service_hash(service) == expected
