"""`pyruntime exec`, and the namespaces that are joined or shifted, seen from inside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runtime.bundle.conftest import Bundle

pytestmark = pytest.mark.root

LASTS = "while :; do sleep 1000; done"


def mapped(bundle: Bundle) -> None:
    """Give the container a user namespace of its own."""
    bundle.linux["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        bundle.linux[name] = [{"containerID": 0, "hostID": 100_000, "size": 1000}]


def started(bundle: Bundle) -> None:
    bundle.create(LASTS)
    bundle.ok("start", bundle.id)


def test_a_further_program_is_inside(bundle: Bundle) -> None:
    bundle.config["hostname"] = "box"
    started(bundle)

    done = bundle.call(
        "exec", "-e", "X=1", "--cwd", "/bin", "-u", "5:6", "-g", "7", bundle.id,
        "sh", "-c", "hostname; echo $X; pwd; id -u; id -G; ls /proc/self/fd; exit 4",
    )  # fmt: skip

    assert done.returncode == 4
    # The directory that `ls` looks at is its own fourth descriptor.
    assert done.stdout.split() == ["box", "1", "/bin", "5", "6", "7", "0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nosuch"], 127, "executable file not found in $PATH"),
        (["/nosuch"], 127, "No such file"),
        (["/bin"], 126, "Permission denied"),
    ],
)
def test_what_cannot_be_run_has_its_code(
    bundle: Bundle, words: list[str], code: int, said: str
) -> None:
    started(bundle)
    done = bundle.call("exec", bundle.id, *words)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    bundle.ok("delete", "--force", bundle.id)

    bundle.process["args"] = words
    done = bundle.call(*bundle.made("run"))
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--user", text) for text in ("", ":1", "1:", "-1", "4294967295", "99999999999", "root")),
        ("--cap", "CAP_FLY"),
        ("--cwd", "relative"),
        ("--cgroup", "../outside"),
        ("--cgroup", "nosuch"),
        ("--process", "/nosuch"),
    ],
)
def test_what_is_no_value_is_refused(bundle: Bundle, option: str, value: str) -> None:
    started(bundle)

    assert bundle.fails("exec", option, value, bundle.id, "id")


def test_a_process_of_the_specification(bundle: Bundle) -> None:
    started(bundle)
    process = {"args": ["sh", "-c", "id -u; umask"], "cwd": "/", "env": ["PATH=/bin"],
               "user": {"uid": 9, "gid": 9, "umask": 0o27}}  # fmt: skip
    file = bundle.folder / "process.json"
    file.write_text(json.dumps(process))

    assert bundle.ok("exec", "--process", str(file), bundle.id).split() == ["9", "0027"]


def test_a_filter_that_forbids_our_own_calls_is_loaded_last(bundle: Bundle) -> None:
    """What still has to be said and set up is, before: here it would kill."""
    ours = ["sendmsg", "sendto", "close_range"]
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ours, "action": "SCMP_ACT_KILL_PROCESS"}],
    }
    started(bundle)

    assert bundle.ok("exec", bundle.id, "echo", "alive") == "alive\n"


def test_nobody_is_added_to_what_has_ended(bundle: Bundle) -> None:
    started(bundle)
    bundle.ok("pause", bundle.id)
    assert "is paused" in bundle.fails("exec", bundle.id, "id")
    bundle.ok("resume", bundle.id)
    bundle.ok("kill", bundle.id, "KILL")

    assert "is stopped" in bundle.fails("exec", bundle.id, "id")


def test_the_namespaces_of_a_container_with_mapped_ids_can_be_joined(bundle: Bundle) -> None:
    mapped(bundle)
    started(bundle)
    inside = "cat /proc/self/uid_map; id -u; ps | grep -c 'sleep [1]000'"
    wanted = ["0", "100000", "1000", "0", "2"]  # the shell that waits, and what it waits for
    assert bundle.ok("exec", bundle.id, "sh", "-c", inside).split() == wanted

    other = Bundle(bundle.folder)
    other.id = f"{bundle.id}-other"
    pid = bundle.state()["pid"]
    other.join("pid", f"/proc/{pid}/ns/pid")
    other.join("network", f"/proc/{pid}/ns/net")
    other.join("user", f"/proc/{pid}/ns/user")

    assert other.run(inside).split() == wanted


def test_without_an_id_0_nothing_can_be_set_up(bundle: Bundle) -> None:
    mapped(bundle)
    bundle.linux["uidMappings"][0]["containerID"] = 1

    assert "linux.uidMappings: id 0 of the container is not mapped" in bundle.run_fails()


def test_time_may_be_another(bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 7_000_000, "nanosecs": 0}}
    bundle.create(LASTS)
    bundle.ok("start", bundle.id)
    host = float(Path("/proc/uptime").read_text().split()[0])

    inside = float(bundle.ok("exec", bundle.id, "cat", "/proc/uptime").split()[0])

    assert 7_000_000 <= inside - host < 7_000_600


def test_a_kernel_parameter_needs_a_proc(bundle: Bundle) -> None:
    bundle.config["mounts"] = [each for each in bundle.mounts if each["type"] != "proc"]
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}

    assert "needs a /proc in the container" in bundle.run_fails()


def test_a_damaged_state_hides_no_other(bundle: Bundle) -> None:
    damaged = bundle.states / "broken"
    damaged.mkdir(parents=True)
    (damaged / "state.json").write_text("{")
    started(bundle)

    done = bundle.call("list", "--quiet")

    assert (done.returncode, done.stdout) == (0, f"{bundle.id}\n")
    assert "the state of container `broken` is damaged" in done.stderr
    assert "may be left" in bundle.call("delete", "--force", "broken").stderr
