"""Trees of any shape are removed and copied."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from buildkit_py.store.copying import copy_tree
from buildkit_py.store.trees import disk_usage, remove_tree
from tests.store.tars import world


def deep(path: Path, levels: int) -> None:
    """Make a tree deeper than PATH_MAX, by going down into it."""
    path.mkdir()
    fd = os.open(path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("directory", dir_fd=fd)
        inner = os.open("directory", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)


def test_a_very_deep_tree_is_removed(tmp_path: Path) -> None:
    deep(tmp_path / "d", 3000)

    remove_tree(str(tmp_path / "d"))

    assert os.listdir(tmp_path) == []


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("x")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/link").symlink_to(tmp_path / "kept")
    (tmp_path / "top").symlink_to(tmp_path / "kept")

    remove_tree(str(tmp_path / "d"))
    remove_tree(str(tmp_path / "top"))

    assert os.listdir(tmp_path) == ["kept"]
    assert (tmp_path / "kept/file").exists()


def test_directories_without_rights_are_removed(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/e/f").write_text("")
    os.chmod(tmp_path / "d/e", 0)
    os.chmod(tmp_path / "d", 0o500)

    remove_tree(str(tmp_path / "d"))

    assert os.listdir(tmp_path) == []


def test_nothing_there_is_fine(tmp_path: Path) -> None:
    remove_tree(str(tmp_path / "nothing"))
    remove_tree(str(tmp_path / "no/thing"))

    assert os.listdir(tmp_path) == []


def test_a_copy_is_the_same(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d/file").write_bytes(os.urandom(100_000))
    os.chmod(source / "d/file", 0o4755)
    (source / "link").symlink_to("d/file")
    os.setxattr(source / "d", "user.note", b"x")
    os.utime(source / "d", ns=(5, 7))
    os.utime(source, ns=(5, 9))
    if os.geteuid() == 0:
        os.mknod(source / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.chown(source / "d/file", 5, 6)
        os.chmod(source / "d/file", 0o4755)
    target = tmp_path / "target"
    target.mkdir()

    copy_tree(str(source), str(target))

    def relative(root: Path) -> dict[str, tuple[object, ...]]:
        return {k[len(str(root)) :]: v for k, v in world(root).items()}

    assert relative(target) == relative(source)
    assert os.getxattr(target / "d", "user.note") == b"x"


def test_holes_stay_holes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (tmp_path / "a/f").open("wb") as file:
        file.seek(10_000_000)
        file.write(b"x")
        file.truncate(20_000_000)

    copy_tree(str(tmp_path / "a"), str(tmp_path / "b"))

    assert (tmp_path / "b/f").read_bytes() == (tmp_path / "a/f").read_bytes()
    assert os.stat(tmp_path / "b/f").st_blocks * 512 < 1_000_000


@pytest.mark.parametrize("links", [1, 3])
def test_usage_counts_hard_links_once(tmp_path: Path, links: int) -> None:
    (tmp_path / "f").write_bytes(bytes(range(256)) * 4096)
    for number in range(links):
        os.link(tmp_path / "f", tmp_path / f"l{number}")

    assert 1 << 20 <= disk_usage(str(tmp_path)) < (1 << 20) + 65536


@pytest.mark.parametrize(("keep_links", "files"), [(True, 1), (False, 2)])
def test_hard_links_are_kept_where_that_is_asked_for(
    tmp_path: Path, keep_links: bool, files: int
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a/one").write_text("x")
    os.link(tmp_path / "a/one", tmp_path / "a/two")

    copy_tree(str(tmp_path / "a"), str(tmp_path / "b"), keep_links=keep_links)

    assert len({os.stat(tmp_path / "b" / n).st_ino for n in ("one", "two")}) == files
    assert (tmp_path / "b/two").read_text() == "x"
