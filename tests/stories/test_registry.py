"""FROM a registry: pulled once, checked, unpacked, run; asked again only with --pull."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.registry.servers import docker_registry
from tests.stories.conftest import Person

pytestmark = [pytest.mark.slow, pytest.mark.peer("docker-registry"), pytest.mark.peer("skopeo")]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of a real registry on loopback."""
    with docker_registry(tmp_path) as address:
        yield address


@pytest.fixture
def push(anyone: Person, registry: str) -> Callable[[str, str], str]:
    """Build an image that says a word, put it into the registry, and return its reference."""

    def push(name: str, word: str) -> str:
        path = anyone.folder / f"{word}.tar"
        anyone.build(
            f"FROM busybox\nRUN echo {word} > /word && chown 7:8 /word\nENV WORD={word}\n",
            None,
            f"--output=type=oci,dest={path}",
        )
        reference = f"{registry}/{name}"
        subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false"]
            + [f"oci-archive:{path}", f"docker://{reference}"],
            check=True,
            capture_output=True,
        )
        return reference

    return push


def test_a_base_is_pulled_once(
    anyone: Person, push: Callable[[str, str], str], registry: str
) -> None:
    base = push("team/base:1", "first")
    dockerfile = f"FROM {base}\nRUN echo word=$(cat /word) env=$WORD owner=$(stat -c %u:%g /word)\n"

    first = anyone.build(dockerfile, cached=True)
    push("team/base:1", "second")
    again = anyone.build(dockerfile, cached=True)
    pulled = anyone.build(dockerfile, None, "--pull", cached=True)
    pulled_again = anyone.build(dockerfile, None, "--pull", cached=True)

    assert first.done.output == ["word=first env=first owner=7:8"]
    assert f"[internal] pull {base} for linux/" in first.done.stderr
    assert again.done.output == []
    assert "pull" not in again.done.stderr
    assert again.done.image == first.done.image
    assert pulled.done.output == ["word=second env=second owner=7:8"]
    assert pulled_again.done.output == []
    assert pulled_again.done.image == pulled.done.image
    assert base in anyone.names()


def test_without_the_registry_a_build_goes_on_and_pull_says_no(
    anyone: Person, tmp_path: Path
) -> None:
    with docker_registry(tmp_path) as address:
        path = anyone.folder / "base.tar"
        anyone.build("FROM busybox\nRUN touch /x\n", None, f"--output=type=oci,dest={path}")
        base = f"{address}/gone:1"
        subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false"]
            + [f"oci-archive:{path}", f"docker://{base}"],
            check=True,
            capture_output=True,
        )
        anyone.build(f"FROM {base}\nRUN test -e /x\n")
    changed = anyone.build(f"FROM {base}\nRUN test -e /x; echo offline\n")
    refused = anyone.pybuild("--pull", anyone.folder / "c", code=4)

    assert changed.done.output == ["offline"]
    assert f"error[registry/unreachable]: `{address}` cannot be reached" in refused.error
    assert " --> Dockerfile:1:6\n" in refused.error


def test_a_name_that_the_registry_does_not_know(
    anyone: Person, push: Callable[[str, str], str], registry: str
) -> None:
    push("team/base:1", "known")

    for name in ("team/base:2", "team/nothing"):
        done = anyone.pybuild(anyone.context(f"FROM {registry}/{name}\n"), code=4)
        assert f"{registry}/{name}" in done.error
        assert " --> Dockerfile:1:6\n" in done.error


def test_copy_from_an_image_of_a_registry(anyone: Person, push: Callable[[str, str], str]) -> None:
    base = push("tools:1", "tool")

    made = anyone.build(f"FROM scratch\nCOPY --from={base} /word /w\n")

    assert made.new[0].text("w") == "tool\n"
    assert made.new[0].owners() == {"w": (7, 8)}
