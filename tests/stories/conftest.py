"""A person at a terminal: a state root with base images, and `pybuild` run as a program.

`person` is root, `user` somebody without rights, `anyone` each of them in turn. All tests of a
session share one state root a person: a step that must run needs content of its own.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.rootless import RootlessUser, unprivileged

TREE = Path(__file__).resolve().parents[2]
MADE_HERE = "buildkit.dockerfile.v0"
"""Comment of a history entry that a Dockerfile made: BuildKit's, and so ours."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended. filtered: stderr without times and digests, for golden text."""

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
    def output(self) -> list[str]:
        """The lines that the programs of all steps wrote."""
        return re.findall(r"^#\d+ \d+\.\d{3} (.*)$", self.stderr, re.M)

    def said(self, key: str) -> str:
        """What a step wrote behind `key=`."""
        found = [line[len(key) + 1 :] for line in self.output if line.startswith(f"{key}=")]
        assert len(found) == 1, self.stderr
        return found[0]

    @property
    def error(self) -> str:
        """Errors and warnings as they were drawn, without progress and notices of the machine."""
        lines = re.sub(r"^(#\d+|notice:) .*\n", "", self.stderr, flags=re.M)
        return re.sub(r"\n{3,}", "\n\n", lines).strip("\n") + "\n"

    @property
    def filtered(self) -> str:
        text = re.sub(r"sha256:[0-9a-f]{64}", "sha256:[DIGEST]", self.stderr)
        text = re.sub(r"^(#\d+) \d+\.\d{3} ", r"\1 [TIME] ", text, flags=re.M)
        return re.sub(r"DONE \d+\.\ds$", "DONE [TIME]", text, flags=re.M)


@dataclass(frozen=True)
class Layer:
    """One layer's tar, read once."""

    data: bytes

    @cached_property
    def entries(self) -> dict[str, tarfile.TarInfo]:
        with tarfile.open(fileobj=io.BytesIO(self.data)) as tar:
            return {each.name: each for each in tar}

    def text(self, name: str) -> str:
        with tarfile.open(fileobj=io.BytesIO(self.data)) as tar:
            file = tar.extractfile(name)
            assert file is not None
            return file.read().decode()

    def owners(self) -> dict[str, tuple[int, int]]:
        return {name: (each.uid, each.gid) for name, each in self.entries.items()}

    def modes(self) -> dict[str, int]:
        return {name: each.mode for name, each in self.entries.items()}


@dataclass(frozen=True)
class Image:
    """An image in a store: what a build made, and how that went."""

    done: Done
    config: Any
    manifest: Any
    new: list[Layer]

    @property
    def history(self) -> list[str]:
        """What made each entry that is not the base's."""
        ours = (each for each in self.config["history"] if each.get("comment") == MADE_HERE)
        return [each["created_by"] for each in ours]


