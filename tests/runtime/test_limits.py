"""Limits that are real: memory, processes, processor time; recorded when the kernel kills."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.runtime.kernel.cgroup_limits import v1_settings, v2_settings, weight_of_shares
from buildkit_py.runtime.kernel.cgroups import Cgroup, _limit
from buildkit_py.runtime.spec import Limits
from tests.rootless import TREE
from tests.runtime.conftest import Inside, program


def test_settings_of_both_worlds() -> None:
    limits = Limits(
        memory_bytes=100, reservation_bytes=50, cpus=1.5, cpu_shares=1024, cpuset_cpus="0-1", pids=7
    )

    assert list(v2_settings(limits)) == [
        ("memory.max", "100"),
        ("memory.swap.max", "100"),
        ("memory.low", "50"),
        ("cpu.max", "150000 100000"),
        ("cpu.weight", "100"),
        ("cpuset.cpus", "0-1"),
        ("pids.max", "7"),
    ]
    assert v1_settings(limits) == [
        ("memory.limit_in_bytes", "100"),
        ("memory.memsw.limit_in_bytes", "200"),
        ("memory.soft_limit_in_bytes", "50"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "150000"),
        ("cpu.shares", "1024"),
        ("cpuset.cpus", "0-1"),
        ("pids.max", "7"),
    ]


def test_a_limit_that_the_kernel_lacks_is_a_warning_where_somebody_asked_for_it(
    tmp_path: Path,
) -> None:
    """Folders stand for cgroups: a file that is missing there is one that a kernel lacks."""
    asked = Limits(memory_bytes=100, swap_bytes=150, reservation_bytes=50)
    said = []
    for limits in (Limits(memory_bytes=100), asked):
        cgroup = Cgroup()
        for file, _ in (*v2_settings(limits), *v1_settings(limits)):
            if file not in ("memory.max", "memory.limit_in_bytes"):
                _limit(cgroup, limits, str(tmp_path / file), "1")
        said.append(cgroup.warnings)

    swap = "swap cannot be limited: the kernel does not count it"
    reserved = "memory cannot be reserved: the kernel lacks it"
    assert said == [[], [swap, reserved, swap, reserved]]
    with pytest.raises(FileNotFoundError):
        _limit(Cgroup(), asked, str(tmp_path / "memory.max"), "1")


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 100), (262144, 10000)])
def test_shares_become_weights_at_the_ends_and_in_the_middle(shares: int, weight: int) -> None:
    assert weight_of_shares(shares) == weight


@pytest.mark.root
def test_a_container_over_its_memory_is_killed_and_it_is_recorded(inside: Inside) -> None:
    out = inside("""
        limits = Limits(memory_bytes=16 << 20, swap_bytes=16 << 20)
        end = sh("dd if=/dev/zero of=/dev/null bs=64M count=1; echo after", limits=limits)
        print(end.exit.oom, end.out.count("after"))
        end = run("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1", limits=limits)
        print(end.exit.code, end.exit.signal, end.exit.oom)
        print(sh("true", limits=limits).exit)
    """)

    assert out.splitlines()[:2] == ["True 1", "137 9 True"]
    assert "oom=False" in out.splitlines()[2]


@pytest.mark.root
def test_a_fork_bomb_meets_its_limit(inside: Inside) -> None:
    out = inside("""
        script = "for i in $(seq 30); do sleep 0.2 & done; wait; echo done"
        print(sh(script, limits=Limits(pids=10)).out)
    """)

    assert "Resource temporarily unavailable" in out or "can't fork" in out


@pytest.mark.root
def test_processor_limits_are_set(inside: Inside) -> None:
    out = inside("""
        end = sh("nproc 2>/dev/null; grep Cpus_allowed_list /proc/self/status",
                 limits=Limits(cpus=0.5, cpu_shares=512, cpuset_cpus="0"))
        print(end.exit.code, end.out.split()[-1], end.warnings)
    """)

    assert out.split() == ["0", "0", "[]"]


@pytest.mark.root
def test_a_limit_that_cannot_be_is_refused_and_leaves_nothing(inside: Inside) -> None:
    out = inside("""
        try:
            sh("true", limits=Limits(cpuset_cpus="4000"))
        except HostError as error:
            print(error.message.partition(":")[0].split()[0])
        print(sh("echo fine").out)
    """)

    assert out.split() == ["write", "fine"]


@pytest.mark.root
def test_a_machine_with_cgroup2_alone(folder: Path) -> None:
    """As systemd sets machines up today: here a mount namespace that shows nothing else."""
    lines = """
        print(box.host.cgroup, box.host.guards_devices)
        result = sh('''
            grep -c ' - cgroup2 ' /proc/self/mountinfo
            cat /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/x
            mknod /memory c 1 1; cat /memory
        ''')
        print(result.out)
        end = sh("sleep 100 & sleep 100 & exit 3")
        print(end.exit.code, end.exit.oom)
    """
    only = """
        mount --make-rprivate /
        [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t cgroup2 none /sys/fs/cgroup
        exec "$0" -c "$1"
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", only, sys.executable, program(str(folder), lines)],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    out = done.stdout.splitlines()
    assert out[0] == "v2 True"
    assert out[1] == "1"
    assert out[2] == "1", "the container sees its own cgroup, with its own first process"
    assert "Read-only file system" in out[4] or "Read-only file system" in out[3], out
    assert "can't open '/memory': Operation not permitted" in done.stdout
    assert out[-1] == "3 False"
