"""`pyengine` as a program, with busybox in its store: as root, and as an unprivileged user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.linting import lint as lint
from tests.rootless import TREE, RootlessUser

MODULE = ("-m", "buildkit_py.cli.pyengine")


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Engine:
    """`pyengine` of one user, with a state root of its own.

    command: makes the whole command line of the arguments
    folder: a directory of the user's own
    """

    command: Callable[[Sequence[str]], list[str]]
    environment: Mapping[str, str]
    root: Path
    folder: Path
    is_root: bool
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __call__(
        self,
        *arguments: str | Path,
        code: int | None = 0,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout_seconds: float = 120,
    ) -> Done:
        """Run it and expect an exit code (None: any)."""
        done = subprocess.run(
            self.command([str(each) for each in arguments]),
            env={**self.environment, **(env or {})},
            cwd=self.folder,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout_seconds,
        )
        found = Done(
            done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode("utf-8")
        )
        if code is not None:
            assert found.code == code, f"ended with {found.code}\n{found.stdout}{found.stderr}"
        return found

    def start(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, session: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Start it, with pipes for its output; what still runs is killed after the test.

        session: a command in front, such as `setsid --ctty`
        """
        process = subprocess.Popen(
            [*session, *self.command(arguments)],
            env=self.environment,
            cwd=self.folder,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
            for each in (process.stdout, process.stderr):
                if each is not None:
                    each.close()

    @property
    def left(self) -> list[str]:
        """What is in the store's folder of unfinished things."""
        return sorted(path.name for path in (self.root / "tmp").glob("*"))


@pytest.fixture(scope="session")
def busybox_tar() -> Path:
    """A root file system made of Debian's busybox-static, which everybody may read."""
    made = subprocess.run(
        [sys.executable, str(TREE / "fixtures/make_bases"), "--no-import", "busybox"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TREE)},
    )
    return Path(made.stdout.strip())


@pytest.fixture(scope="session")
def root_store(busybox_tar: Path) -> Iterator[Path]:
    """A folder of root's with a state root in it that has busybox; on a disk, for overlays."""
    folder = Path(tempfile.mkdtemp(prefix="buildkit-py-test-", dir="/var/tmp"))
    try:
        with root_engine(folder) as engine:
            engine("import", "-c", 'CMD ["sh"]', busybox_tar, "busybox")
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def root_engine(folder: Path) -> Iterator[Engine]:
    """Give root's engine, with its state root in a folder."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BUILDKIT", "DOCKER"))
    }
    environment |= {"PYTHONPATH": str(TREE), "BUILDKIT_PY_ROOT": str(folder / "root")}
    engine = Engine(
        lambda arguments: [sys.executable, *MODULE, *arguments],
        environment,
        folder / "root",
        folder,
        is_root=True,
    )
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture
def root(root_store: Path) -> Iterator[Engine]:
    """Root's engine; its store is shared by all tests."""
    with root_engine(root_store) as engine:
        yield engine


@pytest.fixture
def rootless(rootless_user: RootlessUser, busybox_tar: Path) -> Iterator[Engine]:
    """The unprivileged user's engine, with a store of this test's own."""
    state = rootless_user.home / "state"
    engine = Engine(
        lambda arguments: rootless_user.command([rootless_user.python, *MODULE, *arguments]),
        {**rootless_user.environment, "BUILDKIT_PY_ROOT": str(state)},
        state,
        rootless_user.home,
        is_root=False,
    )
    engine("import", "-c", 'CMD ["sh"]', busybox_tar, "busybox")
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture(
    params=[
        pytest.param("root", marks=pytest.mark.root),
        pytest.param("rootless", marks=pytest.mark.rootless),
    ]
)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Both, one after the other."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Engine)
    return found


def eventually(holds: Callable[[], bool], *, seconds: float = 20) -> bool:
    """Wait for something that another process does a moment later."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.02)
    return False


def processes_with(mark: str) -> list[int]:
    """Return the pids of all processes with `mark` as a word of their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if mark.encode() in words:
                found.append(int(name))
    return found
