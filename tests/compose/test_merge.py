"""Merging as triples of YAML: what was there, what comes, what it becomes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.compose.errors import CannotMerge
from buildkit_py.compose.merge import forget, merge
from buildkit_py.compose.reading import read
from buildkit_py.compose.tree import Node, plain, wrap
from buildkit_py.compose.unique import unique
from buildkit_py.core.draw import draw
from buildkit_py.core.source import Source


def tree(text: str, name: str = "f") -> Node:
    (document,) = read(Source(name, text))
    return document.root


def merged(base: str, over: str) -> Any:
    root = merge(tree(f"services: {{s: {{{base}}}}}"), tree(f"services: {{s: {{{over}}}}}"))
    unique(root)
    return plain(root)["services"]["s"]


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        ("image: a", "image: b", {"image": "b"}),
        ("image: a", "image: ", {"image": "a"}),
        ("image: a", "tty: true", {"image": "a", "tty": True}),
        ("deploy: {replicas: 1, mode: m}", "deploy: {replicas: 2}",
         {"deploy": {"replicas": 2, "mode": "m"}}),
        ("security_opt: [a]", "security_opt: [b]", {"security_opt": ["a", "b"]}),
        ("cap_add: [A, B]", "cap_add: [B, C]", {"cap_add": ["A", "B", "C"]}),
        ("command: a", "command: [b]", {"command": ["b"]}),
        ("command: a", "command: ", {"command": None}),
        ("entrypoint: [a, b]", "entrypoint: [c]", {"entrypoint": ["c"]}),
        ("healthcheck: {test: [CMD, a], retries: 1}", "healthcheck: {test: b}",
         {"healthcheck": {"test": "b", "retries": 1}}),
        ("environment: {B: 1, A: 1.0}", "environment: [C=2, A=3]",
         {"environment": ["A=3", "B=1", "C=2"]}),
        ("environment: [B=1]", "environment: {A: , B: }", {"environment": ["B", "A"]}),
        ("environment: {A: 1}", "environment: ", {"environment": {"A": 1}}),
        ("labels: {a: true}", "labels: {b: 1000000.0}", {"labels": ["a=true", "b=1e+06"]}),
        ("dns: 1.1.1.1", "dns: [2.2.2.2, 1.1.1.1]", {"dns": ["1.1.1.1", "2.2.2.2"]}),
        ("tmpfs: /a", "tmpfs: /b", {"tmpfs": ["/a", "/b"]}),
        ("env_file: a", "env_file: [{path: a, required: false}, b]",
         {"env_file": [{"path": "a", "required": False}, "b"]}),
        ("extra_hosts: [a=1, b=2]", "extra_hosts: {b: 2, a: 3}",
         {"extra_hosts": ["a=1", "b=2", "a=3"]}),
        ("build: ./a", "build: {target: t}", {"build": {"context": "./a", "target": "t"}}),
        ("build: {args: [A=1]}", "build: {args: {A: 2}}", {"build": {"args": ["A=2"]}}),
        ("build: {ssh: {default: }}", "build: {ssh: [x=/k]}",
         {"build": {"ssh": ["default", "x=/k"]}}),
        ("depends_on: {a: {condition: service_healthy, restart: true}}", "depends_on: [a]",
         {"depends_on": {"a": {"condition": "service_started", "restart": True,
                               "required": True}}}),
        ("networks: [a]", "networks: {a: {aliases: [x]}, b: }",
         {"networks": {"a": {"aliases": ["x"]}, "b": None}}),
        ("logging: {driver: d, options: {a: 1}}", "logging: {options: {b: 2}}",
         {"logging": {"driver": "d", "options": {"a": 1, "b": 2}}}),
        ("logging: {driver: d, options: {a: 1}}", "logging: {driver: e}",
         {"logging": {"driver": "e"}}),
        ("ulimits: {nofile: {soft: 1, hard: 2}}", "ulimits: {nofile: 3}",
         {"ulimits": {"nofile": 3}}),
        ("ports: ['80:80']", "ports: ['80:80', '81:81']", {"ports": ["80:80", "81:81"]}),
        ("volumes: ['a:/x', '/h:/y']", "volumes: ['b:/x:ro']",
         {"volumes": ["b:/x:ro", "/h:/y"]}),
        ("secrets: [a]", "secrets: [{source: b, target: /run/secrets/a}]",
         {"secrets": [{"source": "b", "target": "/run/secrets/a"}]}),
        ("devices: ['/a:/x']", "devices: ['/b:/x:r']", {"devices": ["/b:/x:r"]}),
        ("expose: ['80', 81]", "expose: [80]", {"expose": [80, 81]}),
    ],
)  # fmt: skip
def test_service_keys(base: str, over: str, expected: Any) -> None:
    assert merged(base, over) == expected


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        (
            "networks: {n: {ipam: {config: [{subnet: a, gateway: g}]}}}",
            "networks: {n: {ipam: {config: [{subnet: a, ip_range: r}]}}}",
            [{"subnet": "a", "gateway": "g", "ip_range": "r"}],
        ),
        (
            "networks: {n: {ipam: {config: [{subnet: a}]}}}",
            "networks: {n: {ipam: {config: [{subnet: b}]}}}",
            [{"subnet": "b"}],
        ),
    ],
)
def test_address_pools_merge_by_subnet(base: str, over: str, expected: Any) -> None:
    assert plain(merge(tree(base), tree(over)))["networks"]["n"]["ipam"]["config"] == expected


def test_values_of_other_kinds_cannot_override() -> None:
    base = tree("services: {s: {ports: ['80']}}", "compose.yaml")
    over = tree("services: {s: {ports: {a: 1}}}", "compose.override.yaml")

    with pytest.raises(CannotMerge) as caught:
        merge(base, over)

    assert draw(caught.value) == (
        "error[compose/cannot-merge]: cannot override `services.s.ports`: "
        "it is a list in `compose.yaml`\n"
        " --> compose.override.yaml:1:23\n"
        "  |\n"
        "1 | services: {s: {ports: {a: 1}}}\n"
        "  |                       ^^^^^^ a mapping here"
    )


def test_a_merged_value_keeps_its_place() -> None:
    base = tree("services:\n  s:\n    image: a\n    tty: true\n", "a.yaml")
    over = tree("services:\n  s:\n    image: b\n", "b.yaml")

    service = merge(base, over).value["services"].value["s"]

    assert service.value["image"].span.place == "b.yaml:3:12"
    assert service.value["tty"].span.place == "a.yaml:4:10"


def test_what_reset_names_is_forgotten() -> None:
    root = tree("a: {b: {c: 1, d: 2}, e: [1]}")

    forget(root, [("a", "b", "c"), ("a", "nothing", "x"), ("a", "e", "0"), ()])

    assert plain(root) == {"a": {"b": {"d": 2}, "e": [1]}}


SCALARS = st.integers(0, 3) | st.sampled_from(["x", "y"])
MAPPINGS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("pqr"), inner, max_size=3),
    max_leaves=6,
)
LISTS = st.lists(SCALARS, max_size=3)
SPAN = Source("f", "").span(0, 0)


def run(*values: Any) -> Any:
    """Merge from the left, or say that it cannot be done."""
    root = wrap(values[0], SPAN)
    try:
        for value in values[1:]:
            root = merge(root, wrap(value, SPAN), {})
    except CannotMerge:
        return "cannot"
    return plain(root)


@given(MAPPINGS, MAPPINGS, MAPPINGS)
def test_merging_mappings_is_associative(a: Any, b: Any, c: Any) -> None:
    right = run(b, c)
    both = (run(a, b, c), "cannot" if right == "cannot" else run(a, right))

    assert both[0] == both[1] or "cannot" in both


@given(LISTS, LISTS, LISTS)
def test_merging_lists_is_associative(a: Any, b: Any, c: Any) -> None:
    assert run(a, b, c) == run(a, run(b, c)) == [*a, *b, *c]


@given(MAPPINGS)
def test_an_empty_mapping_changes_nothing(a: Any) -> None:
    assert run(a, {}) == run({}, a) == a


@given(st.lists(st.sampled_from(["A=1", "A=2", "A", "B=1", "B", "C="]), max_size=8))
def test_the_last_of_equal_entries_wins_in_the_first_place(items: list[str]) -> None:
    root = wrap({"services": {"s": {"environment": list(items)}}}, SPAN)

    unique(root)

    found = plain(root)["services"]["s"]["environment"]
    order = list(dict.fromkeys(item.partition("=")[0] for item in items))
    last = {item.partition("=")[0]: item for item in items}
    assert found == [last[key] for key in order]
