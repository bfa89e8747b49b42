"""`pyengine run -d` and what follows: containers that last, as root and as an unprivileged user."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Engine, eventually, processes_with


@pytest.fixture(autouse=True)
def removed(engine: Engine) -> object:
    """Remove what a test leaves, so that the next one finds nothing of it."""
    yield
    ids = engine("ps", "-aq").stdout.split()
    if ids:
        engine("rm", "-fv", *ids)
    assert supervisors(engine) == []


def supervisors(engine: Engine) -> list[int]:
    """Return the pids of the supervisors of a state root; one that is leaving gets a moment."""
    found: list[int] = []

    def gone() -> bool:
        found[:] = processes_with(str(engine.root))
        return not found

    eventually(gone, seconds=5)
    return found


def state(engine: Engine, name: str) -> str:
    out = engine("ps", "-a", "--filter", f"name=^{name}$", "--format", "{{.State}}").stdout
    return out.strip()


def status(engine: Engine, name: str) -> str:
    out = engine("ps", "-a", "--filter", f"name=^{name}$", "--format", "{{.Status}}").stdout
    return out.strip()


def test_it_runs_is_listed_stopped_started_and_removed(engine: Engine) -> None:
    script = "echo begun; trap 'echo told; exit 7' TERM; while true; do sleep 0.05; done"

    id = engine("run", "-d", "--name", "one", "busybox", "sh", "-c", script).stdout.strip()

    assert len(id) == 64
    listed = engine("ps", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.State}}").stdout
    assert listed == f"{id} one running\n"
    assert eventually(lambda: engine("logs", "one").stdout == "begun\n")
    assert engine("stop", "one").stdout == "one\n"
    assert status(engine, "one").startswith("Exited (7) ")
    assert engine("ps").stdout.count("\n") == 1
    assert engine("start", id[:8]).stdout == f"{id[:8]}\n"
    assert eventually(lambda: engine("logs", "one").stdout == "begun\ntold\nbegun\n")
    refused = engine("rm", "one", code=1)
    assert "container is running" in refused.stderr
    assert engine("rm", "-f", "one").stdout == "one\n"
    assert engine("ps", "-aq").stdout == ""
    assert not list((engine.root / "containers").iterdir())
    assert not list((engine.root / "names").iterdir())


def test_its_layer_and_its_log_last_from_start_to_start(engine: Engine) -> None:
    engine("run", "-d", "--name", "two", "busybox", "sh", "-c", "echo x >>/kept; cat /kept >&2")
    assert engine("wait", "two").stdout == "0\n"
    engine("start", "two")
    assert engine("wait", "two").stdout == "0\n"

    logs = engine("logs", "two")

    assert (logs.stdout, logs.stderr) == ("", "x\nx\nx\n")
    assert engine("logs", "--tail", "1", "two").stderr == "x\n"
    stamped = engine("logs", "-t", "--tail", "1", "two").stderr
    assert stamped.endswith("Z x\n")
    assert stamped.startswith(time.strftime("%Y-", time.gmtime()))


def test_following_a_log_gives_every_line_and_ends_with_the_container(engine: Engine) -> None:
    script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; printf end"
    engine("run", "-d", "--name", "loud", "busybox", "sh", "-c", script)

    lines = engine("logs", "-f", "loud").stdout.split("\n")

    assert lines == [*(f"line {number}" for number in range(20000)), "end"]


def test_a_program_that_cannot_run_leaves_a_container_that_says_so(engine: Engine) -> None:
    done = engine("run", "-d", "--name", "none", "busybox", "nothing", code=127)

    assert "executable file not found in $PATH" in done.stderr
    assert status(engine, "none") == "Created"
    assert engine("start", "none", code=1).stderr


def test_names_are_unique_and_a_name_is_found(engine: Engine) -> None:
    engine("create", "--name", "same", "busybox", "true")

    taken = engine("create", "--name", "same", "busybox", "true", code=1)

    assert 'The container name "/same" is already in use' in taken.stderr
    assert "no such container: other" in engine("start", "other", code=1).stderr
    assert engine("ps", "-a", "--format", "{{.Names}}").stdout == "same\n"


def test_a_published_port_is_reached_until_the_container_ends(engine: Engine) -> None:
    serve = "while true; do echo hello | nc -l -p 80; done"
    engine("run", "-d", "--name", "web", "-p", "127.0.0.1:0:80", "busybox", "sh", "-c", serve)
    ports = engine("ps", "--format", "{{.Ports}}").stdout
    number = int(ports.partition("->")[0].rpartition(":")[2])

    def says() -> bytes:
        with socket.create_connection(("127.0.0.1", number), timeout=5) as connection:
            return connection.recv(100)

    assert eventually(lambda: says() == b"hello\n")
    engine("kill", "web")
    assert status(engine, "web").startswith("Exited (137)")
    with pytest.raises(ConnectionRefusedError):
        says()


def test_a_port_that_is_taken_is_said_and_the_container_stays_created(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        done = engine(
            "run", "-d", "--name", "web", "-p", f"127.0.0.1:{number}:80", "busybox", "true",
            code=125,
        )  # fmt: skip

    assert f"Bind for 127.0.0.1:{number} failed: port is already allocated" in done.stderr
    assert status(engine, "web") == "Created"
    engine("start", "web")
    assert engine("wait", "web").stdout == "0\n"


def test_restart_policies_are_dockers(engine: Engine) -> None:
    counting = "echo run; exit 3"
    engine("run", "-d", "--name", "twice", "--restart", "on-failure:2", "busybox", "sh", "-c",
           counting)  # fmt: skip
    engine("run", "-d", "--name", "fine", "--restart", "on-failure", "busybox", "true")
    engine("run", "-d", "--name", "ever", "--restart", "always", "busybox", "sh", "-c", counting)

    assert engine("wait", "twice").stdout == "3\n"
    assert engine("logs", "twice").stdout == "run\n" * 3
    assert engine("wait", "fine").stdout == "0\n"
    assert eventually(lambda: engine("logs", "ever").stdout.count("run") > 3)
    assert state(engine, "ever") in ("restarting", "running")
    engine("stop", "-t", "1", "ever")
    count = engine("logs", "ever").stdout.count("run")
    assert status(engine, "ever").startswith("Exited (3)")
    assert engine("logs", "ever").stdout.count("run") == count


def test_stopping_takes_the_signal_and_the_time_that_were_asked_for(engine: Engine) -> None:
    deaf = "trap '' TERM; trap 'exit 9' USR1; while true; do sleep 0.05; done"
    engine("run", "-d", "--name", "deaf", "busybox", "sh", "-c", deaf)
    engine("run", "-d", "--name", "polite", "--stop-signal", "USR1", "busybox", "sh", "-c", deaf)
    began = time.monotonic()

    engine("stop", "-t", "1", "deaf")
    engine("stop", "polite")

    assert 1 <= time.monotonic() - began < 8
    assert status(engine, "deaf").startswith("Exited (137)")
    assert status(engine, "polite").startswith("Exited (9)")


def test_with_rm_nothing_of_it_stays(engine: Engine) -> None:
    engine("run", "-d", "--rm", "--name", "brief", "-v", "/data", "busybox", "true")

    assert eventually(lambda: engine("ps", "-aq").stdout == "")
    assert eventually(lambda: not list((engine.root / "containers").iterdir()))
    assert not list((engine.root / "volumes").iterdir())


def test_what_was_killed_with_its_supervisor_is_seen_as_ended(engine: Engine) -> None:
    engine("run", "-d", "--name", "lost", "busybox", "sleep", "987654")
    (pid,) = processes_with(str(engine.root))
    inside = processes_with("987654")

    os.kill(pid, signal.SIGKILL)

    assert inside
    assert eventually(lambda: processes_with("987654") == [])
    assert status(engine, "lost").startswith("Exited (137)")
    engine("start", "lost")
    assert state(engine, "lost") == "running"


def test_a_supervisor_that_is_asked_to_end_stops_its_containers(engine: Engine) -> None:
    script = "trap 'echo bye; exit 4' TERM; while true; do sleep 0.05; done"
    engine("run", "-d", "--name", "last", "busybox", "sh", "-c", script)
    (pid,) = processes_with(str(engine.root))

    os.kill(pid, signal.SIGTERM)

    assert eventually(lambda: status(engine, "last").startswith("Exited (4)"))
    assert engine("logs", "last").stdout == "bye\n"


def test_limits_are_the_kernels_and_a_kill_for_want_of_memory_is_known(engine: Engine) -> None:
    if not engine.is_root:
        pytest.skip("an unprivileged user may not set limits on this machine")
    engine("run", "-d", "--name", "hog", "-m", "20m", "--memory-swap", "20m", "busybox", "sh",
           "-c", "x=a; while true; do x=$x$x; done")  # fmt: skip

    assert engine("wait", "hog").stdout == "137\n"
    record = json.loads(next(iter((engine.root / "containers").glob("*/state.json"))).read_text())
    assert record["oom"] is True


def test_an_image_may_go_while_a_container_of_it_stays(engine: Engine, busybox_tar: Path) -> None:
    engine("import", busybox_tar, "gone")
    engine("create", "--name", "kept", "gone", "true")

    engine("rmi", "gone")

    engine("start", "kept")
    assert engine("wait", "kept").stdout == "0\n"
