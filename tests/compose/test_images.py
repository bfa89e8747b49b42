"""Which builds come before which, and what a service's build is asked for. Nothing is built."""

from __future__ import annotations

from pathlib import Path

from buildkit_py.build.request import BuildRequest
from buildkit_py.compose.images import order, request_of_build
from buildkit_py.compose.typed import typed
from tests.compose.conftest import FOLDER, loaded


def build(text: str = "FROM scratch", **more: str) -> BuildRequest:
    tag, target = more.get("tag", "none/of/them"), more.get("target")
    return BuildRequest(root="/r", context="/c", text=text, tags=(tag,), target=target)


def test_builds_that_share_nothing_wait_for_nothing() -> None:
    found = order({"a": build("FROM x", tag="p-a"), "b": build("FROM y", tag="p-b")})

    assert found == {"a": set(), "b": set()}


def test_builds_of_one_dockerfile_come_one_after_the_other() -> None:
    found = order({"a": build(target="one"), "b": build(target="two"), "c": build(target="three")})

    assert found == {"a": set(), "b": {"a"}, "c": {"b"}}


def test_an_image_is_built_before_it_is_spoken_of() -> None:
    found = order({"a": build("FROM base:1", tag="p-a"), "z": build("FROM x", tag="base:1")})

    assert found == {"a": {"z"}, "z": set()}


def test_a_ring_is_broken() -> None:
    found = order({"a": build("FROM p-b", tag="p-a"), "b": build("FROM p-a", tag="p-b")})

    assert sorted(map(len, found.values())) == [0, 1]


def test_an_argument_may_name_the_image(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG BASE\nFROM $BASE\n")
    asks = BuildRequest(
        root="/r", context=str(tmp_path), tags=("p-a",), build_args={"BASE": "base:1"}
    )

    assert order({"a": asks, "z": build(tag="base:1")}) == {"a": {"z"}, "z": set()}


def test_what_is_asked_for() -> None:
    project = typed(
        loaded(
            "name: app\nservices:\n  s:\n    build:\n      context: c\n      dockerfile: D\n"
            "      target: t\n      args: {A: '1', B: , C: }\n      labels: {l: x}\n"
            "      tags: [more]\n      extra_hosts: [h=1.2.3.4]\n      network: none\n"
            "      no_cache: true\n      shm_size: 1m\n      ulimits: {nofile: 5}\n",
            environment={"B": "2"},
        )
    )
    made = request_of_build(project, project.services["s"], "/r", build_args={"A": "3"})

    assert (made.context, made.file, made.text) == (f"{FOLDER}/c", f"{FOLDER}/c/D", None)
    assert (made.tags, made.target) == (("app-s", "more"), "t")
    assert made.build_args == {"A": "3", "B": "2"}
    assert made.labels["l"] == "x"
    assert made.labels["com.docker.compose.service"] == "s"
    assert (made.add_hosts, made.network, made.no_cache) == (("h:1.2.3.4",), "none", True)
    assert (made.shm_size, made.ulimits) == (1 << 20, ("nofile=5:5",))


def test_a_dockerfile_inside_counts_for_what_is_remembered() -> None:
    text = "services:\n  s:\n    build:\n      dockerfile_inline: FROM {}\n"
    first, second = (
        request_of_build(project, project.services["s"], "/r")
        for project in (typed(loaded(text.format(base))) for base in ("a", "b"))
    )

    assert first.text == "FROM a"
    assert first.file == "services.s.build.dockerfile_inline"
    assert first.identity() != second.identity()
