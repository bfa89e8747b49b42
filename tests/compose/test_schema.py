"""The schema, its quick judge and its thorough one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from buildkit_py.compose.explain import explain
from buildkit_py.compose.reading import read
from buildkit_py.compose.schema import check, schema, validate
from buildkit_py.compose.shapes import SHAPES
from buildkit_py.compose.tree import Node, plain, wrap
from buildkit_py.core.draw import draw
from buildkit_py.core.source import Source
from tests.compose.conftest import FIXTURES

SPAN = Source("f", "").span(0, 0)
HERE = Path(__file__).parent


def judge(value: Any) -> bool:
    return Draft202012Validator(schema()).is_valid(value)


def services(value: Any) -> Any:
    return {"services": {"s": value}}


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


def test_both_judges_agree_on_all_fixtures() -> None:
    count = 0
    for path in sorted(FIXTURES.rglob("*.y*ml")):
        try:
            documents = read(Source(str(path), path.read_text()))
        except Exception:
            continue
        for document in documents:
            count += 1
            assert check(document.root) == judge(plain(document.root)), path
    assert count > 300


def names() -> list[str]:
    return sorted(schema()["$defs"]["service"]["properties"])


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2000, 2000)
    | st.floats(0, 2)
    | st.sampled_from(["a", "", "true", "all", "service_healthy", "bind", "start-first", "a=b"])
)
KEYS = st.sampled_from(
    "soft hard path target source type condition required a x-a test limits cpus memory config"
    " subnet watch action context args spread capabilities count".split()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_both_judges_agree_on_any_service(data: st.DataObject) -> None:
    value = services({data.draw(st.sampled_from(names())): data.draw(VALUES)})

    assert check(wrap(value, SPAN)) == judge(value)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_what_is_wrong_is_always_explained(data: st.DataObject) -> None:
    value = services({data.draw(st.sampled_from(names())): data.draw(VALUES)})

    errors = explain(wrap(value, SPAN), schema()) if not judge(value) else []

    assert all(draw(error) for error in errors)
    assert bool(errors) != judge(value)


def test_all_complaints_at_once() -> None:
    text = (HERE / "wrong.yaml").read_text()
    (document,) = read(Source("compose.yaml", text))

    drawn = "\n\n".join(draw(error) for error in validate(document.root)) + "\n"

    assert drawn == (HERE / "wrong.txt").read_text()


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("{image: }", "`services.s.image` must be a string, not nothing"),
        ("{cpu_percent: 200}", "`services.s.cpu_percent` must be at most 100"),
        ("{cgroup: x}", "`services.s.cgroup` cannot be `x`"),
        ("{ports: [[1]]}", "`services.s.ports.0` must be a number, a string or a mapping"),
        ("{container_name: '-'}", "`services.s.container_name` cannot be `-`"),
        ("{build: {context: 1}}", "`services.s.build.context` must be a string, not a number"),
        ("{networks: {a: 1}}", "`services.s.networks.a` must be nothing or a mapping"),
        ("{dns: [1]}", "`services.s.dns.0` must be a string, not a number"),
        ("{env_file: [{required: true}]}", "`services.s.env_file.0` needs the key `path`"),
    ],
)
def test_the_form_that_was_meant_is_judged(yaml: str, message: str) -> None:
    (document,) = read(Source("f", f"services: {{s: {yaml}}}"))

    (error,) = validate(document.root)

    assert error.message.startswith(message)


def test_every_key_of_the_schema_has_a_kind() -> None:
    """No key that the schema takes is lost on the way to the canonical form."""
    pairs = {
        "service": "service", "network": "network", "volume": "volume", "model": "model",
        "healthcheck": "healthcheck", "deploy": "deploy", "start_hook": "hook", "hook": "hook",
        "update_policy": "update",
    }  # fmt: skip
    for definition, shape in pairs.items():
        keys = set(schema()["$defs"][definition]["properties"])
        assert keys - set(SHAPES[shape]) == set(), definition
    for definition in ("secret", "config"):
        assert set(schema()["$defs"][definition]["properties"]) <= set(SHAPES["file"])
    build = schema()["$defs"]["build"]["anyOf"][1]["properties"]
    assert set(build) <= set(SHAPES["build"])


def test_the_file_is_kept_as_its_writer_writes_it() -> None:
    text = (HERE.parents[1] / "buildkit_py/compose/schema.json").read_text()

    assert text == json.dumps(schema(), indent=1) + "\n"


def test_nodes_show_their_values() -> None:
    assert repr(Node({"a": Node(1, SPAN)}, SPAN)) == "Node({'a': 1})"
