"""Configs at random, most of them possible, some not: never a traceback, never anything left.

The seed is in the test's name: what fails once, fails again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.runtime.bundle.conftest import NAMESPACES, Bundle, plain_config
from tests.stories.residue import Watch, eventually

pytestmark = pytest.mark.root

PER_SEED = 25
LONGEST_SECONDS = 10
CAPABILITIES = "CAP_CHOWN CAP_KILL CAP_SETUID CAP_SYS_ADMIN CAP_BPF CAP_FLY".split()
LIMITS = "AS CORE CPU DATA FSIZE MEMLOCK NOFILE NPROC STACK RTTIME".split()
OPTIONS = """ro rw nosuid suid nodev noexec exec noatime relatime strictatime nodiratime nosymfollow
    sync dirsync lazytime bind rbind remount rprivate shared slave unbindable rro rnosuid ratime
    defaults silent tmpcopyup size=64k mode=700 gid=5 newinstance idmap unknown= uid=9""".split()
PATHS = """/ /tmp /tmp/a/b /etc/x /../../up /proc /proc/self/fd /proc/self/cwd/x /dev /dev/x
    /link /link/x /sys/fs/cgroup /bin/busybox /tmp/ü""".split()
CALLS = "mkdir open openat clone execve brk write exit_group unheard_of".split()
PARAMETERS = """net.ipv4.ip_forward kernel.msgmax kernel.shm_rmid_forced
    net/ipv4/conf/lo/rp_filter vm.swappiness""".split()
ODD: list[Any] = [
    "", "x", "/nowhere", "ü", "\0", "\ud800", "a\nb", 0, 1, -1, 1.5, 1 << 31, 1 << 40, 1 << 70,
    True, False, None, [], {}, [None], ["x"], {"x": 1}, "y" * 5000,
]  # fmt: skip

Chance = random.Random
Config = dict[str, Any]


def arguments(config: Config, chance: Chance) -> None:
    config["process"]["args"] = chance.choice(
        [["true"], ["/nowhere"], [""], ["sh", "-c", "kill -9 $$"], ["/etc"], ["sh", "\udc80"]]
        + [["sh", "-c", f"exit {chance.randrange(256)}"], ["./x"], ["/bin/busybox", "x" * 9000]]
    )


def environment(config: Config, chance: Chance) -> None:
    config["process"]["env"] = chance.sample(
        ["A=", "A=b=c", "B=\u00fc", "HOME=/nowhere", "D=" + "x" * 9000, "PATH=/nowhere:bin"], 3
    )
    if chance.random() < 0.8:
        config["process"]["env"].append("PATH=/bin")


def directory(config: Config, chance: Chance) -> None:
    config["process"]["cwd"] = chance.choice(PATHS)


def user(config: Config, chance: Chance) -> None:
    ids = [0, 1, 1000, 65534, (1 << 32) - 2, (1 << 32) - 1]
    config["process"]["user"] = {
        "uid": chance.choice(ids),
        "gid": chance.choice(ids),
        "umask": chance.choice([0, 0o22, 0o777]),
        "additionalGids": chance.sample(ids, chance.randrange(3)),
    }


def capabilities(config: Config, chance: Chance) -> None:
    config["process"]["capabilities"] = {
        name: chance.sample(CAPABILITIES, chance.randrange(5))
        for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
    }


def limits(config: Config, chance: Chance) -> None:
    values = sorted(chance.choice([0, 3, 1024, 1 << 22, 1 << 28, 1 << 40]) for _ in range(2))
    config["process"].setdefault("rlimits", []).append(
        {"type": f"RLIMIT_{chance.choice(LIMITS)}", "soft": values[0], "hard": values[1]}
    )


def priorities(config: Config, chance: Chance) -> None:
    process = config["process"]
    process["noNewPrivileges"] = chance.random() < 0.5
    process["oomScoreAdj"] = chance.randrange(-200, 1001)
    policy = chance.choice("OTHER OTHER BATCH IDLE FIFO ISO".split())
    process["scheduler"] = {"policy": f"SCHED_{policy}", "nice": chance.randrange(-20, 20)}
    if policy == "FIFO":
        process["scheduler"]["priority"] = chance.randrange(1, 100)
    if chance.random() < 0.5:
        process["ioPriority"] = {
            "class": f"IOPRIO_CLASS_{chance.choice(['RT', 'BE', 'IDLE'])}",
            "priority": chance.randrange(8),
        }


def names(config: Config, chance: Chance) -> None:
    config["hostname"] = chance.choice(["box", "", "x" * 64, "ü", "a b"])
    config["domainname"] = chance.choice(["example.org", "", "(none)"])


def mount(config: Config, chance: Chance) -> None:
    kind = chance.choice("tmpfs proc sysfs mqueue devpts cgroup cgroup2 bind none ext4 x".split())
    made = {
        "destination": chance.choice(PATHS),
        "type": kind,
        "source": chance.choice(["data", "data/file", "none", "nowhere", "tmpfs"]),
        "options": chance.sample(OPTIONS, chance.randrange(5)),
    }
    config["mounts"].insert(chance.randrange(len(config["mounts"]) + 1), made)


def fewer_mounts(config: Config, chance: Chance) -> None:
    config["mounts"] = chance.sample(config["mounts"], chance.randrange(len(config["mounts"]) + 1))


def namespaces(config: Config, chance: Chance) -> None:
    chosen = chance.sample(NAMESPACES[1:], chance.randrange(len(NAMESPACES)))
    config["linux"]["namespaces"] = [{"type": each} for each in ("mount", *chosen)]
    if chance.random() < 0.3:
        kind = chance.choice(["network", "uts", "ipc", "pid", "cgroup", "time", "user"])
        path = chance.choice(["/proc/self/ns/net", "/proc/self/ns/uts", "/nowhere", "/etc/passwd"])
        config["linux"]["namespaces"].append({"type": kind, "path": path})


def user_namespace(config: Config, chance: Chance) -> None:
    config["linux"]["namespaces"].append({"type": "user"})
    for key in ("uidMappings", "gidMappings"):
        config["linux"][key] = [
            {"containerID": chance.choice([0, 5]), "hostID": 200000, "size": chance.choice([1, 9])}
        ]


def filter_of_calls(config: Config, chance: Chance) -> None:
    actions = [f"SCMP_ACT_{name}" for name in "ALLOW ERRNO KILL KILL_PROCESS LOG TRAP".split()]
    config["linux"]["seccomp"] = {
        "defaultAction": chance.choice([*["SCMP_ACT_ALLOW"] * 5, *actions]),
        "syscalls": [
            {"names": chance.sample(CALLS, 2), "action": chance.choice(actions)}
            for _ in range(chance.randrange(4))
        ],
    }


def hidden(config: Config, chance: Chance) -> None:
    config["linux"]["maskedPaths"] = chance.sample([*PATHS, "/proc/keys"], 3)
    config["linux"]["readonlyPaths"] = chance.sample([*PATHS, "/proc/sys"], 3)


def devices(config: Config, chance: Chance) -> None:
    config["linux"]["devices"] = [
        {
            "path": chance.choice(["/dev/a", "/dev/null", "/dev/ptmx", "/deep/er", "/link/x"]),
            "type": chance.choice("cbpu"),
            "major": chance.choice([1, 10, 4095]),
            "minor": chance.choice([3, 229, (1 << 20) - 1]),
            "fileMode": chance.choice([0, 0o600, 0o6777]),
            "uid": chance.choice([0, 7, 1 << 31]),
        }
    ]


def parameters(config: Config, chance: Chance) -> None:
    config["linux"]["sysctl"] = {chance.choice(PARAMETERS): chance.choice(["0", "1", "1", "x"])}


def resources(config: Config, chance: Chance) -> None:
    config["linux"]["resources"] = {
        "memory": {"limit": chance.choice([-1, 1 << 20, 1 << 26, 1 << 30]), "swap": -1},
        "pids": {"limit": chance.choice([-1, 0, 1, 50])},
        "cpu": {
            "shares": chance.choice([0, 2, 1024, 1 << 20]),
            "quota": chance.choice([-1, 10_000, 200_000]),
            "period": chance.choice([1_000, 100_000]),
            "cpus": chance.choice(["", "0", "0-1", "0,1", "99"]),
        },
        "devices": [{"allow": chance.random() < 0.5, "access": "rwm"}],
    }


def propagation(config: Config, chance: Chance) -> None:
    config["linux"]["rootfsPropagation"] = chance.choice(
        ["private", "rshared", "slave", "runbindable"]
    )
    config["root"]["readonly"] = chance.random() < 0.5


def personality(config: Config, chance: Chance) -> None:
    config["linux"]["personality"] = {"domain": chance.choice(["LINUX", "LINUX32"])}


def hooks(config: Config, chance: Chance) -> None:
    kinds = "prestart createRuntime createContainer startContainer poststart poststop".split()
    paths = ["/bin/true"] * 4 + ["/bin/false", "/nowhere", "/etc"]
    config["hooks"] = {kind: [{"path": chance.choice(paths)}] for kind in chance.sample(kinds, 2)}


def terminal(config: Config, chance: Chance) -> None:
    config["process"]["terminal"] = True
    config["process"]["consoleSize"] = {"height": chance.choice([0, 24, 65535]), "width": 80}


def notes(config: Config, chance: Chance) -> None:
    config["annotations"] = {chance.choice(["a", "ü"]): chance.choice(["", "b", "\n"])}


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return (parent, key) of all that a config holds."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value))
    inner = [each for _, part in items if isinstance(part, dict | list) for each in places(part)]
    return [(value, key) for key, _ in items] + inner


def something_odd(config: Config, chance: Chance) -> None:
    parent, key = chance.choice(places(config))
    # A bundle's root may be no other directory of this machine.
    if key != "root" and parent is not config.get("root"):
        parent[key] = chance.choice(ODD)


def something_missing(config: Config, chance: Chance) -> None:
    parent, key = chance.choice(places(config))
    del parent[key]


CHANGES: list[Callable[[Config, Chance], None]] = [
    arguments, environment, directory, user, capabilities, limits, priorities, names, mount, mount,
    fewer_mounts, namespaces, user_namespace, filter_of_calls, hidden, devices, parameters,
    resources, propagation, personality, hooks, terminal, notes,
]  # fmt: skip


def mutated(chance: Chance) -> Config:
    config = plain_config()
    config["process"]["args"] = ["sh", "-c", f"exit {chance.randrange(5)}"]
    for change in chance.sample(CHANGES, chance.randrange(1, 5)):
        change(config, chance)
    if chance.random() < 0.25:
        chance.choice([something_odd, something_missing])(config, chance)
    return config


@pytest.mark.parametrize("seed", range(6))
def test_whatever_a_config_says(bundle: Bundle, seed: int) -> None:
    (bundle.folder / "data").mkdir()
    (bundle.folder / "data" / "file").touch()
    outside = bundle.folder / "outside"
    outside.mkdir()
    (bundle.rootfs / "link").symlink_to(outside)
    watch = Watch()
    for number in range(PER_SEED):
        bundle.config = mutated(random.Random(f"{seed} {number}"))
        done = bundle.call(*bundle.made("run"), timeout=LONGEST_SECONDS)
        said = f"{number}: {done.returncode} {done.stderr}{bundle.config}"

        assert 0 <= done.returncode <= 255, said
        assert "Error(" not in done.stderr, said
        if not bundle.is_gone():
            bundle.ok("delete", "--force", bundle.id)
        assert eventually(bundle.is_gone), f"{said} left {bundle.leftovers()}"
        assert eventually(lambda: not watch.left()), f"{said} left {watch.left()}"
        assert list(outside.iterdir()) == [], said
