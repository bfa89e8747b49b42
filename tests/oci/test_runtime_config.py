"""`config.json` is read whole, or refused with the path to every fault: never with a traceback."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import subprocess
import sys
from typing import Any

import pytest

from buildkit_py.core.errors import InputError
from buildkit_py.oci.runtime_config import (
    Capabilities,
    Config,
    DeviceRule,
    Hook,
    IdMapping,
    Mount,
    Namespace,
    Resources,
    SeccompArgument,
    SeccompRule,
)
from buildkit_py.oci.runtime_config_linux import sysctl_path
from buildkit_py.oci.runtime_config_reader import (
    BadConfig,
    config_of,
    read,
    read_process,
    read_resources,
)
from buildkit_py.oci.runtime_config_section import MOST_FAULTS
from tests.house.sources import TREE

GONE = object()
CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID"]
FILES = {"hosts": "/etc/hosts", "resolv.conf": "/etc/resolv.conf", "hostname": "/etc/hostname"}
CALLS = [f"call_{number}" for number in range(360)]

GOOD: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs", "readonly": True},
    "process": {
        "terminal": True,
        "consoleSize": {"height": 25, "width": 80},
        "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [5, 6]},
        "args": ["sh", "-c", ""],
        "env": ["PATH=/usr/bin:/bin", "EMPTY="],
        "cwd": "/",
        "capabilities": {key: list(CAPABILITIES) for key in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": (1 << 64) - 1, "soft": 1024}],
        "noNewPrivileges": True,
        "oomScoreAdj": -5,
        "apparmorProfile": "docker-default",
        "selinuxLabel": "a:b",
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "execCPUAffinity": {"initial": "7", "final": "0-2, 5,,1,"},
    },
    "hostname": "box",
    "domainname": "example",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]},
        {"destination": "dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        *(
            {
                "destination": path,
                "type": "bind",
                "source": f"/var/lib/{name}",
                "options": ["rbind"],
            }
            for name, path in FILES.items()
        ),
        {
            "destination": "/data",
            "source": "/srv",
            "options": ["bind", "idmap"],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
        },
    ],
    "hooks": {
        "prestart": [{"path": "/bin/a", "args": ["a", "b"], "env": ["A=b"], "timeout": 3}],
        "poststop": [{"path": "/bin/b"}],
    },
    "annotations": {"org.example.a": "b", "é": ""},
    "linux": {
        "namespaces": [
            {"type": "mount"},
            {"type": "network", "path": "/run/netns/a"},
            *({"type": each} for each in ("uts", "pid", "ipc", "user", "cgroup", "time")),
        ],
        "uidMappings": [
            {"containerID": 1, "hostID": 100001, "size": 65535},
            {"containerID": 0, "hostID": 1000, "size": 1},
        ],
        "gidMappings": [{"containerID": 0, "hostID": 0, "size": 4294967295}],
        "timeOffsets": {"boottime": {"secs": -7, "nanosecs": 5}},
        "devices": [
            {
                "path": "/dev/fuse",
                "type": "c",
                "major": 10,
                "minor": 229,
                "fileMode": 438,
                "uid": 1,
            },
            {"path": "/dev/pipe", "type": "p"},
        ],
        "netDevices": {"eth0": {"name": "inside%d"}, "ens4.1": {}},
        "cgroupsPath": "system.slice:docker:abc",
        "resources": {
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": -1, "access": "rw"},
            ],
            "memory": {
                "limit": 1 << 29,
                "reservation": 1 << 28,
                "swap": -1,
                "kernel": -1,
                "kernelTCP": -1,
                "swappiness": 0,
                "disableOOMKiller": False,
                "useHierarchy": True,
                "checkBeforeUpdate": True,
            },
            "cpu": {
                "shares": 1024,
                "quota": 50000,
                "burst": 50000,
                "period": 100000,
                "realtimeRuntime": 1,
                "realtimePeriod": 2,
                "cpus": "0-3",
                "mems": "0",
                "idle": 0,
            },
            "pids": {"limit": 0},
            "blockIO": {
                "weight": 10,
                "leafWeight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 500}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 300}],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 21}],
            "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]},
            "rdma": {"mlx5_1": {"hcaHandles": 3}},
            "unified": {"memory.high": "1073741824"},
        },
        "intelRdt": {
            "closID": "group",
            "schemata": ["L2:0=f"],
            "l3CacheSchema": "L3:0=f",
            "memBwSchema": "MB:0=20",
            "enableMonitoring": True,
        },
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]},
        "sysctl": {
            "net.ipv4.ip_unprivileged_port_start": "0",
            "net/ipv4/conf/eth0.1/forwarding": "1",
            "fs.mqueue.msg_max": "10",
            "kernel.shmmax": "1",
            "kernel.domainname": "example",
            "kernel/hostname": "box",
            "user.max_pid_namespaces": "3",
        },
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 1,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/agent.sock",
            "listenerMetadata": "m",
            "syscalls": [
                {"names": CALLS, "action": "SCMP_ACT_ALLOW"},
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                {
                    "names": ["clone"],
                    "action": "SCMP_ACT_NOTIFY",
                    "args": [
                        {
                            "index": 0,
                            "value": (1 << 64) - 1,
                            "valueTwo": 5,
                            "op": "SCMP_CMP_MASKED_EQ",
                        },
                        {"index": 1, "value": 1, "valueTwo": 5, "op": "SCMP_CMP_NE"},
                    ],
                },
            ],
        },
        "rootfsPropagation": "rslave",
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "mountLabel": "a:b",
        "personality": {"domain": "LINUX32", "flags": []},
    },
}


def with_change(path: str, value: object) -> dict[str, Any]:
    """Return GOOD with the value at a path put in place, or taken away."""
    config = copy.deepcopy(GOOD)
    *outer, last = [int(each) if each.isdigit() else each for each in path.split("/")]
    place: Any = config
    for each in outer:
        place = place[each]
    if value is GONE:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return config


def faults(config: object) -> list[str]:
    with pytest.raises(BadConfig) as caught:
        config_of(config)
    return [caught.value.message, *caught.value.notes]


def good() -> Config:
    return read(json.dumps(GOOD))


def test_a_whole_config_is_read() -> None:
    config = good()

    process, linux = config.process, config.linux
    assert process is not None
    assert (config.oci_version, config.root_path, config.root_readonly) == ("1.3.0", "rootfs", True)
    assert (process.args, process.env) == (("sh", "-c", ""), ("PATH=/usr/bin:/bin", "EMPTY="))
    assert (process.user.uid, process.user.umask, process.user.additional_gids) == (1, 18, (5, 6))
    assert process.capabilities == Capabilities(
        *[frozenset({"CHOWN", "KILL", "NET_BIND_SERVICE", "SETUID"})] * 3
    )
    assert process.rlimits == (("nofile", 1024, -1),)
    assert (process.affinity_initial, process.affinity_final) == ((7,), (0, 1, 2, 5))
    assert config.mounts[1] == Mount("/dev", "tmpfs", "tmpfs", ("mode=755",))
    assert config.mounts[-1].gid_mappings == (IdMapping(0, 1000, 1),)
    assert config.hooks.prestart == (Hook("/bin/a", ("a", "b"), ("A=b",), 3),)
    assert config.annotations == {"org.example.a": "b", "é": ""}
    assert linux.namespace("network") == Namespace("network", "/run/netns/a")
    assert linux.net_devices == {"eth0": "inside%d", "ens4.1": ""}
    assert linux.resources.devices == (
        DeviceRule(False),
        DeviceRule(True, "c", 1, None, "rw"),
    )
    assert (linux.resources.pids, linux.resources.memory.swap) == (0, -1)
    assert linux.resources.huge_pages == (("2MB", 1 << 21),)
    assert linux.seccomp is not None
    assert linux.seccomp.rules[1:] == (
        SeccompRule(("clone3",), "SCMP_ACT_ERRNO", 38),
        SeccompRule(
            ("clone",),
            "SCMP_ACT_NOTIFY",
            None,
            (
                SeccompArgument(0, (1 << 64) - 1, "SCMP_CMP_MASKED_EQ", 5),
                SeccompArgument(1, 1, "SCMP_CMP_NE"),
            ),
        ),
    )
    assert linux.personality == "LINUX32"
    assert config.data == GOOD


def test_the_least_config_is_read() -> None:
    config = read(b'{"ociVersion": "1.0.0", "root": {"path": "/r"}, "vm": 5, "x": {"y": [1.5]}}')

    assert config == Config("1.0.0", "/r")


def test_null_is_what_is_not_said() -> None:
    config = with_change("linux", None) | {"process": None, "hostname": None, "domainname": None}
    config["mounts"] = [{"destination": "/a", "options": None}]

    assert config_of(config).mounts == (Mount("/a"),)


@pytest.mark.parametrize("version", ["1.0.0", "1.0.0-rc5", "1.0.2-dev+a.b", "1.9.10-rc.1-x"])
def test_versions_of_1_are_taken(version: str) -> None:
    assert config_of(with_change("ociVersion", version)).oci_version == version


@pytest.mark.parametrize(
    "version", ["x", "1", "1.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0+", "1.0.0-a..b", "1.².0"]
)
def test_what_is_no_version_is_refused(version: str) -> None:
    assert faults(with_change("ociVersion", version)) == [
        f"config.json: ociVersion: `{version}` is not a version such as `1.3.0`"
    ]


FAULTS: list[tuple[str, object, str]] = [
    ("ociVersion", GONE, "ociVersion: is missing"),
    ("ociVersion", "2.0.0", "ociVersion: `2.0.0` is not a version that we know; we know 1.x"),
    ("root", GONE, "root: is missing"),
    ("root/path", "", "root.path: is empty"),
    ("root/readonly", "yes", "root.readonly: must be true or false, not a string"),
    ("process/args", [], "process.args: is empty"),
    ("process/args", GONE, "process.args: is missing"),
    ("process/args/1", None, "process.args[1]: must be a string, not null"),
    ("process/args/1", "a\0b", "process.args[1]: holds a NUL byte"),
    ("process/args/1", "\ud800", "process.args[1]: holds half a character"),
    ("process/cwd", "tmp", "process.cwd: `tmp` is not an absolute path"),
    ("process/env/0", "=x", "process.env[0]: `=x` is not `NAME=VALUE`"),
    ("process/env/0", "", "process.env[0]: `` is not `NAME=VALUE`"),
    ("process/user/uid", -1, "process.user.uid: must be from 0 to 4294967295, not -1"),
    ("process/user/gid", 1.0, "process.user.gid: must be an integer, not a fraction"),
    ("process/user/umask", 512, "process.user.umask: must be from 0 to 511, not 512"),
    (
        "process/user/additionalGids/1",
        True,
        "process.user.additionalGids[1]: must be an integer, not a boolean",
    ),
    ("process/consoleSize/width", GONE, "process.consoleSize.width: is missing"),
    (
        "process/rlimits/0/type",
        "RLIMIT_X",
        "process.rlimits[0].type: `RLIMIT_X` is not a limit; one of RLIMIT_AS, RLIMIT_CORE,"
        " RLIMIT_CPU, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_LOCKS, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE,"
        " RLIMIT_NICE, RLIMIT_NOFILE, RLIMIT_NPROC, RLIMIT_RSS, RLIMIT_RTPRIO, RLIMIT_RTTIME,"
        " RLIMIT_SIGPENDING, RLIMIT_STACK",
    ),
    (
        "process/rlimits/1",
        {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1},
        "process.rlimits[1].type: `RLIMIT_NOFILE` is there twice",
    ),
    (
        "process/rlimits/0",
        {"type": "RLIMIT_CPU", "soft": 2, "hard": 1},
        "process.rlimits[0].soft: 2 is more than `hard`: 1",
    ),
    (
        "process/rlimits/0/hard",
        1 << 64,
        f"process.rlimits[0].hard: must be from 0 to {(1 << 64) - 1}, not {1 << 64}",
    ),
    (
        "process/rlimits/0/hard",
        1 << 20000,
        f"process.rlimits[0].hard: must be from 0 to {(1 << 64) - 1}, not one of more than 128"
        " bits",
    ),
    ("process/oomScoreAdj", 1001, "process.oomScoreAdj: must be from -1000 to 1000, not 1001"),
    ("process/scheduler/nice", 20, "process.scheduler.nice: must be from -20 to 19, not 20"),
    (
        "process/scheduler/priority",
        5,
        "process.scheduler.priority: is for `SCHED_FIFO` and `SCHED_RR`, not for `SCHED_BATCH`",
    ),
    (
        "process/scheduler/period",
        5,
        "process.scheduler.period: is for `SCHED_DEADLINE`, not for `SCHED_BATCH`",
    ),
    (
        "process/scheduler",
        {"policy": "SCHED_RR"},
        "process.scheduler.priority: of `SCHED_RR` must be from 1 to 99, not 0",
    ),
    (
        "process/scheduler",
        {"policy": "SCHED_DEADLINE", "runtime": 3000, "deadline": 2000},
        "process.scheduler.runtime: 3000 is more than `deadline`: 2000",
    ),
    (
        "process/scheduler",
        {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 2000, "period": 1999},
        "process.scheduler.deadline: 2000 is more than `period`: 1999",
    ),
    (
        "process/scheduler",
        {"policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 2000},
        f"process.scheduler.runtime: must be from 1024 to {(1 << 63) - 1}, not 5",
    ),
    (
        "process/ioPriority",
        {"class": "IOPRIO_CLASS_NONE"},
        "process.ioPriority.class: `IOPRIO_CLASS_NONE` is not a class; one of IOPRIO_CLASS_RT,"
        " IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE",
    ),
    ("process/ioPriority/priority", 8, "process.ioPriority.priority: must be from 0 to 7, not 8"),
    (
        "process/execCPUAffinity/final",
        "1-",
        "process.execCPUAffinity.final: `1-` is not a list such as `0-3,7`",
    ),
    (
        "process/execCPUAffinity/final",
        "3-1",
        "process.execCPUAffinity.final: `3-1` has a range that ends before it starts",
    ),
    (
        "process/execCPUAffinity/final",
        "0-99999999999",
        "process.execCPUAffinity.final: `0-99999999999` has a number above 8191",
    ),
    ("hostname", "a" * 65, "hostname: must be of 64 bytes at the most"),
    ("mounts/0", [], "mounts[0]: must be an object, not a list"),
    ("mounts/0/destination", GONE, "mounts[0].destination: is missing"),
    ("mounts/5/gidMappings", GONE, "mounts[5].uidMappings: needs `gidMappings`"),
    ("hooks/prestart/0/path", "a", "hooks.prestart[0].path: `a` is not an absolute path"),
    (
        "hooks/prestart/0/timeout",
        0,
        "hooks.prestart[0].timeout: must be from 1 to 2147483647, not 0",
    ),
    ("annotations/", "x", "annotations: has an empty name"),
    ("annotations/a.b", 5, 'annotations["a.b"]: must be a string, not an integer'),
    (
        "linux/namespaces/2/type",
        "pidx",
        "linux.namespaces[2].type: `pidx` is not a namespace; one of pid, network, mount, ipc, uts,"
        " user, cgroup, time",
    ),
    ("linux/namespaces/0/type", "pid", "linux.namespaces[3].type: `pid` is there twice"),
    (
        "linux/namespaces/1/path",
        "a",
        "linux.namespaces[1].path: `a` is not an absolute path",
    ),
    (
        "linux/uidMappings/1/size",
        2,
        "linux.uidMappings: map 1 twice by `containerID`",
    ),
    (
        "linux/uidMappings/1/hostID",
        100002,
        "linux.uidMappings: map 100002 twice by `hostID`",
    ),
    (
        "linux/uidMappings/1/size",
        0,
        "linux.uidMappings[1].size: must be from 1 to 4294967295, not 0",
    ),
    (
        "linux/gidMappings/0/containerID",
        1,
        "linux.gidMappings[0].containerID: 1 and `size`, 4294967295, lead beyond 4294967295",
    ),
    (
        "linux/uidMappings",
        [{"containerID": n, "hostID": n, "size": 1} for n in range(341)],
        "linux.uidMappings: has 341 mappings; a kernel takes 340",
    ),
    (
        "linux/timeOffsets/realtime",
        {},
        "linux.timeOffsets.realtime: is not a clock; one of monotonic, boottime",
    ),
    (
        "linux/namespaces/7/path",
        "/run/time",
        "linux.timeOffsets: cannot be set in a time namespace that is joined by its path",
    ),
    ("linux/devices/0/major", GONE, "linux.devices[0].major: is missing"),
    ("linux/devices/0/path", "fuse", "linux.devices[0].path: `fuse` is not an absolute path"),
    (
        "linux/devices/0/type",
        "x",
        "linux.devices[0].type: `x` is not a type of device; one of c, b, u, p",
    ),
    (
        "linux/devices/0/fileMode",
        "0666",
        "linux.devices[0].fileMode: must be an integer, not a string",
    ),
    (
        "linux/netDevices/eth0/name",
        "a/b",
        "linux.netDevices.eth0.name: `a/b` is not the name of a network device",
    ),
    (
        "linux/netDevices/sixteen_letters_",
        {},
        "linux.netDevices.sixteen_letters_: is not the name of a network device",
    ),
    (
        "linux/netDevices/eth1",
        {"name": "ens4.1"},
        "linux.netDevices.eth1: would be a second `ens4.1`",
    ),
    ("linux/cgroupsPath", "/a/../b", "linux.cgroupsPath: `/a/../b` has a `..`"),
    (
        "linux/resources/devices/0/access",
        "rx",
        "linux.resources.devices[0].access: `rx` is more than letters of `rwm`",
    ),
    ("linux/resources/devices/0/allow", GONE, "linux.resources.devices[0].allow: is missing"),
    (
        "linux/resources/memory/swap",
        5,
        "linux.resources.memory.swap: 5 is less than `limit`: 536870912; it is of both together",
    ),
    (
        "linux/resources/memory/swappiness",
        101,
        "linux.resources.memory.swappiness: must be from 0 to 100, not 101",
    ),
    (
        "linux/resources/cpu/burst",
        50001,
        "linux.resources.cpu.burst: 50001 is more than `quota`: 50000",
    ),
    (
        "linux/resources/cpu/cpus",
        "all",
        "linux.resources.cpu.cpus: `all` is not a list such as `0-3,7`",
    ),
    (
        "linux/resources/pids/limit",
        -2,
        f"linux.resources.pids.limit: must be from -1 to {(1 << 63) - 1}, not -2",
    ),
    (
        "linux/resources/blockIO/weightDevice/0/weight",
        GONE,
        "linux.resources.blockIO.weightDevice[0]: must have `weight`, `leafWeight` or both",
    ),
    (
        "linux/resources/blockIO/throttleReadBpsDevice/0/rate",
        GONE,
        "linux.resources.blockIO.throttleReadBpsDevice[0].rate: is missing",
    ),
    (
        "linux/resources/hugepageLimits/0/pageSize",
        "02MB",
        "linux.resources.hugepageLimits[0].pageSize: `02MB` is not a size such as `64KB`, `2MB`"
        " or `1GB`",
    ),
    (
        "linux/resources/rdma/mlx5_1",
        {},
        "linux.resources.rdma.mlx5_1: must have `hcaHandles`, `hcaObjects` or both",
    ),
    (
        "linux/resources/unified/..",
        "x",
        'linux.resources.unified[".."]: is not the name of a file of a cgroup',
    ),
    ("linux/intelRdt/closID", "..", "linux.intelRdt.closID: `..` is not the name of a directory"),
    (
        "linux/intelRdt/memBwSchema",
        "0=20",
        "linux.intelRdt.memBwSchema: `0=20` does not start with `MB:`",
    ),
    ("linux/intelRdt/schemata/0", "a\nb", "linux.intelRdt.schemata[0]: must be one line"),
    (
        "linux/memoryPolicy/nodes",
        GONE,
        "linux.memoryPolicy.nodes: must be there with `MPOL_BIND`",
    ),
    (
        "linux/memoryPolicy/mode",
        "MPOL_LOCAL",
        "linux.memoryPolicy.nodes: must not be there with `MPOL_LOCAL`",
    ),
    (
        "linux/memoryPolicy/flags/1",
        "MPOL_F_RELATIVE_NODES",
        "linux.memoryPolicy.flags: `MPOL_F_STATIC_NODES` and `MPOL_F_RELATIVE_NODES` exclude each"
        " other",
    ),
    (
        "linux/memoryPolicy",
        {"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_NUMA_BALANCING"]},
        "linux.memoryPolicy.flags: `MPOL_F_NUMA_BALANCING` goes with `MPOL_BIND` and"
        " `MPOL_PREFERRED_MANY`",
    ),
    (
        "linux/sysctl/vm.swappiness",
        "1",
        'linux.sysctl["vm.swappiness"]: is of the whole machine, not of a namespace',
    ),
    (
        "linux/sysctl/kernel.hostname",
        "a",
        "hostname: `box` is not what `linux.sysctl` has for `kernel.hostname`",
    ),
    (
        "linux/sysctl",
        {"net.//.kernel.sem": "1"},
        'linux.sysctl["net.//.kernel.sem"]: is not the name of a kernel parameter',
    ),
    (
        "linux/seccomp/defaultAction",
        "SCMP_ACT_ALLOW",
        "linux.seccomp.defaultErrnoRet: is for `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE`, not for"
        " `SCMP_ACT_ALLOW`",
    ),
    (
        "linux/seccomp/syscalls/0/errnoRet",
        1,
        "linux.seccomp.syscalls[0].errnoRet: is for `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE`, not for"
        " `SCMP_ACT_ALLOW`",
    ),
    (
        "linux/seccomp/syscalls/1/errnoRet",
        4096,
        "linux.seccomp.syscalls[1].errnoRet: must be from 0 to 4095, not 4096",
    ),
    (
        "linux/seccomp/listenerPath",
        GONE,
        "linux.seccomp.listenerPath: must be there with `SCMP_ACT_NOTIFY`",
    ),
    (
        "linux/seccomp",
        {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/a"},
        "linux.seccomp.defaultAction: `SCMP_ACT_NOTIFY` is for rules only",
    ),
    (
        "linux/seccomp",
        {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "a"},
        "linux.seccomp.listenerMetadata: needs `listenerPath`",
    ),
    (
        "linux/seccomp/syscalls/2/names/1",
        "write",
        "linux.seccomp.syscalls[2].action: `SCMP_ACT_NOTIFY` cannot be for `write`",
    ),
    ("linux/seccomp/syscalls/0/names", [], "linux.seccomp.syscalls[0].names: is empty"),
    (
        "linux/seccomp/syscalls/2/args/0/index",
        6,
        "linux.seccomp.syscalls[2].args[0].index: must be from 0 to 5, not 6",
    ),
    (
        "linux/seccomp/syscalls/2/args/0/op",
        "SCMP_CMP_XX",
        "linux.seccomp.syscalls[2].args[0].op: `SCMP_CMP_XX` is not a comparison; one of"
        " SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT,"
        " SCMP_CMP_MASKED_EQ",
    ),
    (
        "linux/seccomp/flags/0",
        "LOG",
        "linux.seccomp.flags[0]: `LOG` is not a flag; one of SECCOMP_FILTER_FLAG_TSYNC,"
        " SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW,"
        " SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ),
    (
        "linux/rootfsPropagation",
        "up",
        "linux.rootfsPropagation: `up` is not a propagation; one of shared, slave, private,"
        " unbindable, rshared, rslave, rprivate, runbindable",
    ),
    ("linux/maskedPaths/0", "proc", "linux.maskedPaths[0]: `proc` is not an absolute path"),
    (
        "linux/personality/domain",
        "BSD",
        "linux.personality.domain: `BSD` is not a domain; one of LINUX, LINUX32",
    ),
    (
        "linux/personality/flags",
        ["X"],
        "linux.personality.flags: must be empty: no flag is supported",
    ),
]


@pytest.mark.parametrize(
    ("path", "value", "fault"), FAULTS, ids=[fault.partition(":")[0] for _, _, fault in FAULTS]
)
def test_a_fault_is_told_with_the_path_to_it(path: str, value: object, fault: str) -> None:
    assert faults(with_change(path, value)) == [f"config.json: {fault}"]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (
            "uts",
            [
                *("hostname", "domainname"),
                *('sysctl["kernel.domainname"]', 'sysctl["kernel/hostname"]'),
            ],
        ),
        ("user", ["linux.uidMappings", "linux.gidMappings", 'sysctl["user.max_pid_namespaces"]']),
        ("time", ["linux.timeOffsets"]),
        ("mount", ["linux.maskedPaths", "linux.readonlyPaths"]),
        ("ipc", ['linux.sysctl["fs.mqueue.msg_max"]', 'linux.sysctl["kernel.shmmax"]']),
        (
            "network",
            [
                "linux.netDevices",
                'sysctl["net.ipv4.ip_unprivileged_port_start"]',
                'sysctl["net/ipv4/conf/eth0.1/forwarding"]',
            ],
        ),
    ],
)
def test_what_belongs_to_a_namespace_needs_one(kind: str, fields: list[str]) -> None:
    kept = [each for each in GOOD["linux"]["namespaces"] if each["type"] != kind]

    found = faults(with_change("linux/namespaces", kept))

    assert len(found) == len(fields)
    for field in fields:
        assert any(each.endswith(f"{field}: needs a {kind} namespace") for each in found)


def test_an_idmapped_mount_needs_mappings_or_a_user_namespace() -> None:
    config = {
        "ociVersion": "1.3.0",
        "root": {"path": "r"},
        "mounts": [{"destination": "/a", "options": ["bind", "ridmap"]}],
    }

    assert faults(config) == [
        "config.json: mounts[0].options[1]: `ridmap` needs `uidMappings` or a user namespace"
    ]
    assert config_of({**config, "linux": {"namespaces": [{"type": "user"}]}})


def test_every_fault_is_told_of_up_to_a_limit() -> None:
    two = with_change("hostname", 5) | {"annotations": [1]}
    many = with_change("process/args", [5] * 1000)

    assert faults(two) == [
        "config.json: hostname: must be a string, not an integer",
        "annotations: must be an object, not a list",
    ]
    assert len(faults(many)) == MOST_FAULTS


def test_faults_of_a_list_have_their_own_places() -> None:
    assert faults(with_change("process/env", [5, "\0", "", "A=b", "C"])) == [
        "config.json: process.env[0]: must be a string, not an integer",
        "process.env[1]: holds a NUL byte",
        "process.env[2]: `` is not `NAME=VALUE`",
        "process.env[4]: `C` is not `NAME=VALUE`",
    ]
    assert faults(with_change("linux/maskedPaths", ["", None])) == [
        "config.json: linux.maskedPaths[1]: must be a string, not null",
        "linux.maskedPaths[0]: `` is not an absolute path",
    ]


def test_a_fault_is_an_error_of_the_input() -> None:
    with pytest.raises(InputError) as caught:
        read("{}", name="/b/config.json")

    assert (caught.value.code, caught.value.exit_code) == ("oci/runtime-config", 2)
    assert caught.value.message == "/b/config.json: ociVersion: is missing"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "line 1, column 1: expecting value"),
        (b'{"a": 1,\n  }', "line 2, column 3: expecting property name enclosed in double quotes"),
        (b'{"a": "\n"}', "line 1, column 8: invalid control character at"),
        (b"{} x", "line 1, column 4: extra data"),
        (b"[]", "must be an object, not a list"),
        (b"null", "must be an object, not null"),
        (b'{"a": "\xff"}', "byte 8 is not UTF-8"),
        (b'{"a": NaN}', "`NaN` is not a number of JSON"),
        (b'{"a": -Infinity}', "`-Infinity` is not a number of JSON"),
        (b'{"a": ' + b"[" * 200_000, "is nested too deeply"),
        (b'{"a": ' * 200_000, "is nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", "an integer is too large"),
        (b'{"a": 1, "a": 1}', "a: is there twice"),
        (b'{"a": {"b": 1, "b": 1}, "a": 1}', "a: is there twice"),
        (b'{"a": [0, {"b.c": 1, "b.c": 1}]}', 'a[1]["b.c"]: is there twice'),
    ],
)
def test_what_is_no_json_is_refused(text: bytes, fault: str) -> None:
    with pytest.raises(BadConfig) as caught:
        read(text)

    # Python 3.13 has other words for some of them.
    place, _, _ = fault.partition(": expecting")
    assert caught.value.message.startswith(f"config.json: {place}")


def test_a_process_is_read_on_its_own() -> None:
    process = read_process(b'{"cwd": "/", "args": ["ls"]}')

    assert (process.args, process.capabilities) == (("ls",), None)
    with pytest.raises(BadConfig, match=r"^process\.json: args: is missing$"):
        read_process(b'{"cwd": "/"}')


def test_limits_are_read_on_their_own() -> None:
    assert read_resources(b'{"pids": {"limit": -1}}') == Resources(pids=-1)
    with pytest.raises(BadConfig, match=r"^resources\.json: cpu\.idle: must be from 0 to 1, not 2"):
        read_resources(b'{"cpu": {"idle": 2}}')


def test_capabilities_that_are_not_known_stay() -> None:
    config = config_of(with_change("process/capabilities/ambient", ["CAP_NEW"]))

    assert config.process is not None
    assert config.process.capabilities is not None
    assert config.process.capabilities.ambient == {"NEW"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("kernel.sem", "kernel/sem"),
        ("kernel", "kernel"),
    ],
)
def test_both_spellings_of_a_kernel_parameter_are_one(name: str, path: str) -> None:
    assert sysctl_path(name) == path


STRANGE: list[Any] = [
    *(None, True, False, 0, -1, 1, 1 << 63, 1 << 64, -(1 << 70), 1 << 20000, 1.5, 1e400),
    *("", "/", "..", "a\0", "\ud800", "é", "1-", "0-8191", "x" * 10_000, "pid", "SCMP_ACT_NOTIFY"),
    *([], [None], [[]], {}, {"": ""}, {"a": None}, {"\ud800": "\0"}, [{}], {"type": "c"}),
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return each container of a JSON value with each of its keys."""
    found = []
    for key, each in list(value.items() if isinstance(value, dict) else enumerate(value)):
        found.append((value, key))
        if isinstance(each, dict | list):
            found += places(each)
    return found


