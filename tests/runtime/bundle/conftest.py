"""A bundle with busybox in it, and `pyruntime` as engines call it: a program with words."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.rootless import TREE
from tests.stories.residue import Watch, eventually, watching

BUSYBOX = Path("/usr/bin/busybox")
APPLETS = """
    sh cat ls id echo sleep true false touch mkdir stat readlink hostname grep sort head mount
    umount mknod find stty kill test env pwd wc tr cut uname dd chmod rm nice sed ps seq
""".split()
FOLDERS = "bin dev etc proc sys tmp run".split()
NAMESPACES = "mount pid ipc uts network cgroup".split()
ALL = ("bounding", "effective", "permitted")
DOCKER_MOUNTS: list[dict[str, Any]] = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
        "destination": "/sys",
        "type": "sysfs",
        "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"],
    },
]


def make_root(place: Path) -> None:
    """Make the smallest tree that a shell runs in."""
    for name in FOLDERS:
        (place / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, place / "bin" / "busybox")
    for name in APPLETS:
        (place / "bin" / name).symlink_to("busybox")


def plain_config() -> dict[str, Any]:
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {
            "args": ["sh"],
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": {
                key: ["CAP_KILL", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE"]
                for key in ALL
            },
        },
        "mounts": copy.deepcopy(DOCKER_MOUNTS),
        "linux": {"namespaces": [{"type": each} for each in NAMESPACES]},
    }


class Bundle:
    """A bundle, the folder of states, and the id that commands are for.

    config: what becomes config.json whenever a container is made
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rootfs = folder / "rootfs"
        self.states = folder / "states"
        self.id = f"bk{os.getpid()}-{folder.name[-8:]}"
        self.config = plain_config()

    @property
    def process(self) -> dict[str, Any]:
        process: dict[str, Any] = self.config["process"]
        return process

    @property
    def linux(self) -> dict[str, Any]:
        linux: dict[str, Any] = self.config["linux"]
        return linux

    @property
    def mounts(self) -> list[dict[str, Any]]:
        mounts: list[dict[str, Any]] = self.config["mounts"]
        return mounts

    def mount(self, destination: str, kind: str, source: str = "", *options: str) -> None:
        self.mounts.append(
            {"destination": destination, "type": kind, "source": source, "options": list(options)}
        )

    def without(self, *types: str) -> None:
        """Let the container share namespaces with the host."""
        self.linux["namespaces"] = [
            each for each in self.linux["namespaces"] if each["type"] not in types
        ]

    def join(self, kind: str, path: str) -> None:
        self.without(kind)
        self.linux["namespaces"].append({"type": kind, "path": path})

    def script(self, text: str) -> None:
        self.process["args"] = ["sh", "-c", text]

    def save(self) -> None:
        (self.folder / "config.json").write_text(json.dumps(self.config))

    def argv(self, *words: str) -> list[str]:
        program = [sys.executable, "-m", "buildkit_py.cli.pyruntime"]
        return [*program, "--root", str(self.states), *words]

    def call(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command and return what it did."""
        wanted: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "capture_output": True,
            "text": True,
            "errors": "replace",
            "timeout": 30,
            "cwd": TREE,
            **options,
        }
        done: subprocess.CompletedProcess[str] = subprocess.run(self.argv(*words), **wanted)
        assert "Traceback" not in (done.stderr or ""), done.stderr
        return done

    def ok(self, *words: str, **options: Any) -> str:
        """Run a command that must succeed, and return what it printed."""
        done = self.call(*words, **options)
        assert done.returncode == 0, f"{words} ended with {done.returncode}: {done.stderr}"
        out: str = done.stdout
        return out

    def fails(self, *words: str, **options: Any) -> str:
        """Run a command that must fail as a runtime does, and return the complaint."""
        done = self.call(*words, **options)
        failed = 255 if words[0] == "exec" else 1
        assert done.returncode == failed, f"{words} ended with {done.returncode}: {done.stderr}"
        err: str = done.stderr
        return err

    def made(self, command: str, *words: str) -> Sequence[str]:
        self.save()
        return [command, "--bundle", str(self.folder), *words, self.id]

    def run(self, script: str = "", *words: str, **options: Any) -> str:
        """Run a script in a container, which must succeed; return what it printed."""
        if script:
            self.script(script)
        return self.ok(*self.made("run", *words), **options)

    def run_fails(self, *words: str, **options: Any) -> str:
        return self.fails(*self.made("run", *words), **options)

    def warned(self, script: str = "") -> tuple[str, str]:
        """Run a script; return what it printed and what was said about it."""
        if script:
            self.script(script)
        done = self.call(*self.made("run"))
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    def create(self, script: str = "", *words: str, **options: Any) -> None:
        if script:
            self.script(script)
        # What the container inherits must not be a pipe that somebody reads to its end.
        with open(self.folder / "said", "w") as said:
            quiet: dict[str, Any] = {"capture_output": False, "stdout": said, "stderr": said}
            done = self.call(*self.made("create", *words), **{**quiet, **options})
        assert done.returncode == 0, self.said()

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def state(self) -> Mapping[str, Any]:
        state: Mapping[str, Any] = json.loads(self.ok("state", self.id))
        return state

    def status(self) -> str:
        return str(self.state()["status"])

    def cgroups(self) -> list[str]:
        """Return the control groups that are there for the container."""
        found = []
        for place, folders, _ in os.walk("/sys/fs/cgroup"):
            found += [f"{place}/{each}" for each in folders if self.id in each]
        return found

    def is_gone(self) -> bool:
        leftovers = os.listdir(self.states) if self.states.exists() else []
        return not leftovers and not self.cgroups() and not self.on_mounts()

    def on_mounts(self) -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if str(self.folder) in line]

    def leftovers(self) -> str:
        states = os.listdir(self.states) if self.states.exists() else []
        return f"{states} {self.cgroups()} {self.on_mounts()}"

    def check_gone(self, watch: Watch) -> None:
        assert eventually(lambda: not watch.left()), watch.left()
        assert eventually(self.is_gone), self.leftovers()

    def remove_all(self) -> None:
        """Delete all containers that a test has left, as one does after a crash."""
        for name in sorted(os.listdir(self.states)) if self.states.exists() else ():
            self.call("delete", "--force", name)


@pytest.fixture(scope="session")
def busybox_root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="buildkit-py-test-", dir="/var/tmp") as path:
        make_root(Path(path) / "rootfs")
        yield Path(path) / "rootfs"


@pytest.fixture
def bundle(busybox_root: Path) -> Iterator[Bundle]:
    """A bundle that works; nothing of its container may be left when the test is over."""
    with tempfile.TemporaryDirectory(prefix="buildkit-py-test-", dir="/var/tmp") as path:
        os.chmod(path, 0o755)  # mapped ids must get through
        shutil.copytree(busybox_root, Path(path) / "rootfs", symlinks=True)
        made = Bundle(Path(path))
        with watching() as watch:
            try:
                yield made
            finally:
                made.remove_all()
            made.check_gone(watch)
