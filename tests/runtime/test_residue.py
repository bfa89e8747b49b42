"""Nothing is left: after a normal end, a refusal, and SIGKILL of the maker or of the zygote."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rootless import TREE
from tests.runtime.conftest import Inside, program

pytestmark = pytest.mark.root


def cgroups() -> list[str]:
    """Return every directory of ours in every hierarchy."""
    found = []
    for folder, folders, _ in os.walk("/sys/fs/cgroup"):
        if os.path.basename(folder) == "buildkit-py":
            found += [os.path.join(folder, name) for name in folders]
            folders.clear()
    return found


def processes_with(mark: str) -> list[int]:
    """Return the pids of all processes with `mark` on their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if mark.encode() in words and b"pytest" not in words:
                found.append(int(name))
    return found


def mounts(folder: Path) -> list[str]:
    """Return this namespace's mounts that have to do with a folder, or with our descriptors."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if folder.name in line or "/proc/self/fd" in line]


def eventually(holds: Callable[[], bool], *, seconds: float = 10) -> bool:
    """Wait for something that the kernel does a moment after a kill."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.02)
    return False


SLEEPER = """
null = os.open("/dev/null", os.O_RDWR)
limits = Limits(pids=50, memory_bytes=64 << 20)
script = "(setsid sleep 4242.MARK &) ; sleep 4242.MARK & wait"
with box.zygote.create(
    box.container("sh", "-c", script, limits=limits), stdin=null, stdout=null, stderr=null
) as process:
    process.start()
    print(os.getpid(), box.zygote.pid, flush=True)
    try:
        print(process.wait(), flush=True)
    except HostError as error:
        print("lost:", error.message, flush=True)
"""


def start(folder: Path, mark: str) -> tuple[subprocess.Popen[str], int, int]:
    maker = subprocess.Popen(
        [sys.executable, "-c", program(str(folder), SLEEPER.replace("MARK", mark))],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert maker.stdout is not None
    pid, zygote = maker.stdout.readline().split()
    assert eventually(lambda: len(processes_with(f"sleep\0004242.{mark}")) == 2)
    return maker, int(pid), int(zygote)


def test_nothing_is_left_when_the_maker_is_killed(folder: Path) -> None:
    mark = str(os.getpid())
    maker, pid, zygote = start(folder, mark)

    os.kill(pid, signal.SIGKILL)
    maker.communicate()

    assert eventually(lambda: not processes_with(f"sleep\0004242.{mark}"))
    assert eventually(lambda: not os.path.exists(f"/proc/{zygote}"))
    assert eventually(lambda: not [each for each in cgroups() if f"-{zygote}-" in each])
    assert mounts(folder) == []


def test_nothing_is_left_when_the_zygote_is_killed(folder: Path) -> None:
    mark = str(os.getpid())
    maker, _, zygote = start(folder, mark)

    os.kill(zygote, signal.SIGKILL)
    out, _ = maker.communicate(timeout=20)

    assert out == "lost: the process that containers are started from was killed\n"
    assert maker.returncode == 0
    assert not processes_with(f"sleep\0004242.{mark}")
    assert not [each for each in cgroups() if f"-{zygote}-" in each]
    assert mounts(folder) == []


def test_what_two_killed_processes_left_goes_at_the_next_start(
    folder: Path, inside: Inside
) -> None:
    mark = str(os.getpid())
    maker, pid, zygote = start(folder, mark)
    os.kill(zygote, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    os.kill(zygote, signal.SIGKILL)
    maker.communicate()
    assert eventually(lambda: not processes_with(f"sleep\0004242.{mark}"))
    assert [each for each in cgroups() if f"-{zygote}-" in each]
    for left in folder.iterdir():
        shutil.rmtree(left)

    inside("pass")

    assert not [each for each in cgroups() if f"-{zygote}-" in each]


def test_a_container_that_nobody_starts_or_waits_for_goes(inside: Inside) -> None:
    out = inside("""
        null = os.open("/dev/null", os.O_RDWR)
        pids = []
        for started in (False, True):
            with box.zygote.create(
                box.container("sleep", "100"), stdin=null, stdout=null, stderr=null
            ) as process:
                if started:
                    process.start()
                pids.append(process.pid)
        print([os.path.exists(f"/proc/{pid}") for pid in pids])
        print(sorted(os.listdir(box.folder)))
    """)

    lines = out.splitlines()
    assert lines[0] == "[False, False]"
    assert "stubs" not in lines[1]


def test_a_hundred_starts_leak_neither_descriptors_nor_memory(inside: Inside) -> None:
    out = inside("""
        def state(pid):
            fds = len(os.listdir(f"/proc/{pid}/fd"))
            with open(f"/proc/{pid}/statm") as file:
                return fds, int(file.read().split()[1]) * 4
        for _ in range(10):
            sh("true"), run("/nosuch")
            try:
                sh("true", cwd="/nosuch")
            except InputError:
                pass
        before = state("self"), state(box.zygote.pid)
        for _ in range(100):
            run("true")
        for _ in range(10):
            run("/nosuch")
            try:
                sh("true", cwd="/nosuch")
            except InputError:
                pass
        after = state("self"), state(box.zygote.pid)
        print(before[0][0] == after[0][0], before[1][0] == after[1][0])
        print(after[0][1] - before[0][1] < 2000, after[1][1] - before[1][1] < 1000)
        print([name for name in os.listdir(box.folder) if "stubs" in name])
    """)

    assert out.splitlines() == ["True True", "True True", "[]"]


def test_many_threads_may_ask_at_once(inside: Inside) -> None:
    out = inside("""
        from concurrent.futures import ThreadPoolExecutor
        null = os.open("/dev/null", os.O_RDWR)
        containers = [box.container("sh", "-c", f"exit {n}") for n in range(40)]
        def one(container):
            with box.zygote.create(container, stdin=null, stdout=null, stderr=null) as process:
                process.start()
                return process.wait().code
        with ThreadPoolExecutor(8) as pool:
            print(list(pool.map(one, containers)) == list(range(40)))
    """)

    assert out.strip() == "True"


def test_the_host_sees_no_mount_of_ours(inside: Inside, folder: Path) -> None:
    out = inside("""
        null = os.open("/dev/null", os.O_RDWR)
        with box.zygote.create(
            box.container("sleep", "1"), stdin=null, stdout=null, stderr=null
        ) as process:
            process.start()
            assert box.folder not in open("/proc/self/mountinfo").read()
            names = [os.readlink(f"/proc/{pid}/ns/mnt") for pid in ("self", os.getppid())]
            print(names[0] != names[1])
    """)

    assert mounts(folder) == []
    assert out.strip() == "True"
