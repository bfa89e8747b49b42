"""Digests of what a step reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from buildkit_py.build.content import FileDigests, content_digest
from buildkit_py.build.tree import EVERYTHING
from buildkit_py.dockerfile.glob import match
from buildkit_py.store.memory import Database


def digest(root: Path, *sources: str, database: Database | None = None) -> str:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return content_digest(
            fd,
            sources,
            filter=EVERYTHING,
            owners=False,
            files=FileDigests(database),
            matches=match,
        )
    finally:
        os.close(fd)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "dir/deep").mkdir(parents=True)
    (root / "dir/file").write_text("text")
    (root / "dir/link").symlink_to("file")
    (root / "other").write_text("other")
    return root


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def to_file(path: Path) -> None:
    path.rmdir()
    path.touch()


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda t: (t / "dir/file").write_text("TEXT"),
    "mode": lambda t: (t / "dir/file").chmod(0o600),
    "mode of a directory": lambda t: (t / "dir/deep").chmod(0o700),
    "name": lambda t: (t / "dir/file").rename(t / "dir/name"),
    "new file": lambda t: (t / "dir/deep/new").touch(),
    "new directory": lambda t: (t / "dir/new").mkdir(),
    "deleted file": lambda t: (t / "dir/link").unlink(),
    "target of a link": lambda t: relink(t / "dir/link", "x"),
    "attribute": lambda t: os.setxattr(t / "dir/file", "user.x", b"1"),
    "type": lambda t: to_file(t / "dir/deep"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(tree: Path, change: str) -> None:
    before = digest(tree, "dir")

    CHANGES[change](tree)

    assert digest(tree, "dir") != before


@pytest.mark.parametrize(
    "change",
    [
        lambda t: os.utime(t / "dir/file", (1, 1)),
        lambda t: (t / "other").write_text("changed"),
        lambda t: t.rename(t.parent / "moved").rename(t),
    ],
)
def test_what_does_not_matter_is_not_seen(tree: Path, change: Callable[[Path], object]) -> None:
    before = digest(tree, "dir")

    change(tree)

    assert digest(tree, "dir") == before


def test_a_remembered_digest_is_never_used_for_changed_bytes(tree: Path, tmp_path: Path) -> None:
    with Database(str(tmp_path / "m.db")) as database:
        before = digest(tree, "dir", database=database)
        state = os.stat(tree / "dir/file")
        (tree / "dir/file").write_text("TEXT")  # as long as before, and its time is put back
        os.utime(tree / "dir/file", ns=(state.st_atime_ns, state.st_mtime_ns))

        assert digest(tree, "dir", database=database) != before


def test_bytes_are_read_once(tree: Path, tmp_path: Path) -> None:
    with Database(str(tmp_path / "m.db")) as database:
        os.utime(tree / "dir/file", (1, 1))
        files = FileDigests(database)
        fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
        arguments = {"filter": EVERYTHING, "owners": False, "files": files, "matches": match}
        try:
            import time

            while time.time_ns() - os.stat(tree / "dir/file").st_ctime_ns < 150_000_000:
                time.sleep(0.01)
            content_digest(fd, ["dir"], **arguments)  # type: ignore[arg-type]

            (count,) = database.connection.execute("SELECT count(*) FROM files").fetchone()
        finally:
            os.close(fd)
        assert count == 1
