"""An `up -d` that has nothing to do is known without looking again; anything else is not."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buildkit_py.compose import recall
from tests.house.sources import TREE

RUNS = b'{"is":"State","status":"running","pid":3}'
ARGUMENTS = ["up", "-d"]


class Root:
    """A state root with a container that runs and a job that was done."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.file = folder / "compose.yaml"
        self.file.write_text("services: {}\n")
        for name, state in (("a", RUNS), ("job", b'{"status":"exited"}')):
            place = self.root / "containers" / name
            place.mkdir(parents=True)
            (place / "spec.json").write_text("{}")
            (place / "state.json").write_bytes(state)
            (place / "lock").touch()
        (self.root / "networks").mkdir()
        self.lock = os.open(self.root / "containers/a/lock", os.O_RDWR)
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def keep(self) -> None:
        missing = str(self.file.with_name("compose.override.yaml"))
        recall.keep(
            str(self.root), ARGUMENTS,
            looked={path: recall.signature(path) for path in (str(self.file), missing)},
            containers=[("a", True), ("job", False)], records=recall.records_of(str(self.root)),
            names=["app-a-1"],
        )  # fmt: skip

    def is_done(self, *arguments: str) -> bool:
        found = recall.running(str(self.root), list(arguments) or ARGUMENTS)
        assert found in (None, ["app-a-1"])
        return found is not None

    @property
    def record(self) -> Path:
        (found,) = (self.root / "recall").iterdir()
        return found


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Root]:
    # It says which phase of which test runs.
    monkeypatch.setattr(recall, "_PASSING", (*recall._PASSING, "PYTEST_CURRENT_TEST"))
    made = Root(tmp_path)
    made.keep()
    yield made
    os.close(made.lock)


def test_what_stands_is_done(kept: Root) -> None:
    assert kept.is_done()
    assert not kept.is_done("up", "-d", "--build")


def change_file(kept: Root) -> None:
    kept.file.write_text("services: {a: }\n")


def add_override(kept: Root) -> None:
    kept.file.with_name("compose.override.yaml").touch()


def end_container(kept: Root) -> None:
    (kept.root / "containers/a/state.json").write_bytes(b'{"status":"exited"}')


def kill_supervisor(kept: Root) -> None:
    fcntl.flock(kept.lock, fcntl.LOCK_UN)


def run_job_again(kept: Root) -> None:
    place = kept.root / "containers/job/state.json"
    place.with_name("new").write_bytes(place.read_bytes())
    place.with_name("new").rename(place)


def rename_container(kept: Root) -> None:
    place = kept.root / "containers/job/spec.json"
    place.with_name("new").write_text("{}")
    place.with_name("new").rename(place)


def add_container(kept: Root) -> None:
    (kept.root / "containers/b").mkdir()


def remove_network(kept: Root) -> None:
    (kept.root / "networks").rmdir()


def name_image(kept: Root) -> None:
    (kept.root / "content").mkdir()
    (kept.root / "content/index.json").write_text("{}")


def damage_record(kept: Root) -> None:
    kept.record.write_bytes(kept.record.read_bytes()[:-5])


def replace_record(kept: Root) -> None:
    record = kept.record
    record.unlink()
    os.mkfifo(record)


@pytest.mark.parametrize(
    "change",
    [
        change_file, add_override, end_container, kill_supervisor, run_job_again, rename_container,
        add_container, remove_network, name_image, damage_record, replace_record,
    ],
)  # fmt: skip
def test_any_change_is_seen(kept: Root, change: Callable[[Root], None]) -> None:
    change(kept)

    assert not kept.is_done()


def test_the_environment_counts_but_for_what_shells_change(
    kept: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHLVL", "9")
    monkeypatch.setenv("OLDPWD", "/elsewhere")
    assert kept.is_done()
    monkeypatch.setenv("TAG", "2")
    assert not kept.is_done()


def test_a_file_as_young_as_the_look_is_no_proof(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch()
    found = recall.signature(str(path))
    assert found is not None

    assert not recall.is_settled(found, found[-1])
    assert recall.is_settled(found, found[-1] + 10**9)
    assert recall.is_settled(None, 0)


HEAVY = """
    ctypes dataclasses email hashlib http json jsonschema lark logging re socket ssl subprocess
    threading typer typing yaml buildkit_py.compose.load buildkit_py.engine
""".split()


def test_the_answer_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "from buildkit_py.cli import pycompose\n"
        "from buildkit_py.compose import recall\n"
        "recall.running = lambda root, arguments: ['app-a-1']\n"
        "code = pycompose.main(['up', '-d'])\n"
        "print(code, *sorted(sys.modules))\n"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(TREE)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip

    code, *modules = done.stdout.split()
    assert code == "0"
    assert not set(HEAVY) & set(modules)
