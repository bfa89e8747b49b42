"""Limits without root, in a part of the cgroup2 tree that is the user's, as systemd gives it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rootless import RootlessUser

pytestmark = [
    pytest.mark.root,  # who gives
    pytest.mark.rootless,
    pytest.mark.kernel("cgroup2"),
]

SETTINGS = {"memory": ("memory.max", 64 << 20), "hugetlb": ("hugetlb.2MB.max", 2 << 20)}
"""A limit of each controller; beside v1 hierarchies cgroup2 may have a single odd one."""

SCRIPT = """\
import json, os, signal, sys
controller, file, value = sys.argv[1:]
from buildkit_py.runtime import userns
from buildkit_py.runtime.kernel import cgroup_layout, cgroups, processes
from buildkit_py.runtime.spec import Limits
if controller not in cgroup_layout._CONTROLLERS:
    cgroup_layout._CONTROLLERS = (controller,)
    cgroups.v2_settings = lambda limits: [(file, value)]
layout = userns.enter().cgroups
told = {"layout": layout and [layout.unified, sorted(layout.controllers)]}
if layout and layout.controllers:
    owner = cgroups.Owner(layout)
    cgroup = owner.create(Limits(memory_bytes=int(value)))
    pid, pidfd = processes.clone3(0, cgroup_fd=cgroup.fd)
    if pid == 0:
        signal.pause()
    told["pids"] = [int(pid) for pid in open(cgroup.directories[0] + "/cgroup.procs")] == [pid]
    told["limit"] = int(open(f"{cgroup.directories[0]}/{file}").read())
    told["warnings"] = [] if len(cgroup_layout._CONTROLLERS) == 1 else cgroup.warnings
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(pidfd)
    cgroup.remove()
    owner.close()
print(json.dumps(told))
"""


@pytest.fixture
def given(rootless_user: RootlessUser) -> Iterator[tuple[Path, str]]:
    """A cgroup that is the user's, with a `session` in it, and the controller that it has."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    mount = Path(next(line for line in lines if " - cgroup2 " in line).split()[4])
    available = (mount / "cgroup.controllers").read_text().split()
    controller = next((name for name in SETTINGS if name in available), "")
    if not controller:
        pytest.skip("cgroup2 has no controller that could be given")
    switch = mount / "cgroup.subtree_control"
    was_on = controller in switch.read_text().split()
    switch.write_text(f"+{controller}")
    folder = mount / f"buildkit-py-test-{os.getpid()}"
    folder.mkdir()
    (folder / "session").mkdir()
    for each in ("", "cgroup.procs", "cgroup.subtree_control", "session", "session/cgroup.procs"):
        os.chown(folder / each, rootless_user.uid, rootless_user.gid)
    yield folder, controller
    (folder / "session").rmdir()
    folder.rmdir()  # nothing else is left in there
    if not was_on:
        switch.write_text(f"-{controller}")


def run_in(cgroup: Path, user: RootlessUser, controller: str) -> Any:
    file, value = SETTINGS[controller]
    done = subprocess.run(
        user.command([user.python, "-c", SCRIPT, controller, file, str(value)]),
        env=user.environment,
        cwd=user.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: (cgroup / "cgroup.procs").write_text("0"),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_limits_are_set_in_a_cgroup_of_the_users_own(
    rootless_user: RootlessUser, given: tuple[Path, str]
) -> None:
    folder, controller = given

    told = run_in(folder / "session", rootless_user, controller)

    assert told == {
        "layout": [str(folder), [controller]],
        "pids": True,
        "limit": SETTINGS[controller][1],
        "warnings": [],
    }


def test_a_cgroup_with_processes_in_it_promises_no_limits(
    rootless_user: RootlessUser, given: tuple[Path, str]
) -> None:
    """It cannot hand controllers down, and that is known before a container is made."""
    folder, controller = given
    stays = subprocess.Popen(["sleep", "60"])
    (folder / "cgroup.procs").write_text(str(stays.pid))
    try:
        told = run_in(folder / "session", rootless_user, controller)
    finally:
        stays.kill()
        stays.wait()

    assert told == {"layout": [str(folder), []]}
