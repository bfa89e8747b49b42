"""What bounds a container that lasts: its log, its memory, its rights. As root and as a user."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Engine, eventually, processes_with


@pytest.fixture(autouse=True)
def removed(engine: Engine) -> Iterator[None]:
    """Remove what a test leaves."""
    yield
    ids = engine("ps", "-aq").stdout.split()
    if ids:
        engine("rm", "-fv", *ids)
    assert eventually(lambda: processes_with(str(engine.root)) == [], seconds=5)


def resident_kilobytes(pid: int) -> int:
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS:"))


def log_files(engine: Engine, name: str) -> list[Path]:
    (data,) = json.loads(engine("inspect", name).stdout)
    path = Path(data["LogPath"])
    return sorted(path.parent.glob("log.json*"))


def test_a_chatty_container_stays_below_its_bound_and_a_follower_loses_nothing(
    engine: Engine,
) -> None:
    folder = engine.folder / "turns"
    folder.mkdir()
    folder.chmod(0o777)
    script = """
        turn=0; number=0
        while [ $turn -lt 6 ]; do
            end=$((number + 400))
            while [ $number -lt $end ]; do echo line $number; number=$((number + 1)); done
            turn=$((turn + 1))
            while [ ! -e /turns/$turn ]; do sleep 0.01; done
        done
    """
    engine(
        "run", "-d", "--name", "chatty", "--log-driver", "json-file", "--log-opt", "max-size=10k",
        "--log-opt", "max-file=8", "-v", f"{folder}:/turns", "busybox", "sh", "-c", script,
    )  # fmt: skip
    follower = engine.start("logs", "-f", "chatty")

    assert follower.stdout is not None
    seen = []
    for line in follower.stdout:
        seen.append(line.decode())
        if len(seen) % 400 == 0:
            (folder / str(len(seen) // 400)).touch()

    assert follower.wait(30) == 0
    assert seen == [f"line {number}\n" for number in range(2400)]
    files = log_files(engine, "chatty")
    assert len(files) == 8
    assert max(each.stat().st_size for each in files) <= 10_000
    kept = engine("logs", "chatty").stdout.splitlines(keepends=True)
    assert 600 < len(kept) < 2400
    assert kept == seen[-len(kept) :]
    assert engine("logs", "-n", "300", "chatty").stdout == "".join(seen[-300:])
    (data,) = json.loads(engine("inspect", "chatty").stdout)
    config = {"max-size": "10k", "max-file": "8"}
    assert data["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": config}


def test_the_supervisor_does_not_grow_with_what_its_container_writes(engine: Engine) -> None:
    script = "read go; yes 'some words to be remembered' | head -n 1000000; echo end; sleep 600"
    folder = engine.folder / "go"
    folder.mkdir()
    folder.chmod(0o777)
    script = script.replace("read go", "while [ ! -e /go/now ]; do sleep 0.05; done")
    engine(
        "run", "-d", "--name", "loud", "--log-driver", "local", "--log-opt", "max-size=1m",
        "--log-opt", "max-file=2", "-v", f"{folder}:/go", "busybox", "sh", "-c", script,
    )  # fmt: skip
    pids = processes_with(str(engine.root))
    before = {pid: resident_kilobytes(pid) for pid in pids}

    (folder / "now").touch()

    assert eventually(lambda: engine("logs", "-n", "1", "loud").stdout == "end\n", seconds=60)
    assert sum(each.stat().st_size for each in log_files(engine, "loud")) <= 2 << 20
    for pid in pids:
        assert resident_kilobytes(pid) - before[pid] < 4096


def test_options_of_logs_are_checked_before_anything_is_made(engine: Engine) -> None:
    done = engine("create", "--log-opt", "max-size=lots", "busybox", code=1)

    assert "[engine/bad-log-option]" in done.stderr
    assert engine("ps", "-aq").stdout == ""


def cgroup_of(pid: int, controller: str) -> Path:
    """Return the directory of a process in a v1 hierarchy, or in the one of cgroup2."""
    rows = [row.split(":", 2) for row in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    for _, names, path in rows:
        if controller in names.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}")
    return Path(f"/sys/fs/cgroup{next(path for _, names, path in rows if not names)}")


def test_memory_is_reserved_and_swap_is_limited(engine: Engine) -> None:
    made = engine(
        "run", "-d", "--name", "held", "-m", "64m", "--memory-swap", "80m",
        "--memory-reservation", "32m", "busybox", "sleep", "600",
    )  # fmt: skip

    (data,) = json.loads(engine("inspect", "held").stdout)
    host = data["HostConfig"]
    sizes = [host[key] >> 20 for key in ("Memory", "MemorySwap", "MemoryReservation")]
    folder = cgroup_of(data["State"]["Pid"], "memory")
    if not engine.is_root and not (folder / "memory.low").exists():
        # This machine lets no user limit memory: it is told, and not claimed.
        assert sizes == [0, 0, 0]
        assert "notice: memory cannot be limited" in made.stderr
        return
    assert sizes == [64, 80, 32]
    found = {
        name: int((folder / name).read_text()) >> 20
        for name in ("memory.soft_limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.low",
                     "memory.swap.max")
        if (folder / name).exists()
    }  # fmt: skip
    one, two = found.get("memory.soft_limit_in_bytes"), found.get("memory.low")
    assert 32 in (one, two)
    assert found.get("memory.memsw.limit_in_bytes", 80) == 80
    assert found.get("memory.swap.max", 16) == 16


@pytest.mark.parametrize(
    "options",
    [
        ("--memory-swap", "64m"), ("-m", "64m", "--memory-swap", "32m"), ("-m", "1m"),
        ("-m", "64m", "--memory-reservation", "65m"), ("--memory-reservation", "5m"),
    ],
)  # fmt: skip
def test_limits_that_contradict_themselves_are_errors(
    engine: Engine, options: tuple[str, ...]
) -> None:
    assert "[engine/bad-limit]" in engine("create", *options, "busybox", code=1).stderr
    assert "[engine/bad-limit]" in engine("run", *options, "busybox", code=125).stderr


def test_no_program_gains_rights_and_the_domain_has_a_name(engine: Engine) -> None:
    engine(
        "run", "-d", "--name", "meek", "-h", "box", "--domainname", "shop.test", "-u", "1000",
        "--security-opt", "no-new-privileges:true", "--health-cmd",
        "grep NoNewPrivs /proc/self/status >/tmp/health", "--health-interval", "100ms", "busybox",
        "sh", "-c", "grep NoNewPrivs /proc/self/status; sleep 600",
    )  # fmt: skip

    assert _wrote(engine, "meek", "NoNewPrivs:\t1\n")
    own = engine("exec", "meek", "grep", "NoNewPrivs", "/proc/self/status").stdout
    assert own == "NoNewPrivs:\t1\n"
    health = ("exec", "meek", "cat", "/tmp/health")
    assert eventually(lambda: engine(*health, code=None).stdout == own)
    names = engine("exec", "meek", "cat", "/proc/sys/kernel/domainname", "/etc/hosts").stdout
    assert names.startswith("shop.test\n")
    assert names.endswith("\tbox.shop.test box\n")
    (data,) = json.loads(engine("inspect", "meek").stdout)
    assert data["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    assert data["Config"]["Domainname"] == "shop.test"


def test_a_set_user_id_program_gains_rights_only_where_it_may(engine: Engine) -> None:
    """busybox gives rights up at once where it needs none; its `su` says whether it has them."""
    script = "cp /bin/busybox /tmp/su && chmod 4755 /tmp/su; echo ready; sleep 600"
    said = {}
    for name, options in (("bold", ()), ("meek", ("--security-opt", "no-new-privileges"))):
        engine("run", "-d", "--name", name, *options, "busybox", "sh", "-c", script)
        assert _wrote(engine, name, "ready\n")
        done = engine("exec", "-u", "1000", name, "/tmp/su", "root", "-c", "true", code=None)
        said[name] = "must be suid" in done.stderr

    assert said == {"bold": False, "meek": True}


def _wrote(engine: Engine, name: str, text: str) -> bool:
    return eventually(lambda: engine("logs", name).stdout == text)


def test_security_options_that_are_not_there_are_errors(engine: Engine) -> None:
    done = engine("create", "--security-opt", "seccomp=x.json", "busybox", code=1)

    assert "[engine/bad-security-option]" in done.stderr
