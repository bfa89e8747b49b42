"""SIGKILL of the runtime at any moment: what is left is found by `delete --force`, all of it."""

from __future__ import annotations

import contextlib
import random
import subprocess
from typing import Any

import pytest

from tests.runtime.bundle.conftest import Bundle
from tests.stories.residue import Watch, eventually

pytestmark = pytest.mark.root

ROUNDS = 24
LONGEST_SECONDS = 0.24
"""About as long as the commands take; a later kill finds a container that waits or runs."""


@pytest.mark.parametrize("command", ["create", "run"])
@pytest.mark.parametrize("hooks", [False, True])
def test_nothing_is_left_of_a_runtime_that_was_killed(
    bundle: Bundle, command: str, hooks: bool
) -> None:
    chance = random.Random(f"{command} {hooks}")
    bundle.script("sleep 1000 & sleep 1000")
    bundle.linux["resources"] = {"pids": {"limit": 50}}
    if hooks:
        hook: dict[str, Any] = {"path": "/bin/true"}
        bundle.config["hooks"] = {
            kind: [hook] for kind in ("createRuntime", "createContainer", "startContainer")
        }
    watch = Watch()
    for number in range(ROUNDS // 2):
        delay = LONGEST_SECONDS * (number + chance.random()) / (ROUNDS // 2)
        with subprocess.Popen(
            bundle.argv(*bundle.made(command)),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(delay)
            process.kill()
            process.wait()
        bundle.ok("delete", "--force", bundle.id)

        assert eventually(bundle.is_gone), f"after {delay:.3f} s: {bundle.leftovers()}"
        assert eventually(lambda: not watch.left()), f"after {delay:.3f} s: {watch.left()}"


def test_a_container_half_made_is_listed_and_told_of(bundle: Bundle) -> None:
    """Killed before there was anything but the directory: the worst of moments."""
    (bundle.states / bundle.id).mkdir(parents=True)

    assert bundle.ok("list", "-q") == f"{bundle.id}\n"
    assert bundle.status() == "stopped"
    assert "stopped, not created" in bundle.fails("start", bundle.id)
    bundle.ok("delete", bundle.id)


def test_a_state_that_was_cut_off_is_told_of_and_can_be_removed(bundle: Bundle) -> None:
    place = bundle.states / bundle.id
    place.mkdir(parents=True)
    (place / "state.json").write_text('{"id": ')

    bundle.fails("state", bundle.id)
    bundle.call("list")
    bundle.ok("delete", "--force", bundle.id)


def test_two_who_create_at_once(bundle: Bundle) -> None:
    """One wins, the others are told, and nothing of the winner's is touched."""
    bundle.script("sleep 1000")
    argv = bundle.argv(*bundle.made("create"))
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    all_ = [
        subprocess.Popen(argv, stderr=subprocess.DEVNULL, **quiet)  # type: ignore[call-overload]
        for _ in range(4)
    ]
    codes = [process.wait(30) for process in all_]

    assert sorted(codes) == [0, 1, 1, 1]
    assert bundle.status() == "created"


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_does_not_outlive_its_runtime(bundle: Bundle, kind: str) -> None:
    started = bundle.rootfs / "tmp" / "started"
    script = f"trap '' TERM INT HUP; echo $$ > {started}; exec sleep 1000"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}
    bundle.config["hooks"] = {kind: [hook]}
    watch = Watch()
    with subprocess.Popen(bundle.argv(*bundle.made("create")), stdin=subprocess.DEVNULL) as process:
        has_started = eventually(lambda: started.exists() and bool(started.read_text().strip()))
        process.kill()

    assert has_started

    bundle.ok("delete", "--force", bundle.id)
    assert eventually(lambda: not watch.left()), watch.left()


def test_what_a_damaged_state_hides_is_found_by_the_config(bundle: Bundle) -> None:
    bundle.create("sleep 1000")
    bundle.ok("start", bundle.id)
    (bundle.states / bundle.id / "state.json").write_text('{"id":')
    assert "is damaged" in bundle.fails("delete", bundle.id)
    done = bundle.call("delete", "--force", bundle.id)

    assert (done.returncode, "removed by its config.json" in done.stderr) == (0, True)
    assert bundle.is_gone(), bundle.leftovers()


def test_a_damaged_state_with_a_damaged_config(bundle: Bundle) -> None:
    place = bundle.states / bundle.id
    place.mkdir(parents=True)
    (place / "state.json").write_text("[]")
    (place / "config.json").write_text("{}")
    done = bundle.call("delete", "--force", bundle.id)

    assert (done.returncode, "may be left: " in done.stderr) == (0, True)
    assert bundle.is_gone()
