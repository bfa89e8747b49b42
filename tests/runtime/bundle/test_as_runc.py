"""What engines and scripts know from runc, and what its own suite looks at."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rootless import TREE
from tests.runtime.bundle.conftest import Bundle
from tests.stories.residue import eventually

pytestmark = pytest.mark.root

FOREVER = "echo up; exec sleep 1000"
WITHOUT_PACKAGES = [sys.executable, "-I", "-S", "-c"]


def started(bundle: Bundle, script: str = FOREVER) -> int:
    bundle.create(script)
    bundle.ok("start", bundle.id)
    assert eventually(lambda: "up" in bundle.said())
    return int(bundle.state()["pid"])


def affinity(text: str) -> str:
    (found,) = re.findall(r"^Cpus_allowed_list:\s*(\S+)$", text, re.MULTILINE)
    return str(found)


def test_keys_and_form_of_what_is_printed(bundle: Bundle) -> None:
    bundle.config["annotations"] = {"a": "b"}
    started(bundle)
    keys = ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created"]

    assert list(bundle.state()) == [*keys, "annotations", "owner"]
    assert bundle.ok("list", "-f", "json").startswith('[{"ociVersion":"')
    assert re.fullmatch(r"\[\d+\]\n", bundle.ok("ps", "-f", "json", bundle.id))
    head = f'{{"type":"stats","id":"{bundle.id}","data":{{'
    stats = bundle.ok("events", "--stats", bundle.id)
    assert stats.startswith(head)
    assert "oom" not in stats  # the word by which scripts wait for an event of its own


def test_a_list_of_a_root_that_is_not_there_is_an_error(bundle: Bundle) -> None:
    assert "no such directory" in bundle.fails("list")
    bundle.states.mkdir()
    assert bundle.ok("list", "-q") == ""


def test_signal_0_asks_whether_it_runs(bundle: Bundle) -> None:
    pid = started(bundle)

    bundle.ok("kill", bundle.id, "0")
    os.kill(pid, 0)
    bundle.ok("kill", bundle.id, "KILL")
    assert eventually(lambda: bundle.status() == "stopped")

    assert "container not running" in bundle.fails("kill", bundle.id, "0")


def test_what_waits_for_its_start_ends_by_a_signal(bundle: Bundle) -> None:
    bundle.create("exit 0")

    bundle.ok("kill", bundle.id, "TERM")

    assert eventually(lambda: bundle.status() == "stopped")


def test_what_waits_for_its_start_holds_nothing_of_the_host(bundle: Bundle, tmp_path: Path) -> None:
    with open(tmp_path / "callers", "w") as ours:
        bundle.create("exit 0", pass_fds=[ours.fileno()])
    folder = Path(f"/proc/{bundle.state()['pid']}/fd")

    held = {link.readlink().as_posix() for link in folder.iterdir() if int(link.name) > 2}

    # The container's own root and /proc, and the socket at which it waits.
    assert {name.split(":")[0] for name in held} == {"/", "/proc", "socket"}


@pytest.mark.parametrize("first_is_gone", [False, True])
def test_kill_reaches_all_where_no_pid_namespace_ends(bundle: Bundle, first_is_gone: bool) -> None:
    bundle.without("pid")
    pid = started(bundle, "sleep 1000 & sleep 1000 & echo up; wait")
    pids = json.loads(bundle.ok("ps", "-f", "json", bundle.id))
    assert len(pids) == 3
    if first_is_gone:
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: bundle.status() == "stopped")
        assert "container not running" in bundle.fails("kill", bundle.id, "TERM")

    bundle.ok("kill", bundle.id, "KILL")

    assert eventually(lambda: bundle.status() == "stopped")
    assert eventually(lambda: json.loads(bundle.ok("ps", "-f", "json", bundle.id)) == [])


def test_the_log_of_debugging(bundle: Bundle, tmp_path: Path) -> None:
    done = bundle.call("--debug", "list", "-q")
    assert 'level=debug msg="pyruntime list begins"' in done.stderr

    log = tmp_path / "log"
    done = bundle.call("--debug", "--log", str(log), "--log-format", "json", "list", "-q")
    assert "debug" not in done.stderr
    assert '{"level":"debug","msg":"pyruntime list begins","time":"' in log.read_text()


def test_a_message_in_the_log_is_quoted_as_logrus_does_it(bundle: Bundle, tmp_path: Path) -> None:
    log = tmp_path / "log"

    bundle.fails("--log", str(log), "state", "nobody")

    assert log.read_text().endswith(' level=error msg="container does not exist: `nobody`"\n')


@pytest.mark.parametrize("words", [["-h"], ["exec", "--help"], ["events", "-h"]])
def test_help_needs_no_package(words: list[str]) -> None:
    program = f"import sys; sys.path.insert(0, {str(TREE)!r}); "
    program += "from buildkit_py.cli.pyruntime import main; sys.exit(main())"
    done = subprocess.run(
        [*WITHOUT_PACKAGES, program, *words], capture_output=True, text=True, timeout=30
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: pyruntime")
    assert "Options:" in done.stdout


@pytest.mark.parametrize(
    ("env", "seen"),
    [
        (["A=1", "B=2", "A=3"], ["A=3", "B=2", "HOME=/"]),
        (["HOME="], ["HOME=/"]),
        (["HOME=/a", "HOME="], ["HOME=/"]),
        (["HOME=", "HOME=/a"], ["HOME=/a"]),
    ],
)
def test_a_variable_that_is_said_twice(bundle: Bundle, env: list[str], seen: list[str]) -> None:
    bundle.process["env"] = env
    bundle.process["args"] = ["/bin/env"]

    assert sorted(bundle.run().splitlines()) == seen


def test_a_path_is_masked_once(bundle: Bundle) -> None:
    bundle.linux["maskedPaths"] = ["/tmp", "/tmp"]

    assert bundle.run("grep -c ' /tmp ' /proc/self/mountinfo") == "1\n"


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_an_image_whose_proc_or_sys_is_a_link_is_refused(bundle: Bundle, name: str) -> None:
    (bundle.rootfs / name).rmdir()
    (bundle.rootfs / name).symlink_to("/tmp")

    assert "must be mounted on ordinary directory" in bundle.run_fails()


def test_no_processes_but_the_first(bundle: Bundle) -> None:
    bundle.linux["resources"] = {"pids": {"limit": 0}}
    bundle.script("(exit 0) || echo none; echo up")

    done = bundle.call(*bundle.made("run"))

    assert "up" not in done.stdout
    assert "fork" in done.stderr


def test_memory_is_updated_by_a_size(bundle: Bundle) -> None:
    started(bundle)

    bundle.ok("update", "--memory", "50M", "--memory-reservation", "1.5m", bundle.id)

    stats = json.loads(bundle.ok("events", "--stats", bundle.id))["data"]["memory"]
    assert stats["usage"]["limit"] == 50 << 20
    if Path("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists():
        bundle.ok("update", "--memory-swap", "60M", bundle.id)
    assert "takes a number, not `50X`" in bundle.fails("update", "--memory", "50X", bundle.id)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_processors_are_the_cgroups_not_the_callers(bundle: Bundle) -> None:
    one, *_, last = sorted(os.sched_getaffinity(0))
    show = "grep Cpus_allowed_list /proc/self/status"
    mine = affinity(Path("/proc/self/status").read_text())
    confined = {"preexec_fn": lambda: os.sched_setaffinity(0, {one})}

    assert affinity(bundle.run(show, **confined)) == mine
    started(bundle)
    exec_ = ("exec", bundle.id, "sh", "-c", show)
    assert affinity(bundle.ok(*exec_, **confined)) == mine
    process = {**bundle.process, "args": ["sh", "-c", show]}
    process["execCPUAffinity"] = {"initial": str(one), "final": str(last)}
    words = ("exec", "--process", "-", bundle.id)
    said = {"stdin": None, "input": json.dumps(process)}
    assert affinity(bundle.ok(*words, **said)) == str(last)
    process["execCPUAffinity"] = {"final": "8000"}
    said["input"] = json.dumps(process)
    assert "execCPUAffinity 8000" in bundle.fails(*words, **said)


def test_capabilities_added_to_a_program_are_ambient_where_they_are_inheritable(
    bundle: Bundle,
) -> None:
    sets = bundle.process["capabilities"]
    sets["inheritable"] = ["CAP_CHOWN", "CAP_SYSLOG"]
    sets["ambient"] = ["CAP_CHOWN"]
    sets["bounding"] = [*sets["bounding"], "CAP_SYSLOG"]
    started(bundle)

    def ambient(*options: str) -> str:
        shown = bundle.ok("exec", *options, bundle.id, "grep", "CapAmb", "/proc/self/status")
        return shown.split()[1].lstrip("0")

    assert ambient() == "1"
    assert ambient("--cap", "CAP_SYSLOG") == "400000001"
    assert ambient("--cap", "CAP_SYS_TIME") == "1"


def test_a_terminal_adds_nothing_to_what_goes_into_a_pipe(bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    bundle.script("echo one; echo two")
    done = subprocess.run(
        bundle.argv(*bundle.made("run")), stdin=subprocess.DEVNULL, capture_output=True,
        timeout=30, cwd=TREE,
    )  # fmt: skip

    assert done.stdout == b"one\ntwo\n"


def test_the_terminal_of_a_further_program_has_the_size_that_was_asked_for(bundle: Bundle) -> None:
    started(bundle)
    process = {**bundle.process, "args": ["stty", "size"], "terminal": True}
    process["consoleSize"] = {"height": 10, "width": 110}

    text = json.dumps(process)
    shown = bundle.ok("exec", "--process", "-", bundle.id, stdin=None, input=text)

    assert shown.split() == ["10", "110"]


def test_the_source_of_a_bind_may_be_out_of_reach_of_mapped_ids(
    bundle: Bundle, tmp_path: Path
) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        bundle.linux[name] = [{"containerID": 0, "hostID": 100_000, "size": 1000}]
    hidden = tmp_path / "hidden"
    (hidden / "data").mkdir(parents=True)
    (hidden / "data" / "file").write_text("seen\n")
    (hidden / "data").chmod(0o755)
    hidden.chmod(0o700)
    (bundle.rootfs / "data").mkdir()
    for name in ("file", "none"):
        (bundle.rootfs / name).touch()
    bundle.mount("/data", "bind", str(hidden / "data"), "rbind", "ro")
    bundle.mount("/file", "bind", str(hidden / "data" / "file"), "bind")

    script = "cat /data/file /file; : > /data/new"
    bundle.script(f"({script}) 2>&1; exit 0")
    out = bundle.run()

    assert out.splitlines()[:2] == ["seen", "seen"]
    assert "Read-only" in out
    bundle.mount("/none", "bind", str(hidden / "none"), "bind")
    assert "No such file" in bundle.run_fails()


def test_time_of_a_container_with_mapped_ids(bundle: Bundle) -> None:
    bundle.linux["namespaces"] += [{"type": "user"}, {"type": "time"}]
    for name in ("uidMappings", "gidMappings"):
        bundle.linux[name] = [{"containerID": 0, "hostID": 100_000, "size": 1000}]
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 7_000_000}}

    assert float(bundle.run("cat /proc/uptime").split()[0]) > 7_000_000


def test_hooks_of_the_start_may_do_what_the_container_may(bundle: Bundle) -> None:
    """They are programs of the image, which it can replace by others."""
    bundle.process["user"] = {"uid": 7, "gid": 8}
    bundle.process["env"] = ["PATH=/bin", "ONE=two"]
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77},
        ],
    }
    script = "id -u; id -g; echo $ONE $HOME; grep CapEff /proc/self/status; mkdir /tmp/x; pwd"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script]}
    bundle.config["hooks"] = {"startContainer": [hook]}

    out, err = bundle.warned("exit 0")

    assert out.splitlines() == ["7", "8", "two /", "CapEff:\t0000000000000000", "/"]
    assert "mkdir" in err


def test_where_hooks_begin(bundle: Bundle) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"pwd >> {bundle.folder}/where"]}
    bundle.config["hooks"] = {kind: [hook] for kind in ("createRuntime", "createContainer")}

    bundle.run("exit 0")

    assert (bundle.folder / "where").read_text().split() == [
        str(bundle.folder), str(bundle.rootfs),
    ]  # fmt: skip


def test_the_template_has_the_namespaces_of_runcs(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "buildkit_py.cli.pyruntime", "spec", "-b", str(tmp_path)]
    subprocess.run(words, check=True, timeout=30, cwd=TREE)
    made = json.loads((tmp_path / "config.json").read_text())["linux"]["namespaces"]

    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    assert ({"type": "cgroup"} in made) == unified


def test_a_slave_root_is_one(bundle: Bundle) -> None:
    """With shared mounts of the machine, and a namespace that they may be in."""
    bundle.linux["rootfsPropagation"] = "slave"
    bundle.script("grep -F ' / ' /proc/self/mountinfo")
    shared = f"mount --make-rshared / && exec {' '.join(bundle.argv(*bundle.made('run')))}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", shared],
        capture_output=True, text=True, timeout=30, cwd=TREE,
    )  # fmt: skip

    assert "master:" in done.stdout, done.stderr
