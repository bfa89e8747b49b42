"""Complaints of all phases about one project come at once, and none follows from another."""

from __future__ import annotations

import pytest

from buildkit_py.compose.errors import DuplicateKey
from buildkit_py.core.errors import InputError, InputErrors
from tests.compose.conftest import loaded


def complaints(text: str, **more: str) -> list[tuple[str, int]]:
    """Return the messages about a file, with their lines."""
    with pytest.raises(InputError) as caught:
        loaded({"compose.yaml": text, **{f"{name}.yaml": each for name, each in more.items()}})
    found = caught.value
    errors = found.errors if isinstance(found, InputErrors) else (found,)
    return [(error.message, error.at.line if error.at else 0) for error in errors]


def test_no_phase_hides_what_the_next_one_finds() -> None:
    text = """\
services:
  a:
    image: busybox
    imag: busybox
    deploy: {replicas: x}
    pull_policy: hourly
    mem_limit: 1q
    ports: [x:1]
    networks: [other]
    cap_add: [FOO]
  b:
    image: b
    secrets: [{source: s}]
    volumes: [{type: bind, target: /x}]
    depends_on: [zz]
secrets:
  t: {}
"""

    assert complaints(text) == [
        ("unknown key `imag` in `services.a`", 4),
        ("`services.a.deploy.replicas`: `x` is no whole number", 5),
        ("`services.a.pull_policy` cannot be `hourly`", 6),
        ("`services.a.mem_limit`: `1q` is no size; sizes are like `512m` or `1.5g`", 7),
        ("`services.a.ports.0`: `x:1`: `x` is no published port", 8),
        ("service `a` refers to the undefined network `other`", 9),
        ("`services.a.cap_add.0`: there is no capability `FOO`", 10),
        ("service `b` refers to the undefined secret `s`", 13),
        ("`services.b.volumes.0`: a bind mount needs a `source`", 14),
        ("service `b` depends on undefined service `zz`", 15),
        ("`secrets.t` needs one of `file`, `environment`", 17),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {a: {imag: b}}", "unknown key `imag` in `services.a`"),
        ("services: {a: {image: [b]}}", "`services.a.image` must be a string, not a list"),
        (
            "services: {a: {build: [b]}}",
            "`services.a.build` must be a string or a mapping, not a list",
        ),
        (
            "services: {a: {image: b, depends_on: [c]}, c: 3}",
            "`services.c` must be a mapping, not a number",
        ),
        (
            "services: {a: {image: b, networks: [n]}}\nnetworks: {n: 3}",
            "`networks.n` must be a mapping or nothing, not a number",
        ),
        (
            "services: {a: {image: b, volumes: ['v1:/x']}}\nvolumes: [v1]",
            "`volumes` must be a mapping, not a list",
        ),
        (
            "services: {a: {image: b, secrets: [s]}}\nsecrets: {s: {file: 3}}",
            "`secrets.s.file` must be a string, not a number",
        ),
        (
            "services: {a: {image: b, ports: [{target: [1]}]}}",
            "`services.a.ports.0.target` must be a whole number or a string, not a list",
        ),
        (
            "services: {a: {image: b, ulimits: {core: {soft: 5, hard: x}}}}",
            "`services.a.ulimits.core.hard`: `x` is no whole number",
        ),
        (
            "services: {a: {extends: c}, c: {image: b, tty: maybe}}",
            "`services.c.tty`: `maybe` is no boolean",
        ),
        (
            "services: {a: {build: {context: ., additional_contexts: {x: 'service:c'}}},"
            " c: {build: 3}}",
            "`services.c.build` must be a string or a mapping, not a number",
        ),
    ],
)
def test_nothing_is_said_that_follows_from_another_complaint(text: str, message: str) -> None:
    assert [found for found, _ in complaints(text)] == [message]


def test_duplicate_keys_of_all_files_come_at_once() -> None:
    text = "services:\n  a: {image: b, image: c}\n  a: {tty: true, tty: true, tty: true}\n"
    more = {"compose.override": "services: {}\nservices: {}\n"}

    assert complaints(text, **more) == [
        ("the key `image` is already defined at line 2", 2),
        ("the key `a` is already defined at line 2", 3),
        ("the key `tty` is already defined at line 3", 3),
        ("the key `tty` is already defined at line 3", 3),
        ("the key `services` is already defined at line 1", 2),
    ]


def test_a_duplicate_behind_an_alias_is_told_once() -> None:
    text = "x-a: &a {k: 1, k: 2}\nx-b: [*a, *a]\nservices: {s: {image: b}}\n"

    with pytest.raises(DuplicateKey):
        loaded(text)


def test_a_missing_variable_is_told_before_what_may_follow_from_it() -> None:
    text = "services:\n  s:\n    image: '${X?}'\n    scale: many\n    nokey: 1\n"

    assert complaints(text) == [
        ("required variable `X` is missing a value", 3),
        ("`services.s.scale`: `many` is no whole number", 4),
    ]


def test_what_ends_a_load_does_not_hide_what_was_found_before() -> None:
    text = "services: {a: {image: b, imag: c, build: {context: .}}}"
    more = {"compose.override": "services: {a: {build: [x]}}"}

    assert [message for message, _ in complaints(text, **more)] == [
        "cannot override `services.a.build`: it is a mapping in `compose.yaml`",
        "unknown key `imag` in `services.a`",
    ]
