"""Limits where cgroup2 is all there is: they hold, they are seen from inside, and they go.

`./check vm` runs this in a machine of that kind.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.stories.compose import Composer, lasting, project, supervisor_of
from tests.stories.conftest import Person
from tests.stories.residue import eventually, watching

pytestmark = [pytest.mark.kernel("overlay"), pytest.mark.kernel("only-cgroup2")]

LIMITED = """\
services:
  held:
    image: busybox
    command: [sh, -c, "STAYS"]
    mem_limit: 64m
    cpus: 0.5
    pids_limit: 20
  greedy:
    image: busybox
    command: [dd, if=/dev/zero, of=/dev/null, bs=64M, count=1]
    mem_limit: 16m
"""


def limits_hold(person: Person) -> bool:
    """Tell whether systemd has a manager for this person, to which their cgroups belong."""
    account = person.account
    return account is None or Path(f"/run/user/{account.uid}/systemd/private").exists()


def cgroups() -> set[str]:
    """Return the cgroups that containers are or were in."""
    found = set()
    for folder, folders, _ in os.walk("/sys/fs/cgroup"):
        if os.path.basename(folder) == "buildkit-py":
            found |= {os.path.join(folder, name) for name in folders}
            folders.clear()
    return found


def seen(composer: Composer, *files: str) -> list[str]:
    """Return what a container finds in files of its own cgroup."""
    return composer(
        "exec", "-T", "held", "sh", "-c", f"cd /sys/fs/cgroup && cat {' '.join(files)}"
    ).stdout.split()


def test_a_project_keeps_its_limits_and_nothing_stays(anyone: Person) -> None:
    before = cgroups()
    with watching() as watch, project(anyone, lasting(LIMITED)) as app:
        done = app("up", "-d")
        if not limits_hold(anyone):
            assert "memory cannot be limited here" in done.stderr
            return

        assert "cannot be limited" not in done.stderr
        assert seen(app, "memory.max", "cpu.max", "pids.max") == [
            "67108864",
            "50000",
            "100000",
            "20",
        ]
        assert seen(app, "/proc/self/cgroup") == ["0::/"]
        host = app.inspect("held-1")["HostConfig"]
        assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 500_000_000, 20)
        assert eventually(lambda: app.states()["greedy-1"] == "exited")
        state = app.inspect("greedy-1")["State"]
        assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)

        app("down", "-t", "0")
        watch.check()
    assert eventually(lambda: cgroups() <= before), cgroups() - before


def test_cgroups_of_a_killed_supervisor_go_with_the_next_command(anyone: Person) -> None:
    before = cgroups()
    with watching() as watch, project(anyone, lasting(LIMITED)) as app:
        app("up", "-d", "held")
        os.kill(supervisor_of(app, "held-1"), signal.SIGKILL)

        app("up", "-d", "held")
        assert app.states()["held-1"] == "running"
        app("down", "-t", "0")
        watch.check()
    assert eventually(lambda: cgroups() <= before), cgroups() - before


def test_a_build_step_sees_its_own_limit(anyone: Person) -> None:
    context = anyone.folder / "context"
    context.mkdir()
    limit = "/sys/fs/cgroup/pids.max"  # not there where no cgroup can be made
    text = f"FROM busybox\nRUN cat /proc/self/cgroup; if [ -e {limit} ]; then cat {limit}; fi\n"
    (context / "Dockerfile").write_text(text)
    for each in (context, context / "Dockerfile"):
        each.chmod(0o755)

    done = anyone.pybuild(context, "--no-cache")

    if limits_hold(anyone):
        assert " 16384" in done.stderr
    assert " 0::/" in done.stderr
