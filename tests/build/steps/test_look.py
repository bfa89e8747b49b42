"""What was copied is what the step's key was made of."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from buildkit_py.build.local import LocalContext
from buildkit_py.build.steps.look import ContextKeys
from buildkit_py.build.steps.services import Services
from buildkit_py.build.tree import ChangedSource
from buildkit_py.graph.ops import Copy, Local, Scratch
from buildkit_py.graph.vertex import Input, Vertex


@pytest.fixture
def context(tmp_path: Path) -> Iterator[LocalContext]:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY d /\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_text("one")
    (tmp_path / "other").write_text("x")
    with LocalContext(str(tmp_path), None) as opened:
        yield opened


def keys_of(context: LocalContext) -> tuple[ContextKeys, Vertex]:
    services = cast(Services, SimpleNamespace(database=None, check=lambda: None))
    keys = ContextKeys(services, {"context": context}, lambda name: context.filter())
    local = Input(Vertex(Local("context"), (), "", None), select=("d",))
    vertex = Vertex(Copy(("d",), "/"), (Input(Vertex(Scratch(), (), "", None)), local), "", None)
    keys.digest(vertex, local)
    return keys, vertex


def settle(path: Path) -> None:
    while time.time_ns() - path.stat().st_ctime_ns < 200_000_000:
        time.sleep(0.01)


def rewrite(path: Path) -> None:
    """Other bytes, but the size and the time of before."""
    before = path.stat()
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def there_and_back(path: Path) -> None:
    rewrite(path)
    path.write_text("one")


def relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda d: rewrite(d / "file"),
    "content and back": lambda d: there_and_back(d / "file"),
    "a link instead": lambda d: relink(d / "file"),
    "a new file": lambda d: (d / "new").touch(),
    "a file less": lambda d: (d / "file").unlink(),
    "another mode": lambda d: (d / "file").chmod(0o600),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_between_key_and_copy_is_refused(context: LocalContext, change: str) -> None:
    folder = Path(context.path, "d")
    settle(folder / "file")
    keys, vertex = keys_of(context)

    CHANGES[change](folder)

    with pytest.raises(ChangedSource, match="changed while it was being copied"):
        keys.check(vertex)


def test_young_files_are_read_again(context: LocalContext) -> None:
    """A write within the same tick of the clock may leave the stat as it was."""
    file = Path(context.path, "d/file")
    keys, vertex = keys_of(context)
    rewrite(file)

    with pytest.raises(ChangedSource):
        keys.check(vertex)


def test_what_is_not_copied_may_change(context: LocalContext) -> None:
    keys, vertex = keys_of(context)
    Path(context.path, "other").write_text("y")

    keys.check(vertex)
