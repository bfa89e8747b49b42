"""`pyengine exec`, `inspect`, `network`, `volume`, health checks: as root and rootless."""

from __future__ import annotations

import json
import os
import pty
import signal
import time
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Engine, eventually, processes_with


@pytest.fixture(autouse=True)
def removed(engine: Engine) -> Iterator[None]:
    """Remove what a test leaves, so that the next one finds nothing of it."""
    yield
    ids = engine("ps", "-aq").stdout.split()
    if ids:
        engine("rm", "-fv", *ids)
    networks = engine("network", "ls", "-q").stdout.split()
    if networks:
        engine("network", "rm", *networks)
    assert eventually(lambda: processes_with(str(engine.root)) == [])


@pytest.fixture
def box(engine: Engine) -> Engine:
    """An engine with a container `box` that waits."""
    engine("run", "-d", "--name", "box", "-e", "A=image", "busybox", "sleep", "600")
    return engine


def health(engine: Engine, name: str) -> str:
    return engine("inspect", "-f", "{{.State.Health.Status}}", name).stdout.strip()


def test_exec_runs_in_the_container_and_ends_as_its_program_ends(box: Engine) -> None:
    done = box("exec", "-e", "B=given", "-w", "/tmp", "box", "sh", "-c",
               "echo $A $B; pwd; echo oops >&2; exit 9", code=9)  # fmt: skip

    assert (done.stdout, done.stderr) == ("image given\n/tmp\n", "oops\n")
    assert box("exec", "-i", "box", "cat", stdin=b"in\n").stdout == "in\n"
    assert box("exec", "box", "cat", stdin=b"in\n").stdout == ""
    assert box("exec", "-u", "1000:1000", "box", "id", "-u").stdout == "1000\n"


def test_exec_of_a_missing_program_is_127_and_of_a_stopped_container_1(box: Engine) -> None:
    missing = box("exec", "box", "nothing", code=127)
    box("kill", "box")
    stopped = box("exec", "box", "true", code=1)

    assert "executable file not found in $PATH" in missing.stderr
    assert "is not running" in stopped.stderr


def test_exec_has_a_terminal_and_its_size(box: Engine) -> None:
    pid, fd = pty.fork()
    if pid == 0:
        argv = box.command(["exec", "-it", "box", "sh", "-c", "tty; test -t 1 && exit 5"])
        os.chdir(box.folder)
        os.execvpe(argv[0], argv, dict(box.environment))
    said = b""
    try:
        while data := os.read(fd, 1000):
            said += data
    except OSError:
        said += b""  # the terminal's end
    _, status = os.waitpid(pid, 0)
    os.close(fd)

    assert b"/dev/pts/0" in said
    assert os.waitstatus_to_exitcode(status) == 5


def test_exec_hands_signals_on_and_dies_with_its_client(box: Engine) -> None:
    polite = box.start("exec", "box", "sh", "-c", "trap 'exit 3' TERM; sleep 7654.1 & wait")
    assert eventually(lambda: processes_with("7654.1") != [])
    polite.send_signal(signal.SIGTERM)
    assert polite.wait(20) == 3

    lost = box.start("exec", "box", "sleep", "7654.2")
    assert eventually(lambda: processes_with("7654.2") != [])
    lost.kill()

    inside = [pid for pid in processes_with("7654.2") if pid != lost.pid]
    assert eventually(lambda: not set(inside) & set(processes_with("7654.2")))


def test_a_detached_program_goes_on_without_us(box: Engine) -> None:
    box("exec", "-d", "box", "sh", "-c", "sleep 0.3; echo done >/result")

    assert eventually(lambda: box("exec", "box", "cat", "/result", code=None).stdout == "done\n")


def test_health_is_followed(engine: Engine) -> None:
    engine("run", "-d", "--name", "well", "--health-cmd", "cat /ok", "--health-interval", "100ms",
           "--health-retries", "2", "busybox", "sh", "-c", "sleep 0.3; touch /ok; sleep 600",
           )  # fmt: skip

    assert health(engine, "well") in ("starting", "unhealthy")
    assert eventually(lambda: health(engine, "well") == "healthy")
    assert "(healthy)" in engine("ps").stdout
    engine("exec", "well", "rm", "/ok")
    assert eventually(lambda: health(engine, "well") == "unhealthy")
    record = json.loads(engine("inspect", "well").stdout)[0]["State"]["Health"]
    assert record["FailingStreak"] >= 2
    assert 1 <= len(record["Log"]) <= 5
    assert "No such file" in record["Log"][-1]["Output"]
    assert record["Log"][-1]["ExitCode"] == 1


def test_failures_in_the_start_period_do_not_count(engine: Engine) -> None:
    engine("run", "-d", "--name", "slow", "--health-cmd", "false", "--health-start-period", "1m",
           "--health-start-interval", "50ms", "--health-retries", "1", "busybox", "sleep", "600",
           )  # fmt: skip

    log = "{{json .State.Health.Log}}"
    assert eventually(lambda: len(json.loads(engine("inspect", "-f", log, "slow").stdout)) == 5)
    assert health(engine, "slow") == "starting"