def mutate(config: Any, chance: random.Random) -> None:
    place, key = chance.choice(places(config))
    match chance.randrange(5):
        case 0:
            del place[key]
        case 1 if isinstance(place, dict):
            place[chance.choice(["", "a.b", "\0", "\ud800", "type", "path"])] = place.pop(key)
        case 2 if isinstance(place, list):
            place.append(copy.deepcopy(place[key]))
        case 3:
            other, name = chance.choice(places(config))
            place[key] = copy.deepcopy(other[name])
        case _:
            place[key] = copy.deepcopy(chance.choice(STRANGE))


def test_no_config_is_a_mistake_of_ours() -> None:
    chance = random.Random(20)
    small = with_change("linux/seccomp/syscalls/0/names", ["read"])
    refused = 0

    for _ in range(2000):
        config = copy.deepcopy(small)
        for _ in range(chance.randint(1, 4)):
            mutate(config, chance)
        try:
            config_of(config)
        except BadConfig as error:
            refused += 1
            # A message can be written anywhere.
            "\n".join([error.message, *error.notes]).encode()

    assert 1000 < refused < 2000


def test_no_damaged_text_is_a_mistake_of_ours() -> None:
    chance = random.Random(21)
    text = json.dumps(with_change("linux/seccomp/syscalls/0/names", ["read"])).encode()

    for _ in range(500):
        damaged = bytearray(text)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(damaged))] = chance.choice(b'"\\{}[],:0-eu\0\xff ')
        with contextlib.suppress(BadConfig):
            read(bytes(damaged))


def test_reading_imports_little() -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(TREE)!r})\n"
        "import json; before = set(sys.modules)\n"
        "import buildkit_py.oci.runtime_config_reader\n"
        "print(*sorted(set(sys.modules) - before))"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )

    ours = [name for name in done.stdout.split() if not name.startswith("buildkit_py")]
    assert ours == ["__future__"]
