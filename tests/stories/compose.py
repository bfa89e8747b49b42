"""`pycompose` as a person runs it: a project in a folder of theirs, taken down after the test."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.stories.conftest import Done, Person
from tests.stories.residue import eventually

STAYS = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"
"""A program that ends at once when it is asked to."""

SHOP = """\
services:
  web:
    image: busybox
    command: [sh, -c, "STAYS"]
    depends_on:
      db: {condition: service_healthy}
      job: {condition: service_completed_successfully}
  db:
    image: busybox
    command: [sh, -c, "touch /ready; STAYS"]
    healthcheck: {test: test -e /ready, interval: 100ms}
  job:
    image: busybox
    depends_on: [db]
    command: [sh, -c, "echo migrated"]
"""


@dataclass(slots=True)
class Composer:
    """A project of somebody's, called like its folder."""

    person: Person
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.folder.name

    def write(self, text: str, files: Mapping[str, str] | None = None) -> None:
        """Write compose.yaml and other files, for everybody to read."""
        for file, content in {"compose.yaml": text, **(files or {})}.items():
            path = self.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o644)

    def arguments(self, *words: str) -> list[str]:
        account = self.person.account
        python = account.python if account else sys.executable
        return [python, "-m", "buildkit_py.cli.pycompose", *words]

    def __call__(self, *words: str, code: int | None = 0, timeout_seconds: float = 120) -> Done:
        """Run `pycompose` in the project's folder and expect an exit code (None: any)."""
        return self.person.run(
            self.arguments(*words), cwd=self.folder, code=code, timeout_seconds=timeout_seconds,
            env={"BUILDKIT_PY_ROOT": str(self.person.root), **self.environment},
        )  # fmt: skip

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start `pycompose` in a process group of its own, with pipes for what it writes."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(
            self.person.command(self.arguments(*words)),
            cwd=self.folder,
            env={
                **self.person.whole_environment(),
                "BUILDKIT_PY_ROOT": str(self.person.root),
                **self.environment,
            },
            process_group=0,
            **options,
        )

    def engine(self, *words: str, code: int | None = 0) -> Done:
        """Run `pyengine` on the same state root."""
        account = self.person.account
        python = account.python if account else sys.executable
        return self.person.run(
            [python, "-m", "buildkit_py.cli.pyengine", *words], code=code, cwd=self.folder,
            env={"BUILDKIT_PY_ROOT": str(self.person.root)},
        )  # fmt: skip

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return what `ps -a --format json` says of the project's containers, by name."""
        lines = self("ps", "-a", "--format", "json").stdout.splitlines()
        return {row["Name"]: row for row in map(json.loads, lines)}

    def states(self) -> dict[str, str]:
        """Return how each container stands, by name without the project's."""
        return {
            name.removeprefix(f"{self.name}-"): row["State"]
            for name, row in self.containers().items()
        }

    def id(self, name: str) -> str:
        return str(self.containers()[f"{self.name}-{name}"]["ID"])

    def inspect(self, name: str) -> Any:
        return json.loads(self.engine("inspect", f"{self.name}-{name}").stdout)[0]

    def plan(self, *words: str) -> list[dict[str, Any]]:
        """Return the actions that `pycompose plan` says."""
        actions: list[dict[str, Any]] = json.loads(self("plan", "--json", *words).stdout)["actions"]
        return actions


@contextmanager
def project(person: Person, text: str, files: Mapping[str, str] | None = None, *,
            name: str = "app") -> Iterator[Composer]:  # fmt: skip
    """Write a project into a folder `name` of somebody's; take it down with its volumes after."""
    folder = person.folder / name
    folder.mkdir()
    folder.chmod(0o755)
    made = Composer(person, folder)
    made.write(text, files)
    try:
        yield made
    finally:
        made("-p", made.name, "down", "-v", "--remove-orphans", "-t", "0", code=None)


def lasting(text: str, **more: str) -> str:
    """Return a compose file in which STAYS stands for a program that lasts."""
    for key, value in more.items():
        text = text.replace(f"%{key}%", value)
    return text.replace("STAYS", STAYS)


def started(composer: Composer, name: str) -> str:
    return str(composer.inspect(name)["State"]["StartedAt"])


def output(composer: Composer, service: str) -> list[str]:
    return composer("logs", "--no-log-prefix", service).stdout.splitlines()


def said(composer: Composer, service: str, text: str) -> bool:
    """Wait until a service has written a line; show what it did write if that never comes."""
    found = eventually(lambda: text in output(composer, service))
    assert found, (text, output(composer, service), composer.containers())
    return found


def supervisor_of(composer: Composer, name: str) -> int:
    """Return the process that looks after a container: its parent's parent."""
    pid = composer.inspect(name)["State"]["Pid"]

    def parent(of: int) -> int:
        return int(Path(f"/proc/{of}/stat").read_text().rpartition(")")[2].split()[1])

    found = pid
    while "supervisor" not in Path(f"/proc/{found}/cmdline").read_text():
        found = parent(found)
        assert found > 1
    return int(found)