def test_a_probe_that_takes_too_long_is_killed_and_fails(engine: Engine) -> None:
    engine("run", "-d", "--name", "late", "--health-cmd", "echo begun; sleep 4567.8",
           "--health-timeout", "200ms", "--health-interval", "50ms", "--health-retries", "1",
           "busybox", "sleep", "600")  # fmt: skip

    assert eventually(lambda: health(engine, "late") == "unhealthy")
    log = json.loads(engine("inspect", "-f", "{{json .State.Health.Log}}", "late").stdout)
    assert log[0]["Output"] == "Health check exceeded timeout (0.2s): begun\n"
    assert log[0]["ExitCode"] == -1


def test_inspect_has_what_clients_read(engine: Engine) -> None:
    engine("run", "-d", "--name", "seen", "-l", "a=b", "-v", "/data", "-p", "127.0.0.1:0:80",
           "--restart", "on-failure:3", "busybox", "sleep", "600")  # fmt: skip

    (data,) = json.loads(engine("inspect", "seen").stdout)

    assert data["Name"] == "/seen"
    assert data["State"]["Running"] is True
    assert data["State"]["Pid"] > 0
    assert data["Config"]["Labels"] == {"a": "b"}
    assert data["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert data["NetworkSettings"]["Ports"]["80/tcp"][0]["HostIp"] == "127.0.0.1"
    assert data["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    (mount,) = data["Mounts"]
    assert (mount["Type"], mount["Destination"], mount["RW"]) == ("volume", "/data", True)
    assert engine("inspect", "-f", '{{index .Config.Labels "a"}}', "seen").stdout == "b\n"
    assert engine("inspect", "other", code=1).stdout == "[]\n"


def test_containers_of_a_network_find_each_other_by_name(engine: Engine) -> None:
    engine("network", "create", "--label", "x=y", "inner")
    engine("run", "-d", "--name", "one", "--network", "inner", "--network-alias", "first",
           "busybox", "sleep", "600")  # fmt: skip
    engine("run", "-d", "--name", "two", "--network", "inner", "busybox", "sleep", "600")

    for name in ("one", "first", "one.inner"):
        assert "1 packets received" in engine("exec", "two", "ping", "-c1", "-W2", name).stdout
    (record,) = json.loads(engine("network", "inspect", "inner").stdout)
    assert record["Labels"] == {"x": "y"}
    assert sorted(each["Name"] for each in record["Containers"].values()) == ["one", "two"]
    (pool,) = record["IPAM"]["Config"]
    routes = engine("exec", "one", "ip", "route").stdout.split()
    assert pool["Subnet"] in routes
    assert pool["Gateway"] in routes
    assert "active endpoints" in engine("network", "rm", "inner", code=1).stderr
    taken = engine("network", "create", "inner", code=2)
    assert "network with name inner already exists" in taken.stderr


def test_a_network_shows_its_subnet_when_it_is_known(engine: Engine) -> None:
    """One that was not asked for is chosen when the first container joins."""
    engine("network", "create", "any")
    engine("network", "create", "--subnet", "10.199.7.0/24", "fixed")
    engine("network", "create", "--subnet", "10.199.8.0/24", "--gateway", "10.199.8.9", "whole")
    wrong = engine("network", "create", "--subnet", "10.199.8.1/24", "wrong", code=2)
    odd = engine(
        "network", "create", "--subnet", "10.199.8.0/24", "--gateway", "10.0.0.1", "odd", code=2
    )

    records = json.loads(engine("network", "inspect", "any", "fixed", "whole").stdout)
    assert [each["IPAM"]["Config"] for each in records] == [
        [],
        [{"Subnet": "10.199.7.0/24", "Gateway": "10.199.7.1"}],
        [{"Subnet": "10.199.8.0/24", "Gateway": "10.199.8.9"}],
    ]
    assert "invalid subnet 10.199.8.1/24: 10.199.8.1/24 has host bits set" in wrong.stderr
    assert "no matching subnet for gateway 10.0.0.1" in odd.stderr
    engine("network", "rm", "any", "fixed", "whole")


def test_volumes_are_listed_and_stay_until_they_are_removed(engine: Engine) -> None:
    engine("volume", "create", "--label", "x=y", "kept")
    engine("run", "-d", "--name", "writer", "-v", "kept:/data", "busybox", "sh", "-c",
           "echo stays >/data/file")  # fmt: skip
    engine("wait", "writer")

    assert "volume is in use" in engine("volume", "rm", "kept", code=1).stderr
    engine("rm", "writer")
    (record,) = json.loads(engine("volume", "inspect", "kept").stdout)
    assert record["Labels"] == {"x": "y"}
    assert engine("volume", "ls", "-q").stdout == "kept\n"
    assert engine("run", "-v", "kept:/x", "busybox", "cat", "/x/file").stdout == "stays\n"
    engine("volume", "rm", "kept")
    assert engine("volume", "ls", "-q").stdout == ""


def test_following_ends_soon_after_a_stop(box: Engine) -> None:
    reader = box.start("logs", "-f", "box")
    time.sleep(0.2)  # whether it follows already or not, it must end

    box("stop", "-t", "0", "box")

    assert reader.wait(10) == 0
