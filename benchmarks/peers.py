"""The peers that we are compared with, and how a command is measured.

`docker` (with buildx), `dockerd` and `buildah` are taken from PATH, or through the command that
the environment variable BUILDKIT_PY_PEERS holds and that they are appended to: a container or a
chroot, say, which must share /tmp with this system. A daemon of our own is started with all its
files below a temporary folder, without a bridge and without a firewall, and killed at the end. It
needs root. A peer that cannot be had is left out, and the table says so.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
_START_SECONDS = 60
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: seconds by the clock, and seconds of processor time in all its processes."""

    wall: float
    cpu: float


@dataclass(slots=True)
class Tool:
    """A program under measure.

    command: what a build's arguments are appended to
    env: its whole environment, unless it is run by `shell`
    shell: a shell that runs it, so that the way to the peers is gone only once
    daemon: pid of the daemon that does its work, or 0
    """

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    shell: Shell | None = None
    daemon: int = 0

    def run(self, *arguments: str) -> Sample:
        """Run to the end. Raises RuntimeError with the output when it fails."""
        before = _tree_cpu(self.daemon)
        argv = [*self.command, *arguments]
        used, wall = self.shell.run(argv) if self.shell else _spawn(argv, self.env)
        return Sample(wall, used + max(0.0, _tree_cpu(self.daemon) - before))


class Shell:
    """A shell among the peers that runs one command after the other."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.output = folder / "output"
        self.process = subprocess.Popen(
            [*prefix(), "sh", "-s"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.pid = int(self._ask("echo $$"))

    def _ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        return self.process.stdout.readline()

    def run(self, argv: Sequence[str]) -> tuple[float, float]:
        """Return the seconds of processor time (of its ended children) and of the clock."""
        line = f"{shlex.join(argv)} </dev/null >{self.output} 2>&1; echo $?"
        before = _cpu(self.pid)
        started = time.perf_counter()
        status = self._ask(line).strip()
        wall = time.perf_counter() - started
        if status != "0":
            raise RuntimeError(f"{shlex.join(argv)} failed:\n{self.output.read_text()}")
        return _cpu(self.pid) - before, wall

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


def _spawn(argv: Sequence[str], env: Mapping[str, str]) -> tuple[float, float]:
    read, write = os.memfd_create("output"), -1
    try:
        write = os.open(f"/proc/self/fd/{read}", os.O_WRONLY | os.O_APPEND)
        program = shutil.which(argv[0], path=env.get("PATH")) or argv[0]
        started = time.perf_counter()
        pid = os.posix_spawn(
            program,
            list(argv),
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, write, 1),
                (os.POSIX_SPAWN_DUP2, write, 2),
            ],
        )
        _, status, usage = os.wait4(pid, 0)
        wall = time.perf_counter() - started
        if status:
            output = os.pread(read, 1 << 16, 0).decode(errors="replace")
            raise RuntimeError(f"{shlex.join(argv)} failed:\n{output}")
        return usage.ru_utime + usage.ru_stime, wall
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


def _tree_cpu(pid: int) -> float:
    """Return the processor time of a process, its descendants, and their dead children."""
    if not pid:
        return 0.0
    return sum(_cpu(each) for each in tree(pid))


def _cpu(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    # proc_pid_stat(5): fields 14 to 17 are utime, stime, cutime, cstime.
    return sum(map(int, text.rpartition(")")[2].split()[11:15])) / _TICKS


def tree(pid: int) -> Iterator[int]:
    """Give a process and all its descendants."""
    yield pid
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in threads:
        try:
            children = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
        except OSError:
            continue
        for child in children:
            yield from tree(int(child))


@contextmanager
def workplace() -> Iterator[Path]:
    """Give a temporary folder; it goes, and so do daemons, however a person ends this program."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background
    with tempfile.TemporaryDirectory(prefix="bkbench-") as name:
        yield Path(name)


# ── ours ─────────────────────────────────────────────────────────────────────────────────────


def ours(folder: Path, bases: Sequence[str] = ("busybox",), command: str = "") -> Tool:
    """Return `pybuild` with a root of its own, installed as users have it: not editable, compiled.

    command: what to run instead of an installation of our own
    """
    environment = folder / "venv"
    root = folder / "root"
    if not command:
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        pip = [str(environment / "bin" / "pip"), "install", "--quiet", "--no-cache-dir"]
        subprocess.run([*pip, str(TREE)], check=True, stderr=subprocess.DEVNULL)
    make_bases = [sys.executable, str(TREE / "fixtures" / "make_bases"), "--root", str(root)]
    subprocess.run([*make_bases, *bases], check=True, stdout=subprocess.DEVNULL)
    env = {**clean_environment(), "BUILDKIT_PY_ROOT": str(root)}
    return Tool("pybuild", shlex.split(command) or [str(environment / "bin" / "pybuild")], env)