@dataclass(slots=True)
class Person:
    """Somebody with a state root of their own.

    account: None for root
    folder: a directory of theirs, made for one test, for contexts and what builds write
    """

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    account: RootlessUser | None = None
    folder: Path = Path("/nonexistent")

    @property
    def is_root(self) -> bool:
        return self.account is None

    def arguments(self, *arguments: str | Path) -> list[str]:
        """Return the command line of `pybuild --progress plain`."""
        python = self.account.python if self.account else sys.executable
        words = [python, "-m", "buildkit_py", "--root", str(self.root), "--progress", "plain"]
        return words + [str(each) for each in arguments]

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
            self.arguments(*arguments),
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
        done = subprocess.run(
            self.command(command),
            cwd=cwd or (self.account.home if self.account else None),
            env={**self.whole_environment(), **(env or {})},
            capture_output=True,
            text=True,
            errors="surrogateescape",
            stdin=subprocess.DEVNULL,
            timeout=timeout_seconds,
        )
        if code is not None:
            assert done.returncode == code, f"ended with {done.returncode}\n{done.stderr}"
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program in a process group of its own, its stderr readable."""
        return subprocess.Popen(
            self.command(command),
            cwd=self.account.home if self.account else None,
            env=self.whole_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            process_group=0,
        )

    def command(self, command: Sequence[str]) -> Sequence[str]:
        return self.account.command(command) if self.account else command

    def whole_environment(self) -> dict[str, str]:
        if self.account:
            return {**self.account.environment, **self.environment}
        ours = ("BUILDKIT", "SOURCE_DATE", "DOCKER")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        return {**inherited, "PYTHONPATH": str(TREE), **self.environment}

    def context(
        self, dockerfile: str, files: Mapping[str, str | bytes] | None = None, *, name: str = "c"
    ) -> Path:
        """Write a build context with plain modes, whatever the umask is."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
        for file, content in {"Dockerfile": dockerfile, **(files or {})}.items():
            whole = path / file
            for parent in reversed(whole.relative_to(path).parents[:-1]):
                (path / parent).mkdir(exist_ok=True)
                (path / parent).chmod(0o755)
            whole.write_bytes(content.encode() if isinstance(content, str) else content)
            whole.chmod(0o644)
        return path

    def build(
        self,
        dockerfile: str,
        files: Mapping[str, str | bytes] | None = None,
        *options: str,
        cached: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Image:
        """Build from a Dockerfile and files; every step runs unless it may be `cached`."""
        context = self.context(dockerfile, files)
        again = () if cached else ("--no-cache",)
        return self.image(self.pybuild(*again, *options, context, env=env))

    def image(self, done: Done) -> Image:
        config = json.loads(self.blob(done.image))
        manifest = self._manifest_of(done.image)
        # Every layer has its entry in the history, and those of a base say who made them.
        made = [each for each in config["history"] if not each.get("empty_layer")]
        new = [
            self.layer(descriptor)
            for descriptor, entry in zip(manifest["layers"], made, strict=True)
            if entry.get("comment") == MADE_HERE
        ]
        return Image(done, config, manifest, new)

    def layer(self, descriptor: Mapping[str, Any]) -> Layer:
        return Layer(gzip.decompress(self.blob(descriptor["digest"])))

    def blob(self, digest: str) -> bytes:
        return (self.root / "content/blobs" / digest.replace(":", "/")).read_bytes()

    def config(self, image: str) -> Any:
        """The image config of an id."""
        return json.loads(self.blob(image))

    def names(self) -> dict[str, str]:
        """The manifest's digest of each full name, such as `docker.io/library/x:latest`."""
        index = json.loads((self.root / "content/index.json").read_text())
        named = (
            (each.get("annotations", {}).get("io.containerd.image.name"), each["digest"])
            for each in index["manifests"]
        )
        return {name: digest for name, digest in named if name}

    def manifest(self, name: str) -> Any:
        """The manifest of a full name such as `docker.io/library/x:latest`."""
        return json.loads(self.blob(self.names()[name]))

    def _manifest_of(self, image: str) -> Any:
        index = json.loads((self.root / "content/index.json").read_text())
        for each in index["manifests"]:
            manifest = json.loads(self.blob(each["digest"]))
            if manifest["config"]["digest"] == image:
                return manifest
        raise AssertionError(f"no manifest of {image}")

    def give(self, *bases: str) -> None:
        """Put base images into this person's store."""
        python = self.account.python if self.account else sys.executable
        make = [python, str(TREE / "fixtures/make_bases"), "--root", str(self.root), *bases]
        self.run(make)


def remove(folder: Path) -> None:
    """Remove a tree of a hundred thousand files; rm(1) is three times as fast as shutil."""
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.fixture(scope="session")
def root_with_busybox() -> Iterator[Path]:
    """A state root of root's, with busybox:latest."""
    folder = Path(tempfile.mkdtemp(prefix="buildkit-py-stories-", dir="/var/tmp"))
    Person(folder / "root").give("busybox")
    yield folder / "root"
    remove(folder)


@pytest.fixture(scope="session")
def account_with_busybox() -> Iterator[RootlessUser]:
    """The unprivileged user, with busybox:latest in a state root in their folder."""
    with unprivileged() as account:
        account.folder.chmod(0o755)
        Person(account.folder / "root", account=account).give("busybox")
        yield account
        if os.geteuid() == 0:
            remove(account.folder / "root")


@pytest.fixture
def person(root_with_busybox: Path) -> Iterator[Person]:
    """Root, with a store that has busybox and what earlier tests built."""
    folder = Path(tempfile.mkdtemp(dir=root_with_busybox.parent))
    folder.chmod(0o755)
    yield Person(root_with_busybox, folder=folder)
    remove(folder)


@pytest.fixture
def user(account_with_busybox: RootlessUser) -> Iterator[Person]:
    """Somebody without rights; a test that asks for them bears the marker `rootless`."""
    account = account_with_busybox
    folder = Path(tempfile.mkdtemp(dir=account.folder))
    folder.chmod(0o755)
    os.chown(folder, account.uid, account.gid)
    yield Person(account.folder / "root", account=account, folder=folder)
    if os.geteuid() == 0:
        remove(folder)
    else:  # what subordinate ids own, only the namespace they are mapped in can remove
        subprocess.run(
            ["unshare", "--map-auto", "--map-root-user", "rm", "-rf", folder], check=True
        )


@pytest.fixture(
    params=[
        pytest.param("person", marks=pytest.mark.root),
        pytest.param("user", marks=pytest.mark.rootless),
    ]
)
def anyone(request: pytest.FixtureRequest) -> Person:
    """Root, then somebody without rights: the same story for both."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Person)
    return found


@pytest.fixture(scope="session")
def _with_debian() -> set[Path]:
    return set()


@pytest.fixture
def anyone_with_debian(anyone: Person, _with_debian: set[Path]) -> Person:
    """The same, with debian:bookworm in the store."""
    if anyone.root not in _with_debian:
        anyone.give("debian")
        _with_debian.add(anyone.root)
    return anyone


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
