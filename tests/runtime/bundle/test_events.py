"""`pyruntime events`: lines of what a container uses, and of memory that ran out."""

from __future__ import annotations

import json
import select
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from buildkit_py.runtime.kernel.oci_cgroup_events import OomWatch
from buildkit_py.runtime.kernel.oci_cgroup_paths import Place
from buildkit_py.runtime.kernel.oci_cgroups import Cgroup
from tests.runtime.bundle.conftest import Bundle
from tests.stories.residue import eventually

LIMIT = 64 << 20
EAT = "dd if=/dev/zero of=/dev/null bs=200M count=1"


class Following:
    """`pyruntime events` of a bundle's container, in the background."""

    def __init__(self, bundle: Bundle, *words: str) -> None:
        self.program = subprocess.Popen(
            bundle.argv("events", *words, bundle.id), stdout=subprocess.PIPE, text=True
        )

    def line(self) -> dict[str, Any]:
        assert self.program.stdout is not None
        ready, _, _ = select.select([self.program.stdout], [], [], 20)
        assert ready
        made: dict[str, Any] = json.loads(self.program.stdout.readline())
        return made

    def rest(self) -> list[dict[str, Any]]:
        out, _ = self.program.communicate(timeout=20)
        return [json.loads(line) for line in out.splitlines()]


@pytest.mark.root
def test_a_line_in_each_interval_until_the_end(bundle: Bundle) -> None:
    bundle.create("sleep 60")
    bundle.ok("start", bundle.id)
    following = Following(bundle, "--interval", "100ms")
    lines = [following.line() for _ in range(3)]
    bundle.ok("kill", bundle.id, "KILL")
    lines += following.rest()

    assert following.program.returncode == 0
    assert {line["type"] for line in lines} == {"stats"}
    assert {line["id"] for line in lines} == {bundle.id}
    assert all("memory" in line["data"] for line in lines)


@pytest.mark.root
def test_the_first_line_does_not_wait(bundle: Bundle) -> None:
    bundle.create("sleep 60")
    following = Following(bundle, "--interval", "1h")

    assert following.line()["type"] == "stats"
    following.program.send_signal(signal.SIGINT)
    following.rest()
    assert following.program.returncode == 130


@pytest.mark.root
@pytest.mark.skipif(not Path("/sys/fs/cgroup/memory").exists(), reason="cgroup v1 only")
def test_memory_that_ran_out(bundle: Bundle) -> None:
    bundle.linux["resources"] = {"memory": {"limit": LIMIT, "swap": LIMIT}}
    bundle.create(f"read x </tmp/go; {EAT}; sleep 60")
    subprocess.run(["mkfifo", str(bundle.rootfs / "tmp" / "go")], check=True)
    bundle.ok("start", bundle.id)
    following = Following(bundle, "--interval", "1h")
    assert following.line()["type"] == "stats"
    (bundle.rootfs / "tmp" / "go").write_text("go\n")

    assert following.line() == {"type": "oom", "id": bundle.id}
    bundle.ok("kill", bundle.id, "KILL")
    following.rest()


@pytest.mark.root
def test_a_container_that_ended_has_none(bundle: Bundle) -> None:
    bundle.create("true")
    bundle.ok("start", bundle.id)
    assert eventually(lambda: bundle.status() == "stopped")

    assert "is stopped, not running" in bundle.fails("events", bundle.id)


@pytest.mark.root
@pytest.mark.parametrize("text", ["0", "-1s", "5", "", "soon"])
def test_what_is_no_interval(bundle: Bundle, text: str) -> None:
    assert f"`--interval {text}`" in bundle.fails("events", "--interval", text, "a")


def test_deaths_are_counted_where_the_kernel_only_tells_of_a_change(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 1\noom_kill 1\noom_group_kill 0\n")
    watch = OomWatch(Cgroup([Place(str(tmp_path), "", (), unified=True)]))
    assert watch.events == select.POLLPRI
    assert watch.happened() == 0

    events.write_text("low 9\noom 3\noom_kill 3\noom_group_kill 0\n")
    assert (watch.happened(), watch.happened()) == (2, 0)
    watch.close()


def test_without_a_counter_of_memory_there_is_nothing_to_watch(tmp_path: Path) -> None:
    assert OomWatch(Cgroup([Place(str(tmp_path), "", (), unified=True)])).fd == -1
    assert OomWatch(Cgroup([])).fd == -1
