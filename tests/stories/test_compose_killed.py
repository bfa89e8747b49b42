"""SIGKILL of `up`, `down` and what looks after containers: what is left still works, and goes."""

from __future__ import annotations

import os
import signal

import pytest

from tests.stories.compose import SHOP, lasting, project, supervisor_of
from tests.stories.conftest import Person
from tests.stories.residue import command, descendants, eventually, watching

pytestmark = [pytest.mark.kernel("overlay")]


def test_a_killed_supervisor_takes_all_along_and_up_brings_it_back(anyone: Person) -> None:
    with watching() as watch, project(anyone, lasting(SHOP)) as shop:
        shop("up", "-d")
        os.kill(supervisor_of(shop, "web-1"), signal.SIGKILL)

        assert eventually(lambda: "running" not in shop.states().values())
        shop("up", "-d")
        assert shop.states()["web-1"] == "running"

        os.kill(supervisor_of(shop, "web-1"), signal.SIGKILL)
        shop("down", "-v")
        assert shop.containers() == {}
        watch.check()


@pytest.mark.parametrize("wait_for", ["Creating", "Created", "Starting", "Started"])
def test_up_may_be_killed_at_any_moment(anyone: Person, wait_for: str) -> None:
    with watching() as watch, project(anyone, lasting(SHOP)) as shop:
        process = shop.start("up", "-d")
        assert process.stderr is not None
        for line in process.stderr:
            if f"  {wait_for}".encode() in line:
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        assert process.stdout is not None
        process.stdout.close()

        shop("up", "-d")
        assert shop.states() == {"db-1": "running", "job-1": "exited", "web-1": "running"}
        shop("down", "-v")
        watch.check()
        assert shop.containers() == {}


@pytest.mark.parametrize("wait_for", ["Stopping", "Stopped", "Removing", "Removed"])
def test_down_may_be_killed_at_any_moment(anyone: Person, wait_for: str) -> None:
    with watching() as watch, project(anyone, lasting(SHOP)) as shop:
        shop("up", "-d")
        process = shop.start("down", "-v")
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if f"  {wait_for}".encode() in line:
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        process.stdout.close()

        shop("down", "-v")
        assert shop.containers() == {}
        assert "app_default" not in shop.engine("network", "ls").stdout
        watch.check()


STUBBORN = """\
services:
  web:
    image: busybox
    stop_grace_period: 10m
    command: [sh, -c, "trap 'touch /asked' TERM; while :; do sleep 0.1; done"]
"""


@pytest.mark.parametrize("words", [("down",), ("stop",), ("restart",)], ids=lambda words: words[0])
def test_ctrl_c_ends_a_command_that_waits_for_a_container_to_end(
    anyone: Person, words: tuple[str, ...]
) -> None:
    with watching() as watch, project(anyone, STUBBORN) as app:
        app("up", "-d")
        process = app.start(*words)
        asked = lambda: app("exec", "-T", "web", "test", "-e", "/asked", code=None).code == 0  # noqa: E731
        assert eventually(asked)

        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)

        assert process.returncode == 130
        assert said.endswith(b"\ninterrupted\n")
        assert app.states() == {"web-1": "running"}
        app("kill")
        app("down")
        assert app.containers() == {}
        watch.check()


PUBLISHED = """\
services:
  web: {image: busybox, command: [sh, -c, "STAYS"], ports: ["127.0.0.1::80"]}
"""


def parts_of(supervisor: int) -> dict[str, int]:
    """Return the processes that a supervisor has beside it, by what they are."""
    found: dict[str, int] = {}
    for pid in descendants(supervisor):
        words = command(pid)
        if "zygote" in words:
            found["zygote"] = min(pid, found.get("zygote", pid))
        elif "proxy" in words:
            found["proxy"] = pid
        elif words.split(" ")[0].rpartition("/")[2] in ("pasta", "pasta.avx2", "slirp4netns"):
            found["uplink"] = pid
    return found


@pytest.mark.parametrize("part", ["zygote", "proxy", "uplink"])
def test_any_part_may_be_killed_and_down_leaves_nothing(anyone: Person, part: str) -> None:
    with watching() as watch, project(anyone, lasting(PUBLISHED)) as app:
        app("up", "-d")
        parts = parts_of(supervisor_of(app, "web-1"))
        if part not in parts:
            assert part == "uplink", parts
            pytest.skip("root needs no helper for its uplink")
        os.kill(parts[part], signal.SIGKILL)

        app("down", timeout_seconds=60)
        assert app.containers() == {}
        watch.check()
        app("up", "-d")
        assert app.states() == {"web-1": "running"}
        app("down")
        watch.check()
