"""A container becomes a plan: data, without root, without touching the system."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buildkit_py.core.errors import HostError, InputError
from buildkit_py.runtime import confine, setup
from buildkit_py.runtime.host import Host
from buildkit_py.runtime.kernel.cgroup_layout import Layout
from buildkit_py.runtime.plan import mount_points, plan
from buildkit_py.runtime.spec import (
    Account,
    Bind,
    Container,
    Directory,
    Interface,
    Overlay,
    Tmpfs,
)
from tests.conftest import Golden

LAYOUT = Layout("v2", "/sys/fs/cgroup", frozenset({"memory", "pids"}), (), "bpf")
ROOT = Host(rootless=False, ids="all", overlay="kernel", cgroups=LAYOUT, machine="x86_64")
SINGLE = Host(
    rootless=True,
    ids="single",
    overlay="userxattr",
    cgroups=None,
    set_groups=False,
    terminal_group=None,
    machine="x86_64",
)
CONTAINER = Container(
    args=("make", "all"),
    root=Overlay(("/layers/b", "/layers/a"), "/s/upper", "/s/work"),
    env=("A=1",),
    cwd="/src",
    account=Account(1000, 100, (100, 7), "/home/ann"),
    interface=Interface("10.1.2.3", 24, "10.1.2.1"),
    mounts=(
        Tmpfs("/tmp/deep/inside", size_bytes=4096),
        Bind("/host/cache", "/tmp", read_only=False),
    ),
    files={"/etc/resolv.conf": "", "/etc/hosts": ""},
    rlimits={"nofile": (64, 128)},
    sysctls={"net.core.somaxconn": "7", "kernel.shmmax": "9"},
    terminal=True,
)


@pytest.mark.parametrize(("name", "host"), [("root", ROOT), ("single", SINGLE)])
def test_the_whole_plan(golden: Golden, name: str, host: Host) -> None:
    text = plan(CONTAINER, host, stubs="/s/work-stubs").describe() + "\n"

    golden(Path(__file__).parent / "plans" / f"{name}.txt", text)


def test_the_same_container_gives_the_same_plan() -> None:
    assert plan(CONTAINER, ROOT) == plan(replace(CONTAINER), ROOT)


def test_without_guarded_devices_the_root_has_none() -> None:
    unguarded = replace(ROOT, cgroups=None)
    directory = replace(CONTAINER, root=Directory("/r"))

    assert plan(directory, unguarded).before[0] == setup.MountDirectory("/r", no_devices=True)
    assert plan(directory, ROOT).before[0] == setup.MountDirectory("/r", no_devices=False)


def test_insecure_has_neither_filter_nor_masks() -> None:
    free = plan(replace(CONTAINER, security="insecure"), ROOT)
    kinds = {type(op) for op in (*free.before, *free.after)}

    assert not kinds & {setup.MaskPaths, setup.ReadOnlyPaths, confine.LoadFilter}
    (account,) = [op for op in free.after if isinstance(op, confine.BecomeAccount)]
    assert account.keep == (1 << 41) - 1


def test_the_last_of_two_settings_wins_and_path_and_home_are_added() -> None:
    container = replace(CONTAINER, env=("A=1", "A=2", "B", "C=x=y"), terminal=False)

    assert plan(container, ROOT).env == (
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/home/ann",
        "A=2",
        "B=",
        "C=x=y",
    )


def test_mount_points_are_known_beforehand_but_for_those_in_our_own_mounts() -> None:
    container = replace(CONTAINER, mounts=(*CONTAINER.mounts, Tmpfs("/dev/shm/x")))

    assert mount_points(container, is_directory={"/host/cache": True}) == [
        ("/dev", True),
        ("/etc/hosts", False),
        ("/etc/resolv.conf", False),
        ("/proc", True),
        ("/sys", True),
        ("/tmp", True),
        ("/tmp/deep/inside", True),
    ]


@pytest.mark.parametrize("target", ["/", "//", "/proc", "/proc/self", "proc/x", "/a/../proc"])
def test_some_places_are_not_for_mounts(target: str) -> None:
    with pytest.raises(InputError, match="nothing can be mounted"):
        plan(replace(CONTAINER, mounts=(Tmpfs(target),)), ROOT)


@pytest.mark.parametrize(
    "name", ["kernel.core_pattern", "vm.swappiness", "net/../kernel.x", "net.ipv4/x", "fs.file-max"]
)
def test_a_sysctl_of_the_whole_machine_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="does not belong to the container"):
        plan(replace(CONTAINER, sysctls={name: "1"}), ROOT)


def test_a_sysctl_of_the_hosts_network_is_refused() -> None:
    with pytest.raises(InputError, match="does not belong"):
        plan(replace(CONTAINER, network="host"), ROOT)


def test_no_program_and_no_overlay_are_errors() -> None:
    with pytest.raises(InputError, match="no program"):
        plan(replace(CONTAINER, args=()), ROOT)
    with pytest.raises(HostError, match="overlay"):
        plan(CONTAINER, replace(ROOT, overlay=None))
