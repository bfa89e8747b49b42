"""A bundle's config becomes a plan: data, without root, without touching the system."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildkit_py.core.errors import InputError
from buildkit_py.oci.runtime_config_reader import config_of
from buildkit_py.runtime.bundle import idmap, process, setup
from buildkit_py.runtime.bundle.plan import BundlePlan, numbers_of, plan
from buildkit_py.runtime.confine import SetLimits, SetUmask
from buildkit_py.runtime.setup_names import WriteSysctl
from tests.conftest import Golden
from tests.runtime.bundle.conftest import plain_config

Change = Callable[[dict[str, Any]], object]

FULL: dict[str, Any] = {
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "box",
    "domainname": "example",
    "process": {
        "terminal": True,
        "consoleSize": {"height": 24, "width": 80},
        "user": {"uid": 1000, "gid": 100, "umask": 0o27, "additionalGids": [7, 8]},
        "args": ["make", "all"],
        "env": ["PATH=/bin"],
        "cwd": "/src",
        "capabilities": {
            "bounding": ["CAP_KILL", "CAP_CHOWN"],
            "effective": ["CAP_KILL"],
            "permitted": ["CAP_KILL"],
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}],
        "noNewPrivileges": True,
        "oomScoreAdj": 100,
        "apparmorProfile": "docker-default",
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
    },
}
FULL_LINUX: dict[str, Any] = {
    "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438}],
    "sysctl": {"net.ipv4.ip_forward": "1"},
    "maskedPaths": ["/proc/kcore", "/sys/firmware"],
    "readonlyPaths": ["/proc/sys"],
    "rootfsPropagation": "rslave",
    "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
}
USER_NAMESPACE: dict[str, Any] = {
    "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 10}],
    "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 10}],
}


def chosen(
    config: dict[str, Any], *, cgroup: str = "v2", umask: int = 0o22, selinux: bool = False
) -> BundlePlan:
    return plan(
        config_of(config),
        bundle="/bundle",
        rootfs="/bundle/rootfs",
        machine="x86_64",
        umask=umask,
        cgroup=cgroup,
        selinux=selinux,
    )


def changed(change: Change) -> dict[str, Any]:
    config = plain_config()
    change(config)
    return config


def full() -> dict[str, Any]:
    config = {**plain_config(), **copy.deepcopy(FULL)}
    config["linux"] |= copy.deepcopy(FULL_LINUX)
    config["linux"]["namespaces"][1]["path"] = "/proc/7/ns/pid"
    config["mounts"] += [
        {"destination": "/data", "source": "data", "options": ["rbind", "ro"]},
        {"destination": "/tmp", "type": "tmpfs", "options": ["remount", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"},
    ]
    return config


def in_user_namespace() -> dict[str, Any]:
    config = plain_config()
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"] |= copy.deepcopy(USER_NAMESPACE)
    return config


@pytest.mark.parametrize(
    ("name", "config"),
    [("plain", plain_config()), ("full", full()), ("user", in_user_namespace())],
)
def test_the_whole_plan(golden: Golden, name: str, config: dict[str, Any]) -> None:
    golden(Path(__file__).parent / "plans" / f"{name}.txt", chosen(config).describe() + "\n")


def test_new_file_systems_are_labelled_where_the_machine_can() -> None:
    config = changed(lambda c: c["linux"].update(mountLabel="system_u:object_r:a_t:s0:c1,c2"))
    made = chosen(config, selinux=True)
    labelled = {
        op.destination: ("context", "system_u:object_r:a_t:s0:c1,c2") in op.options.data
        for op in made.before
        if isinstance(op, setup.MountEntry)
    }

    assert labelled == {"/proc": False, "/dev": True, "/dev/pts": True, "/sys": False}
    assert made.warnings == ()


def test_without_selinux_a_label_is_a_warning() -> None:
    made = chosen(changed(lambda c: c["linux"].update(mountLabel="system_u")))

    assert made.warnings == (
        "linux.mountLabel: this machine has no SELinux: mounts are not labelled",
    )


def test_a_mount_with_maps_is_an_operation_of_its_own() -> None:
    config = in_user_namespace()
    config["mounts"].append({"destination": "/a", "source": "/b", "options": ["bind", "idmap"]})

    (mapped,) = [op for op in chosen(config).before if isinstance(op, idmap.MountMapped)]
    assert mapped.describe() == "bind `/b` on `/a`, ids mapped"


def test_capabilities_without_their_prefix_are_none() -> None:
    made = chosen(changed(lambda c: c["process"].update(capabilities={"permitted": ["KILL"]})))

    assert made.warnings == (
        "unknown capabilities are ignored: kill; their names are such as `CAP_KILL`",
    )
    (become,) = [op for op in made.after if isinstance(op, process.BecomeUser)]
    assert become.permitted == 0


def test_a_bind_takes_no_data() -> None:
    config = plain_config()
    config["mounts"].append({"destination": "/a", "source": "/b", "options": ["bind", "size=1k"]})

    with pytest.raises(InputError, match="mounts: `/a`: a bind takes no `size`") as caught:
        chosen(config)

    assert caught.value.code == "runtime/mount-option"


def test_unknown_capabilities_are_a_warning_and_the_others_are_given() -> None:
    sets = {"bounding": ["CAP_KILL", "CAP_FLY"], "permitted": ["CAP_FLY", "CAP_ABRACADABRA"]}
    made = chosen(changed(lambda c: c["process"].update(capabilities=sets)))

    assert made.warnings == ("unknown capabilities are ignored: ABRACADABRA, FLY",)
    (become,) = [op for op in made.after if isinstance(op, process.BecomeUser)]
    assert (become.bounding, become.permitted) == (1 << 5, 0)


def test_without_capabilities_none_are_kept() -> None:
    made = chosen(changed(lambda c: c["process"].pop("capabilities")))

    (become,) = [op for op in made.after if isinstance(op, process.BecomeUser)]
    assert (become.bounding, become.effective, become.permitted) == (0, 0, 0)


@pytest.mark.parametrize(("given", "mask"), [(None, 0o51), (0, 0), (0o27, 0o27)])
def test_the_umask_is_the_callers_unless_one_is_given(given: int | None, mask: int) -> None:
    config = plain_config()
    if given is not None:
        config["process"]["user"]["umask"] = given

    assert SetUmask(mask) in chosen(config, umask=0o51).after


def test_the_working_directory_is_made_before_the_umask_is_the_programs() -> None:
    lines = chosen(plain_config()).describe().splitlines()

    assert lines.index("chdir `/`") < lines.index("umask 0022")


@pytest.mark.parametrize("privileges", [True, False])
def test_the_filter_is_loaded_when_the_kernel_allows_it(privileges: bool) -> None:
    """Without no_new_privs only while we hold CAP_SYS_ADMIN; with it as late as can be."""
    config = plain_config()
    config["process"]["noNewPrivileges"] = privileges
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}

    kinds = [type(op).__name__ for op in chosen(config).after[-3:]]

    assert kinds[-3 if privileges else -2 :] == (
        ["BecomeUser", "GainNothing", "LoadProgram"]
        if privileges
        else ["LoadProgram", "BecomeUser"]
    )


def test_flags_of_the_filter_reach_the_kernel() -> None:
    config = plain_config()
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
    }

    (load,) = [op for op in chosen(config).after if isinstance(op, process.LoadProgram)]

    assert load.flags & 2


def test_limits_are_the_specifications_without_their_prefix() -> None:
    limit = {"type": "RLIMIT_NPROC", "soft": 5, "hard": (1 << 64) - 1}
    made = chosen(changed(lambda c: c["process"].update(rlimits=[limit])))

    assert SetLimits((("nproc", 5, -1),)) in made.after


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
    ],
)
def test_parameters_are_named_with_dots_or_slashes(name: str, path: str) -> None:
    made = chosen(changed(lambda c: c["linux"].update(sysctl={name: "1"})))

    assert WriteSysctl(path, "1", optional=False) in made.before


def mounted(*mounts: dict[str, Any], cgroup: str = "v2") -> list[str]:
    config = plain_config()
    config["mounts"] = list(mounts)
    before = chosen(config, cgroup=cgroup).before
    return [
        op.describe()
        for op in before
        if isinstance(op, setup.MountEntry | setup.MountCgroups) or "nodes" in op.describe()
    ]


def test_mounts_keep_their_order_and_relative_destinations_start_at_the_root() -> None:
    lines = mounted(
        {"destination": "/b/c", "type": "tmpfs"},
        {"destination": "b", "type": "tmpfs"},
        {"destination": "/a", "source": "relative", "options": ["bind"]},
        {"destination": "/a", "source": "/absolute", "type": "bind"},
    )

    assert lines[:4] == [
        "mount tmpfs on `/b/c`",
        "mount tmpfs on `/b`",
        "bind `/bundle/relative` on `/a`",
        "bind `/absolute` on `/a`",
    ]


@pytest.mark.parametrize(
    ("cgroup", "line"),
    [
        ("v1", "mount cgroups on `/sys/fs/cgroup`"),
        ("v2", "mount cgroup2 on `/sys/fs/cgroup`"),
        ("", ""),
    ],
)
def test_a_mount_of_cgroups_shows_what_this_machine_has(cgroup: str, line: str) -> None:
    lines = mounted({"destination": "/sys/fs/cgroup", "type": "cgroup"}, cgroup=cgroup)

    assert lines[:-1] == ([line] if line else [])


@pytest.mark.parametrize(
    "mount",
    [
        {"destination": "/dev", "source": "/dev", "type": "bind"},
        {"destination": "/dev/", "source": "/dev", "options": ["rbind"]},
    ],
)
def test_a_dev_of_the_hosts_gets_no_nodes(mount: dict[str, Any]) -> None:
    assert [line for line in mounted(mount) if "nodes" in line] == []


def test_devices_are_added_to_those_that_must_be_and_may_replace_them() -> None:
    devices = [
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 5},
        {"path": "/dev/pipe", "type": "p"},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2},
    ]
    made = chosen(changed(lambda c: c["linux"].update(devices=devices)))

    (nodes,) = [op for op in made.before if isinstance(op, setup.MakeNodes)]
    by_path = {node.path: node for node in nodes.nodes}
    assert by_path["/dev/null"] == setup.Node("/dev/null", "c", 1, 3, 0o600, 5, 0)
    assert by_path["/dev/pipe"] == setup.Node("/dev/pipe", "p", 0, 0, 0o666, 0, 0)
    assert sorted(by_path) == [
        f"/dev/{name}" for name in "full null pipe random tty urandom zero".split()
    ]
    assert not nodes.bind


def test_a_read_only_dev_is_locked_when_it_is_full() -> None:
    config = plain_config()
    config["mounts"][1]["options"].append("ro")
    lines = chosen(config).describe().splitlines()

    assert lines[-6:-4] == ["read-only /dev", "created"]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", set()), ("3", {3}), ("0-2,5", {0, 1, 2, 5}), ("1,1-2", {1, 2})],
)
def test_lists_of_numbers(text: str, numbers: set[int]) -> None:
    assert numbers_of(text) == numbers


def test_a_device_whose_path_ends_in_a_slash() -> None:
    device = {"path": "/dev/a/", "type": "c", "major": 1, "minor": 3}
    made = chosen(changed(lambda c: c["linux"].update(devices=[device])))

    (nodes,) = [op for op in made.before if isinstance(op, setup.MakeNodes)]
    assert nodes.nodes[-1].path == "/dev/a"