def clean_environment() -> dict[str, str]:
    """Return the environment without what changes how Python or a build runs."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "BUILDKIT", "DOCKER", "BUILDX", "SOURCE_DATE"))
        or name == "BUILDKIT_PY_PEERS"
    }


def base_archive(tool: Tool, folder: Path, name: str = "busybox") -> Path:
    """Return an archive with the same base image that ours builds on, for the peers to load."""
    context = folder / "base"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {name}\n")
    archive = folder / "base.tar"
    tag = f"{name}:latest"
    tool.run("-t", tag, "-o", f"type=docker,dest={archive}", str(context))
    return archive


# ── peers ────────────────────────────────────────────────────────────────────────────────────


def prefix() -> list[str]:
    return shlex.split(os.environ.get("BUILDKIT_PY_PEERS", ""))


def has(program: str) -> bool:
    if not prefix():
        return shutil.which(program) is not None
    found = subprocess.run([*prefix(), program, "--version"], capture_output=True, check=False)
    return found.returncode == 0


@contextmanager
def buildkit(folder: Path, archive: Path) -> Iterator[Tool]:
    """Give `docker buildx build` with a daemon of its own that has the base image."""
    place = folder / "docker"
    place.mkdir()
    socket, pidfile = place / "d.sock", place / "d.pid"
    env = {**clean_environment(), "DOCKER_HOST": f"unix://{socket}", "DOCKER_BUILDKIT": "1"}
    arguments = [
        f"--data-root={place / 'data'}",
        f"--exec-root={place / 'exec'}",
        f"--pidfile={pidfile}",
        f"--host=unix://{socket}",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
    ]
    with open(place / "log", "wb") as log, ExitStack() as stack:
        daemon = subprocess.Popen(
            [*prefix(), "dockerd", *arguments], stdout=log, stderr=log, env=env
        )
        stack.callback(end, daemon, pidfile)
        shell = Shell(place, env)
        stack.callback(shell.close)
        wait_for_daemon(shell, place / "log")
        shell.run(["docker", "load", "-i", str(archive)])
        command = ["docker", "buildx", "build", "--network=none"]
        yield Tool("docker buildx", command, shell=shell, daemon=int(pidfile.read_text()))


def wait_for_daemon(shell: Shell, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            shell.run(["docker", "info"])
        except RuntimeError:
            if time.monotonic() > end:
                text = log.read_text()[-2000:]
                raise RuntimeError(f"the daemon does not start:\n{text}") from None
            time.sleep(0.2)
        else:
            return


def end(daemon: subprocess.Popen[bytes], pidfile: Path) -> None:
    try:
        os.kill(int(pidfile.read_text()), signal.SIGTERM)
    except (OSError, ValueError):
        daemon.terminate()
    daemon.wait(60)


@contextmanager
def buildah(folder: Path, archive: Path) -> Iterator[Tool]:
    """Give `buildah build --layers` with storage of its own: overlay, or vfs where it must be."""
    place = folder / "buildah"
    place.mkdir()
    shell = Shell(place, clean_environment())
    try:
        for driver in ("overlay", "vfs"):
            command = ["buildah", f"--root={place / driver}", f"--runroot={place / 'run'}"]
            command.append(f"--storage-driver={driver}")
            try:
                shell.run([*command, "pull", f"docker-archive:{archive}"])
            except RuntimeError:
                continue
            # Of its isolations only chroot needs no OCI runtime; it has the host's network. Where
            # CAP_SYS_RESOURCE is missing it must not raise limits.
            build = [*command, "build", "--layers", "--isolation=chroot", "--network=host"]
            for name in ("nofile", "nproc"):
                soft, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))
                build.append(f"--ulimit={name}={soft}:{hard}")
            yield Tool(f"buildah ({driver})", build, shell=shell)
            shell.run([*command, "rmi", "--all", "--force"])
            return
        raise RuntimeError("buildah can use neither overlay nor vfs here")
    finally:
        shell.close()


# ── running and reckoning ────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Series:
    """The runs of one program at one thing."""

    samples: list[Sample] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return statistics.median(each.wall for each in self.samples)

    @property
    def cpu(self) -> float:
        return statistics.median(each.cpu for each in self.samples)


def interleave(rounds: int, runs: Mapping[str, Callable[[], Sample]]) -> dict[str, Series]:
    """Run all in turn, A B C A B C: what disturbs the machine disturbs each of them."""
    series = {name: Series() for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            series[name].samples.append(run())
    return series
