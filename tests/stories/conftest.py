"""A person at a terminal: a state root with base images, and `pybuild` run as a program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

TREE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended. lines: stderr without times and digests, for golden text."""

    code: int
    stdout: str
    stderr: str

    @property
    def image(self) -> str:
        """The id that `pybuild` told."""
        found = re.findall(r"^(sha256:[0-9a-f]{64})", self.stdout + "\n" + self.stderr, re.M)
        assert found, self.stderr
        return str(found[-1])

    @property
    def ran(self) -> list[str]:
        """The names of the steps that ran, without their numbers."""
        return self._steps("DONE")

    @property
    def cached(self) -> list[str]:
        return self._steps("CACHED")

    def _steps(self, end: str) -> list[str]:
        names: dict[str, str] = {}
        found = []
        for number, text in re.findall(r"^#(\d+) (.*)$", self.stderr, re.M):
            names.setdefault(number, text)
            if text.split(" ")[0] == end:
                found.append(re.sub(r"^\[[^]]*\] ", "", names[number]))
        return found

    @property
    def filtered(self) -> str:
        text = re.sub(r"sha256:[0-9a-f]{64}", "sha256:[DIGEST]", self.stderr)
        text = re.sub(r"^(#\d+) \d+\.\d{3} ", r"\1 [TIME] ", text, flags=re.M)
        return re.sub(r"DONE \d+\.\ds$", "DONE [TIME]", text, flags=re.M)


@dataclass(slots=True)
class Person:
    """Somebody with a state root of their own."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def pybuild(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        code: int | None = 0,
        timeout_seconds: float = 300,
    ) -> Done:
        """Run `pybuild --progress plain` and expect an exit code (None: any)."""
        return self.run(
            [sys.executable, "-m", "buildkit_py", "--root", str(self.root), "--progress", "plain"]
            + [str(each) for each in arguments],
            cwd=cwd,
            env=env,
            code=code,
            timeout_seconds=timeout_seconds,
        )

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        code: int | None = 0,
        timeout_seconds: float = 300,
    ) -> Done:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BUILDKIT", "SOURCE_DATE", "DOCKER"))
        }
        environment |= {"PYTHONPATH": str(TREE), **self.environment, **(env or {})}
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            stdin=subprocess.DEVNULL,
            timeout=timeout_seconds,
        )
        if code is not None:
            assert done.returncode == code, f"ended with {done.returncode}\n{done.stderr}"
        return Done(done.returncode, done.stdout, done.stderr)

    def blob(self, digest: str) -> bytes:
        return (self.root / "content/blobs" / digest.replace(":", "/")).read_bytes()

    def config(self, image: str) -> Any:
        """The image config of an id."""
        return json.loads(self.blob(image))

    def manifest(self, name: str) -> Any:
        """The manifest of a full name such as `docker.io/library/x:latest`."""
        index = json.loads((self.root / "content/index.json").read_text())
        for each in index["manifests"]:
            if each.get("annotations", {}).get("io.containerd.image.name") == name:
                return json.loads(self.blob(each["digest"]))
        raise AssertionError(f"no image {name}")


@pytest.fixture(scope="session")
def root_with_busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state root of root's, with busybox:latest."""
    root = tmp_path_factory.mktemp("stories") / "root"
    subprocess.run(
        [sys.executable, str(TREE / "fixtures/make_bases"), "--root", str(root), "busybox"],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(TREE)},
    )
    return root


@pytest.fixture
def person(root_with_busybox: Path) -> Person:
    """Root, with a store that has busybox and what earlier tests built."""
    return Person(root_with_busybox)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A build context with a few files and a Dockerfile that copies some of them."""
    path = tmp_path / "context"
    (path / "src/deep").mkdir(parents=True)
    (path / "src/a.txt").write_text("a")
    (path / "src/deep/b.txt").write_text("b")
    (path / "src/link").symlink_to("a.txt")
    (path / "extra.conf").write_text("x=1")
    (path / "ignored").mkdir()
    (path / "ignored/file").write_text("never mind")
    (path / "unused").write_text("not copied")
    (path / ".dockerignore").write_text("ignored\n*.log\n")
    (path / "Dockerfile").write_text(
        "FROM busybox\n"
        "ARG WHO=nobody\n"
        "RUN echo hello $WHO > /hello\n"
        "COPY src /src\n"
        "COPY *.conf /etc/\n"
        'CMD ["cat", "/hello"]\n'
    )
    return path
