"""What stays of containers when something of ours is killed: nothing, and that is known."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Engine, eventually, processes_with
from tests.stories.residue import Watch, command, descendants, watching


@pytest.fixture
def watch(engine: Engine) -> Iterator[Watch]:
    with watching() as found:
        yield found
        ids = engine("ps", "-aq").stdout.split()
        if ids:
            engine("rm", "-fv", *ids)
        networks = engine("network", "ls", "-q").stdout.split()
        if networks:
            engine("network", "rm", *networks)
        found.check()
        assert eventually(lambda: processes_with(str(engine.root)) == [])
        assert rest(engine) == []


def rest(engine: Engine) -> list[str]:
    """Return what is left of containers in the state root and among the sockets."""
    folders = [engine.root / name for name in ("containers", "names", "networks", "volumes", "tmp")]
    return [str(path) for folder in folders if folder.exists() for path in folder.iterdir()]


def ours(engine: Engine, word: str) -> int:
    """Return the process of the only supervisor, or of its zygote."""
    (supervisor,) = processes_with(str(engine.root))
    if word == "supervisor":
        return supervisor
    (zygote,) = [pid for pid in descendants(supervisor) if "zygote_loop" in command(pid)]
    return zygote


def statuses(engine: Engine) -> set[str]:
    out = engine("ps", "-a", "--format", "{{.State}}").stdout
    return set(out.split())


@pytest.mark.parametrize("victim", ["supervisor", "zygote"])
def test_who_is_killed_takes_everything_along_and_it_starts_again(
    engine: Engine, watch: Watch, victim: str
) -> None:
    engine("network", "create", "shared")
    for name in ("one", "two"):
        engine("run", "-d", "--name", name, "--network", "shared", "-p", "127.0.0.1:0:80",
               "--restart", "always", "busybox", "sleep", "3141.5")  # fmt: skip
    inside = processes_with("3141.5")

    os.kill(ours(engine, victim), signal.SIGKILL)

    assert len(inside) == 2
    assert eventually(lambda: processes_with("3141.5") == [])
    assert eventually(lambda: processes_with(str(engine.root)) == [])
    assert eventually(lambda: not watch.left())
    assert statuses(engine) == {"exited"}
    engine("start", "one", "two")
    assert statuses(engine) == {"running"}
    assert "1 packets received" in engine("exec", "one", "ping", "-c1", "-W2", "two").stdout


def test_a_client_that_is_killed_at_any_moment_leaves_nothing_half_done(
    engine: Engine, watch: Watch
) -> None:
    luck = random.Random(7)
    for number in range(12):
        client = engine.start("run", "-d", "--name", f"n{number}", "-v", "/data", "busybox",
                              "sleep", "2718.2")  # fmt: skip
        time.sleep(luck.random() * 0.5)
        client.kill()
        client.wait()
    # Whatever came to be is whole: it is listed, it can be started, it can be removed.
    names = engine("ps", "-a", "--format", "{{.Names}}").stdout.split()
    for name in names:
        engine("start", name)
    assert statuses(engine) <= {"running"}
    engine("run", "-d", "--name", "fresh", "busybox", "true")


def test_a_supervisor_that_is_killed_at_any_moment_is_no_obstacle(
    engine: Engine, watch: Watch
) -> None:
    luck = random.Random(8)
    engine("create", "--name", "victim", "-p", "127.0.0.1:0:80", "busybox", "sleep", "1618.0")
    for _ in range(10):
        client = engine.start("start", "victim")
        time.sleep(luck.random() * 0.4)
        for pid in processes_with(str(engine.root)):
            os.kill(pid, signal.SIGKILL)
        assert client.wait(20) in (0, 1)
        for pid in processes_with(str(engine.root)):  # it began after that moment
            os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: processes_with("1618.0") == [])
    assert eventually(lambda: processes_with(str(engine.root)) == [])

    engine("start", "victim")

    assert statuses(engine) == {"running"}


def test_removal_that_is_killed_at_any_moment_is_finished_by_the_next(
    engine: Engine, watch: Watch
) -> None:
    luck = random.Random(9)
    for number in range(10):
        engine("create", "--name", f"r{number}", "-v", "/data", "busybox", "true")
        client = engine.start("rm", "-v", f"r{number}")
        time.sleep(luck.random() * 0.3)
        client.kill()
        client.wait()
        engine("rm", "-fv", f"r{number}", code=None)
    assert engine("ps", "-aq").stdout == ""
    engine("images")


def test_a_supervisor_leaves_by_itself_when_nothing_runs(engine: Engine, watch: Watch) -> None:
    engine("run", "-d", "--name", "brief", "busybox", "true")

    assert eventually(lambda: processes_with(str(engine.root)) == [])
    sockets = [
        path
        for path in Path(run_dir(engine)).glob("engine/*")
        if path.is_socket() or path.suffix == ".log"
    ]
    assert engine.is_root or sockets == []


def run_dir(engine: Engine) -> str:
    if engine.is_root:
        return "/run/buildkit-py"
    return f"{engine.environment['XDG_RUNTIME_DIR']}/buildkit-py"
