"""The life of a container as an engine drives it: each command, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.runtime.bundle.conftest import Bundle
from tests.stories.residue import eventually

pytestmark = pytest.mark.root

FOREVER = "echo up; exec sleep 1000"


def is_up(bundle: Bundle) -> bool:
    return eventually(lambda: "up" in bundle.said())


def started(bundle: Bundle, script: str = FOREVER) -> None:
    bundle.create(script)
    bundle.ok("start", bundle.id)
    assert is_up(bundle)


def test_from_create_to_delete(bundle: Bundle) -> None:
    bundle.config["annotations"] = {"org.example.key": "value"}
    bundle.create("echo $0 up; trap 'exit 3' TERM; while :; do sleep 0.01; done")

    state = bundle.state()
    assert state["status"] == "created"
    assert state["ociVersion"].startswith("1.")
    assert (state["id"], state["bundle"]) == (bundle.id, str(bundle.folder))
    assert state["annotations"] == {"org.example.key": "value"}
    assert Path(f"/proc/{state['pid']}").is_dir()
    assert bundle.said() == ""  # nothing of the program has run

    bundle.ok("start", bundle.id)
    assert is_up(bundle)
    assert bundle.state()["status"] == "running"
    assert bundle.state()["pid"] == state["pid"]

    bundle.ok("kill", bundle.id)
    assert eventually(lambda: bundle.status() == "stopped")
    assert bundle.state().get("pid", 0) == 0

    bundle.ok("delete", bundle.id)
    assert "does not exist" in bundle.fails("state", bundle.id)


def test_what_is_wrong_in_each_state(bundle: Bundle) -> None:
    bundle.create(FOREVER)
    assert "is not paused" in bundle.fails("resume", bundle.id)
    assert "already" in bundle.fails(*bundle.made("create"))
    assert bundle.status() == "created"
    bundle.ok("start", bundle.id)

    assert "is running, not created" in bundle.fails("start", bundle.id)
    assert "is running; stop it first" in bundle.fails("delete", bundle.id)
    assert "is not paused" in bundle.fails("resume", bundle.id)
    bundle.ok("pause", bundle.id)
    assert "is paused" in bundle.fails("delete", bundle.id)
    assert "is paused, not created" in bundle.fails("start", bundle.id)
    bundle.ok("kill", bundle.id, "KILL")
    assert eventually(lambda: bundle.status() == "stopped")

    assert "container not running" in bundle.fails("kill", bundle.id, "TERM")
    assert "container not running" in bundle.fails("pause", bundle.id)
    assert "is stopped, not created" in bundle.fails("start", bundle.id)
    assert "already" in bundle.fails(*bundle.made("create"))


@pytest.mark.parametrize(
    "words", ["state", "start", "kill", "delete", "pause", "resume", "ps", "events --stats"]
)
def test_a_container_that_is_not_there(bundle: Bundle, words: str) -> None:
    assert "container does not exist: `nobody`" in bundle.fails(*words.split(), "nobody")


def test_deleting_by_force_is_content_with_none(bundle: Bundle) -> None:
    assert bundle.ok("delete", "--force", "nobody") == ""


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "../a", ".a", "a b", "ä", "a\n", "x" * 300])
def test_ids_that_could_leave_the_folder_are_refused(bundle: Bundle, id: str) -> None:
    bundle.save()

    assert "[runtime/bad-id]" in bundle.fails("create", "--bundle", str(bundle.folder), id)
    assert not bundle.states.exists()


@pytest.mark.parametrize("id", ["a", "A_b+c-d.e", "+x", "-x", "x" * 200])
def test_ids_of_all_that_is_allowed(bundle: Bundle, id: str) -> None:
    bundle.script("exit 0")
    bundle.linux["cgroupsPath"] = bundle.id
    bundle.save()
    words = ["run", "--bundle", str(bundle.folder), *(["--"] if id[0] == "-" else []), id]

    assert bundle.ok(*words) == ""


def test_a_container_that_was_never_started_can_be_deleted(bundle: Bundle) -> None:
    bundle.create(FOREVER)
    bundle.ok("delete", bundle.id)

    assert bundle.ok("list", "--quiet") == ""


def test_the_config_is_the_one_of_the_creation(bundle: Bundle) -> None:
    bundle.create("echo first")
    bundle.script("echo second")
    bundle.process["env"] = []
    bundle.save()
    bundle.ok("start", bundle.id)

    assert eventually(bundle.said)
    assert bundle.said() == "first\n"


def test_listing(bundle: Bundle) -> None:
    bundle.states.mkdir()
    assert bundle.ok("list", "--quiet") == ""
    assert json.loads(bundle.ok("list", "--format", "json")) == []
    bundle.create(FOREVER)
    pid = bundle.state()["pid"]

    assert bundle.ok("list", "-q") == f"{bundle.id}\n"
    (row,) = json.loads(bundle.ok("list", "-f", "json"))
    assert (row["id"], row["pid"], row["status"]) == (bundle.id, pid, "created")
    head, line = bundle.ok("list").splitlines()
    assert head.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert line.split()[:4] == [bundle.id, str(pid), "created", str(bundle.folder)]
    assert "`table` or `json`" in bundle.fails("list", "-f", "yaml")


def test_the_processes_of_a_container(bundle: Bundle) -> None:
    started(bundle, "sleep 1000 & echo up; wait")
    pid = bundle.state()["pid"]
    pids = json.loads(bundle.ok("ps", "-f", "json", bundle.id))

    assert len(pids) == 2
    assert pid in pids
    lines = bundle.ok("ps", bundle.id).splitlines()
    assert lines[0].split()[:2] == ["UID", "PID"]
    assert sorted(int(line.split()[1]) for line in lines[1:]) == sorted(pids)
    assert "sleep 1000" in bundle.ok("ps", bundle.id, "-eo", "pid,args")
    assert "column PID" in bundle.fails("ps", bundle.id, "-eo", "args")


def test_a_pause_stops_all_and_a_kill_gets_through_it(bundle: Bundle) -> None:
    started(bundle)
    bundle.ok("pause", bundle.id)
    assert bundle.status() == "paused"
    bundle.ok("resume", bundle.id)
    assert bundle.status() == "running"

    bundle.ok("pause", bundle.id)
    bundle.ok("kill", bundle.id, "SIGKILL")
    assert eventually(lambda: bundle.status() == "stopped")


def test_a_paused_container_is_deleted_by_force(bundle: Bundle) -> None:
    started(bundle)
    bundle.ok("pause", bundle.id)
    bundle.ok("delete", "--force", bundle.id)

    assert bundle.is_gone(), bundle.leftovers()


@pytest.mark.parametrize("name", ["USR1", "SIGUSR1", "usr1", str(int(signal.SIGUSR1))])
def test_signals_by_name_and_number(bundle: Bundle, name: str) -> None:
    started(bundle, "trap 'echo caught; exit 0' USR1; echo up; while :; do sleep 0.01; done")
    bundle.ok("kill", bundle.id, name)

    assert eventually(lambda: "caught" in bundle.said())


@pytest.mark.parametrize("name", ["NOPE", "99", "-1", "1.5"])
def test_what_is_no_signal(bundle: Bundle, name: str) -> None:
    started(bundle)
    bundle.fails("kill", bundle.id, *([] if name[0] != "-" else ["--"]), name)

    assert bundle.status() == "running"


def test_a_signal_for_all(bundle: Bundle) -> None:
    started(bundle, "trap '' TERM; sleep 1000 & echo up; wait; exec sleep 1000")
    pids = json.loads(bundle.ok("ps", "-f", "json", bundle.id))
    bundle.ok("kill", "--all", bundle.id, "KILL")

    assert len(pids) == 2
    assert eventually(lambda: bundle.status() == "stopped")
    assert eventually(lambda: json.loads(bundle.ok("ps", "-f", "json", bundle.id)) == [])


def test_without_a_pid_namespace_no_process_survives(bundle: Bundle) -> None:
    bundle.without("pid")
    bundle.mounts[0] = {"destination": "/proc", "type": "bind", "source": "/proc"}
    started(bundle, "sleep 1000 & echo up; wait")
    bundle.ok("delete", "--force", bundle.id)

    assert bundle.is_gone(), bundle.leftovers()


def test_limits_are_set_changed_and_counted(bundle: Bundle) -> None:
    bundle.linux["resources"] = {
        "memory": {"limit": 64 << 20},
        "pids": {"limit": 20},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000},
    }
    started(bundle)

    def limits() -> list[str]:
        places = bundle.cgroups()
        if len(places) == 1:
            names = ["memory.max", "pids.max", "cpu.weight", "cpu.max"]
            return [(Path(places[0]) / name).read_text().strip() for name in names]
        v1 = ["memory.limit_in_bytes", "pids.max", "cpu.shares", "cpu.cfs_quota_us"]
        found = [
            Path(place) / name for name in v1 for place in places if name.split(".")[0] in place
        ]
        return [path.read_text().strip() for path in found if path.exists()]

    cpu = ["59", "50000 100000"] if len(bundle.cgroups()) == 1 else ["512", "50000"]
    assert limits() == [str(64 << 20), "20", *cpu]

    new = json.dumps({"memory": {"limit": 32 << 20}, "pids": {"limit": 30}})
    bundle.ok("update", "--resources", "-", bundle.id, stdin=None, input=new)
    assert limits() == [str(32 << 20), "30", *cpu]

    event = json.loads(bundle.ok("events", "--stats", bundle.id))
    assert (event["type"], event["id"]) == ("stats", bundle.id)
    assert event["data"]["pids"]["current"] == 1
    assert event["data"]["memory"]["usage"]["limit"] == 32 << 20


def test_an_update_that_is_none(bundle: Bundle) -> None:
    started(bundle)
    bundle.fails("update", bundle.id)
    bundle.fails("update", "--resources", "/nowhere", bundle.id)
    bundle.fails("update", "--resources", "-", bundle.id, stdin=None, input='{"pids": 3}')

    assert bundle.status() == "running"


def test_a_memory_limit_kills(bundle: Bundle) -> None:
    bundle.linux["resources"] = {"memory": {"limit": 16 << 20, "swap": 16 << 20}}
    bundle.mount("/tmp", "tmpfs")
    bundle.script("dd if=/dev/zero of=/tmp/x bs=1M count=32")

    assert bundle.call(*bundle.made("run")).returncode == 128 + signal.SIGKILL


def test_a_limit_too_low_to_start_with_is_told(bundle: Bundle) -> None:
    bundle.linux["resources"] = {"memory": {"limit": 1 << 16, "swap": 1 << 16}}

    assert "its limit is too low" in bundle.run_fails()


def test_device_rules(bundle: Bundle) -> None:
    """10:229 is fuse: of what a test machine has, a node that no rule of ours allows by itself."""
    device = {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}
    bundle.linux["devices"] = [device]
    rules = [{"allow": False, "access": "rwm"}]
    script = "(: < /dev/fuse) && echo open; : > /dev/null && echo null"
    bundle.linux["resources"] = {"devices": rules}
    refused = bundle.run(script)
    rules.append({"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"})
    allowed = bundle.run(script)

    assert refused == "null\n"
    assert allowed == "open\nnull\n"


def test_the_place_of_the_cgroup(bundle: Bundle) -> None:
    bundle.linux["cgroupsPath"] = f"/{bundle.id}-top/inner"
    bundle.create(FOREVER)
    text = Path(f"/proc/{bundle.state()['pid']}/cgroup").read_text()

    assert {line.split(":")[2] for line in text.splitlines()} == {f"/{bundle.id}-top/inner"}


def test_a_cgroup_with_processes_is_refused(bundle: Bundle) -> None:
    bundle.linux["cgroupsPath"] = f"/{bundle.id}-top"
    bundle.create(FOREVER)
    complaint = bundle.fails("create", "--bundle", str(bundle.folder), f"{bundle.id}-2")

    assert "has processes in it" in complaint
    assert bundle.ok("list", "-q") == f"{bundle.id}\n"


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 7", 7), ("exit 0", 0), ("exit 255", 255), ("kill -TERM $$; exit 3", 3)],
)
def test_run_ends_as_the_program_does(bundle: Bundle, script: str, code: int) -> None:
    bundle.script(script)

    assert bundle.call(*bundle.made("run")).returncode == code


def test_run_ends_with_128_and_the_signal(bundle: Bundle) -> None:
    """Without a pid namespace of its own the first process is one as any other."""
    bundle.without("pid")
    bundle.mounts[0] = {"destination": "/proc", "type": "bind", "source": "/proc"}
    bundle.script("kill -TERM $$")

    assert bundle.call(*bundle.made("run")).returncode == 128 + signal.SIGTERM


def test_run_passes_signals_on(bundle: Bundle) -> None:
    bundle.script("trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done")
    with subprocess.Popen(
        bundle.argv(*bundle.made("run")), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.terminate()

        assert process.wait(30) == 9


def test_run_in_the_background(bundle: Bundle) -> None:
    bundle.script(FOREVER)
    with open(bundle.folder / "said", "w") as said:
        bundle.call(*bundle.made("run", "--detach"), capture_output=False, stdout=said)

    assert is_up(bundle)
    assert bundle.status() == "running"


def test_run_may_keep_the_container(bundle: Bundle) -> None:
    bundle.run("exit 0", "--keep")

    assert bundle.status() == "stopped"


def test_the_first_process_is_written_to_a_file(bundle: Bundle) -> None:
    path = bundle.folder / "pid"
    bundle.create(FOREVER, "--pid-file", str(path))

    assert path.read_text() == str(bundle.state()["pid"])
    assert sorted(os.listdir(bundle.folder)) == ["config.json", "pid", "rootfs", "said", "states"]


def test_a_pid_file_that_cannot_be_written(bundle: Bundle) -> None:
    bundle.script(FOREVER)
    complaint = bundle.fails(*bundle.made("create", "--pid-file", "/nowhere/pid"))

    assert "/nowhere/pid" in complaint
    assert bundle.is_gone(), bundle.leftovers()


@pytest.mark.parametrize(
    ("program", "said", "code"),
    [
        ("/nowhere", "`/nowhere`: No such file or directory", 127),
        ("nowhere", "`nowhere`: executable file not found in $PATH", 127),
        ("/etc", "`/etc`: Permission denied", 126),
    ],
)
def test_a_program_that_is_none(bundle: Bundle, program: str, said: str, code: int) -> None:
    """As a shell and crun say it; `create` ends with 1."""
    bundle.process["args"] = [program]
    done = bundle.call(*bundle.made("run"))

    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert bundle.is_gone(), bundle.leftovers()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"root": {"path": "nowhere"}}, "is not a directory"),
        ({"root": {"path": "config.json"}}, "is not a directory"),
        ({"ociVersion": "2.0.0"}, "ociVersion"),
        ({"process": []}, "process"),
        ({"linux": {}}, "mounts: needs a mount namespace of the container's own"),
    ],
)
def test_a_config_that_is_none_makes_nothing(
    bundle: Bundle, change: dict[str, object], said: str
) -> None:
    bundle.config |= change

    assert said in bundle.run_fails()
    assert bundle.is_gone(), bundle.leftovers()


def test_a_bundle_without_a_config(bundle: Bundle) -> None:
    assert "config.json" in bundle.fails("create", "--bundle", str(bundle.folder), bundle.id)
    (bundle.folder / "config.json").write_text("{")
    assert "config.json" in bundle.fails("create", "--bundle", str(bundle.folder), bundle.id)


def test_another_name_of_the_config_and_the_bundle_here(bundle: Bundle) -> None:
    bundle.script("echo here")
    bundle.save()
    (bundle.folder / "config.json").rename(bundle.folder / "other.json")

    out = bundle.ok(
        "run", "--config", "other.json", bundle.id, cwd=bundle.folder,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert out == "here\n"


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_log_that_engines_read(bundle: Bundle, form: str) -> None:
    log = bundle.folder / "log"
    bundle.fails("--log", str(log), "--log-format", form, "state", "nobody")

    if form == "json":
        line = json.loads(log.read_text())
        assert (line["level"], line["msg"]) == ("error", "container does not exist: `nobody`")
    else:
        assert "level=error" in log.read_text()
        assert "container does not exist: `nobody`" in log.read_text()


def test_what_is_no_command(bundle: Bundle) -> None:
    assert "no command `fly`" in bundle.fails("fly")
    assert bundle.ok("--version").startswith("pyruntime version")
    assert "create" in bundle.ok("--help")
