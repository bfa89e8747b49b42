"""Mount points that had to be made go again, and nothing else goes with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_py.runtime import stubs

LONG_AGO_NS = 1_000_000_000 * 10**9


@pytest.fixture
def root(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    top = tmp_path / "root"
    (top / "etc").mkdir(parents=True)
    os.utime(top / "etc", ns=(LONG_AGO_NS, LONG_AGO_NS))
    os.utime(top, ns=(LONG_AGO_NS, LONG_AGO_NS))
    fd = os.open(top, os.O_PATH)
    yield fd, top
    os.close(fd)


def make(root_fd: int, *places: tuple[str, bool]) -> list[stubs.Stub]:
    made: list[stubs.Stub] = []
    for path, is_directory in places:
        fd, new = stubs.open_place(root_fd, path, directory=is_directory)
        os.close(fd)
        made += new
    return made


def listing(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


def test_what_exists_is_used_and_never_removed(root: tuple[int, Path]) -> None:
    made = make(root[0], ("/etc", True))

    assert made == []


def test_stubs_go_and_parents_get_their_time_back(root: tuple[int, Path]) -> None:
    fd, top = root
    made = make(fd, ("/etc/hosts", False), ("/a/b/c", True), ("a/b/secret", False))
    assert listing(top) == ["a", "a/b", "a/b/c", "a/b/secret", "etc", "etc/hosts"]

    stubs.remove(str(top), made)

    assert listing(top) == ["etc"]
    assert top.stat().st_mtime_ns == LONG_AGO_NS
    assert (top / "etc").stat().st_mtime_ns == LONG_AGO_NS


def test_what_the_program_filled_or_replaced_is_its_own(root: tuple[int, Path]) -> None:
    fd, top = root
    made = make(fd, ("/a/b", True), ("/etc/hosts", False), ("/etc/other", False), ("/gone", True))
    (top / "a/b/kept").touch()
    (top / "etc/hosts").write_text("text")
    (top / "etc/other").unlink()
    (top / "etc/other").symlink_to("hosts")
    (top / "gone").rmdir()

    stubs.remove(str(top), made)

    assert listing(top) == ["a", "a/b", "a/b/kept", "etc", "etc/hosts", "etc/other"]


def test_a_parent_that_became_a_link_is_not_followed(root: tuple[int, Path]) -> None:
    """CVE-2024-23652: BuildKit's cleaner deleted what the link led to, on the host."""
    fd, top = root
    outside = top.parent / "outside"
    (outside / "y/z").mkdir(parents=True)
    made = make(fd, ("/x/y/z", True))
    (top / "x").rename(top / "moved")
    (top / "x").symlink_to(outside)

    stubs.remove(str(top), made)

    assert listing(outside) == ["y", "y/z"]
    assert listing(top) == ["etc", "moved", "moved/y", "moved/y/z", "x"]


def test_a_parent_that_the_program_changed_keeps_the_programs_time(root: tuple[int, Path]) -> None:
    fd, top = root
    made = make(fd, ("/etc/hosts", False))
    (top / "etc/mine").touch()

    stubs.remove(str(top), made)

    assert (top / "etc").stat().st_mtime_ns > LONG_AGO_NS
    assert listing(top) == ["etc", "etc/mine"]


def test_links_that_lead_nowhere_are_followed_beneath_the_root(root: tuple[int, Path]) -> None:
    fd, top = root
    (top / "etc/resolv.conf").symlink_to("../run/systemd/resolv.conf")
    (top / "up").symlink_to("../../../../../outside")
    made = make(fd, ("/etc/resolv.conf", False), ("/up/x", True))
    assert (top / "run/systemd/resolv.conf").is_file()
    assert (top / "outside/x").is_dir()
    assert not (top.parent / "outside").exists()

    stubs.remove(str(top), made)

    assert listing(top) == ["etc", "etc/resolv.conf", "up"]


def test_a_loop_of_links_is_an_error_and_leaks_nothing(root: tuple[int, Path]) -> None:
    fd, top = root
    (top / "one").symlink_to("two")
    (top / "two").symlink_to("one")
    before = os.listdir("/proc/self/fd")

    with pytest.raises(OSError, match="symbolic links"):
        make(fd, ("/one/x", True))

    assert os.listdir("/proc/self/fd") == before


def test_the_lowest_layer_holds_mount_points_only(tmp_path: Path) -> None:
    path = tmp_path / "stubs"
    stubs.prepare_lower(
        str(path), [("/dev", True), ("/etc/hosts", False), ("/etc/hosts", False), ("/a/b", True)]
    )

    assert listing(path) == ["a", "a/b", "dev", "etc", "etc/hosts"]
    assert (path / "etc/hosts").stat().st_size == 0
    stubs.remove_lower(str(path))
    assert not path.exists()
    stubs.remove_lower(str(path))
