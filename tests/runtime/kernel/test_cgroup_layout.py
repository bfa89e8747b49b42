"""What cgroup2 hands down, on the real kernel; most of it is only seen in tests/vm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.runtime.kernel.cgroup_layout import _nearest_writable, is_free
from tests.rootless import TREE

INSIDE = """
import os, subprocess, sys
from buildkit_py.runtime.kernel import cgroup_layout
top = "/sys/fs/cgroup"
beside = subprocess.Popen(["sleep", "100"])
try:
    print(cgroup_layout.own_paths()[""], cgroup_layout.is_free(top))
    with open(top + "/cgroup.procs") as file:
        print(file.read().split())
    with open(top + "/init/cgroup.procs") as file:
        inside = set(file.read().split())
    print({str(os.getpid()), str(beside.pid)} <= inside, cgroup_layout.own_paths()[""])
finally:
    beside.kill()
    beside.wait()
"""


def cgroup2() -> str:
    """Return where the whole hierarchy is mounted."""
    with open("/proc/self/mountinfo") as file:
        rows = [line.split() for line in file if " - cgroup2 " in line]
    return rows[0][4]


@pytest.mark.root
@pytest.mark.kernel("cgroup2")
def test_in_a_container_processes_make_room_so_that_controllers_are_handed_down() -> None:
    """A cgroup namespace and a mount in it stand for the container: its cgroup is not the root."""
    group = Path(cgroup2()) / f"buildkit-py-test-{os.getpid()}"
    group.mkdir()
    enter = f"""
        echo 0 >{group}/cgroup.procs
        exec unshare --cgroup --mount sh -c '
            mount --make-rprivate /
            [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ] || umount --lazy /sys/fs/cgroup
            mount -t cgroup2 none /sys/fs/cgroup
            exec "$@"' sh "$@"
    """
    try:
        done = subprocess.run(
            ["sh", "-ec", enter, "sh", sys.executable, "-c", INSIDE],
            env={**os.environ, "PYTHONPATH": str(TREE)},
            capture_output=True,
            text=True,
        )
    finally:
        if (group / "init").exists():
            (group / "init").rmdir()
        group.rmdir()

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["/ True", "[]", "True /init"]


@pytest.mark.root
@pytest.mark.kernel("cgroup2")
def test_the_real_root_hands_down_with_processes_in_it_and_other_cgroups_do_not() -> None:
    mount = cgroup2()
    group = Path(mount) / f"buildkit-py-test-{os.getpid()}"
    group.mkdir()
    with subprocess.Popen(["sleep", "100"]) as process:
        try:
            empty = is_free(str(group))
            (group / "cgroup.procs").write_text(str(process.pid))
            free = is_free(mount), empty, is_free(str(group))
        finally:
            process.kill()
            process.wait()
            group.rmdir()

    assert free == (True, True, False)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["a", "a/b", "a/b/c"], "/a/b"),
        (["a/b/c"], "/a/b/c"),
        (["a"], "/a"),
        ([""], ""),
        ([], None),
    ],
)
def test_cgroups_above_our_own_come_first_as_nobody_has_to_move_for_them(
    tmp_path: Path, given: list[str], found: str | None
) -> None:
    """Folders stand for cgroups; one without cgroup.procs is one that is not ours."""
    (tmp_path / "a/b/c").mkdir(parents=True)
    for each in given:
        (tmp_path / each / "cgroup.procs").touch()

    assert _nearest_writable(str(tmp_path), "/a/b/c") == (
        "" if found is None else f"{tmp_path}{found}"
    )
