"""COPY's rules on destinations, directories, owners, links and special files."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from buildkit_py.build.steps.copy import Copier, NotADirectory, Owner, ReservedName, Tree
from buildkit_py.build.tree import ChangedSource, MissingSource, find, walk


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern)


def copy(
    source: Path, target: Path, sources: str, dest: str, *, chmod: str = "", parents: bool = False
) -> Copier:
    with opened(source) as source_fd, opened(target) as target_fd:
        copier = Copier(target_fd, Owner(os.getuid(), os.getgid()), chmod)
        copier.copy(Tree(source_fd, matches, parents=parents), sources.split(), dest)
        return copier


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    (path / "dir/deep").mkdir(parents=True)
    (path / "a").write_text("A")
    (path / "b").write_text("B")
    (path / "dir/c").write_text("C")
    (path / "dir/deep/d").write_text("D")
    (path / "dir/link").symlink_to("c")
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


def listing(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*"))


def test_a_file_gets_the_name_of_the_destination(source: Path, target: Path) -> None:
    copy(source, target, "a", "/new/name")

    assert (target / "new/name").read_text() == "A"


def test_a_file_goes_into_a_directory(source: Path, target: Path) -> None:
    (target / "there").mkdir()

    copy(source, target, "a b", "/there")
    copy(source, target, "a", "/slash/")

    assert listing(target) == ["slash", "slash/a", "there", "there/a", "there/b"]


def test_a_directory_gives_its_contents(source: Path, target: Path) -> None:
    copy(source, target, "dir", "/out")

    assert listing(target / "out") == ["c", "deep", "deep/d", "link"]
    assert os.readlink(target / "out/link") == "c"


def test_directories_are_merged_and_files_replaced(source: Path, target: Path) -> None:
    (target / "out/deep").mkdir(parents=True)
    (target / "out/deep/kept").write_text("kept")
    (target / "out/c").write_text("old")

    copy(source, target, "dir", "/out")

    assert listing(target / "out") == ["c", "deep", "deep/d", "deep/kept", "link"]
    assert (target / "out/c").read_text() == "C"


def test_a_directory_does_not_replace_a_file(source: Path, target: Path) -> None:
    (target / "out").write_text("file")

    with pytest.raises(NotADirectory, match="`/out`"):
        copy(source, target, "dir", "/out")


def test_a_file_or_link_does_not_replace_a_directory(source: Path, target: Path) -> None:
    for name in ("c", "link"):
        (target / name).mkdir(parents=True)
        with pytest.raises(NotADirectory, match=f"over the directory `/{name}`"):
            copy(source, target, "dir", "/")
        (target / name).rmdir()


def test_an_archive_replaces_whatever_is_in_the_way(source: Path, target: Path) -> None:
    (target / "c/full").mkdir(parents=True)
    (target / "deep").write_text("a file")
    (target / "link").mkdir()
    with opened(source) as source_fd, opened(target) as target_fd:
        copier = Copier(target_fd, Owner(os.getuid(), os.getgid()), replace=True)
        copier.copy(Tree(source_fd, matches), ["dir"], "/")

    assert (target / "c").read_text() == "C"
    assert (target / "deep/d").read_text() == "D"
    assert (target / "link").is_symlink()


def test_wildcards_match_and_may_match_nothing(source: Path, target: Path) -> None:
    copier = copy(source, target, "[ab] x*", "/out/")

    assert listing(target / "out") == ["a", "b"]
    assert copier.notices == ["`x*` matches nothing: nothing is copied"]


def test_parents_keep_the_path_behind_the_pivot(source: Path, target: Path) -> None:
    copy(source, target, "dir/deep/d", "/one/", parents=True)
    copy(source, target, "dir/./deep/d", "/two/", parents=True)

    assert (target / "one/dir/deep/d").exists()
    assert (target / "two/deep/d").exists()


def test_a_missing_source_is_named(source: Path, target: Path) -> None:
    with pytest.raises(MissingSource, match="`nofile` is not there"):
        copy(source, target, "nofile", "/")


def test_dots_never_climb_out_of_the_root(source: Path, target: Path) -> None:
    (source.parent / "outside").write_text("secret")

    with pytest.raises(MissingSource):
        copy(source, target, "../outside", "/x")
    copy(source, target, "../../a", "/x")

    assert (target / "x").read_text() == "A"


def test_a_link_to_nothing_says_where_it_leads(source: Path, target: Path) -> None:
    (source / "lost").symlink_to("/etc/hostname")

    with pytest.raises(MissingSource) as raised:
        copy(source, target, "lost", "/x")

    assert raised.value.link == "/etc/hostname"


def test_links_in_sources_stay_beneath_the_root(source: Path, target: Path) -> None:
    (source.parent / "outside").write_text("secret")
    (source / "out").symlink_to("../outside")
    (source / "absolute").symlink_to("/a")

    with pytest.raises(MissingSource):
        copy(source, target, "out", "/x")
    copy(source, target, "absolute", "/y")

    assert (target / "y").read_text() == "A"


def test_links_in_destinations_stay_beneath_the_root(source: Path, target: Path) -> None:
    outside = target.parent / "outside"
    outside.mkdir()
    (target / "escape").symlink_to(outside)
    (target / "up").symlink_to("../outside/file")

    copy(source, target, "a", "/escape/x")
    copy(source, target, "a", "/up")
    copy(source, target, "dir", "/escape/dir")

    assert listing(outside) == []


def test_a_link_at_the_destination_is_followed(source: Path, target: Path) -> None:
    (target / "real").write_text("old")
    (target / "link").symlink_to("/real")

    copy(source, target, "a", "/link")

    assert (target / "real").read_text() == "A"
    assert (target / "link").is_symlink()


def test_mode_times_and_hard_links_are_kept(source: Path, target: Path) -> None:
    (source / "dir/c").chmod(0o4751)
    os.utime(source / "dir/c", ns=(1, 123456789000))
    os.link(source / "dir/c", source / "dir/deep/same")

    copy(source, target, "dir", "/out")

    one, two = (target / "out/c").stat(), (target / "out/deep/same").stat()
    assert (one.st_mode & 0o7777, one.st_mtime_ns) == (0o4751, 123456789000)
    assert one.st_ino == two.st_ino


def test_one_file_named_by_two_sources_becomes_two(source: Path, target: Path) -> None:
    os.link(source / "a", source / "same")
    (source / "link").symlink_to("a")

    copy(source, target, "a same link", "/out/")

    assert [(target / "out" / name).stat().st_nlink for name in ("a", "same", "link")] == [1, 1, 1]


def test_chmod_is_for_files_and_directories(source: Path, target: Path) -> None:
    copy(source, target, "dir", "/out", chmod="u=rwX,go=")

    assert stat.S_IMODE((target / "out/deep").stat().st_mode) == 0o700
    assert stat.S_IMODE((target / "out/c").stat().st_mode) == 0o600


def test_sparse_files_stay_sparse(source: Path, target: Path) -> None:
    with (source / "sparse").open("wb") as file:
        file.seek(50 << 20)
        file.write(b"end")
        file.truncate(60 << 20)

    copy(source, target, "sparse", "/sparse")

    made = (target / "sparse").stat()
    assert (made.st_size, made.st_blocks * 512 < 1 << 20) == (60 << 20, True)
    with (target / "sparse").open("rb") as file:
        file.seek(50 << 20)
        assert file.read(3) == b"end"


def test_extended_attributes_are_kept(source: Path, target: Path) -> None:
    os.setxattr(source / "a", "user.colour", b"red")

    copy(source, target, "a", "/a")

    assert os.getxattr(target / "a", "user.colour") == b"red"


def test_a_socket_is_left_out_with_a_notice(source: Path, target: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "dir/sock"))

        copier = copy(source, target, "dir", "/out")

    assert copier.notices == ["`dir/sock` is a socket: it is not copied"]


def test_a_fifo_is_copied_as_one_and_never_opened(source: Path, target: Path) -> None:
    os.mkfifo(source / "dir/fifo")
    os.utime(source / "dir/fifo", ns=(3, 3_000_000_000))

    copy(source, target, "dir", "/out")

    made = (target / "out/fifo").stat()
    assert (stat.S_ISFIFO(made.st_mode), made.st_mtime_ns) == (True, 3_000_000_000)


def test_a_name_that_means_a_removal_is_refused(source: Path, target: Path) -> None:
    (source / "dir/deep/.wh.d").write_text("")

    with pytest.raises(ReservedName, match=r"`dir/deep/\.wh\.d` cannot be copied"):
        copy(source, target, "dir", "/out")
    with pytest.raises(ReservedName):
        copy(source, target, "a", "/.wh.a")


def test_names_that_are_no_text_are_kept(source: Path, target: Path) -> None:
    name = os.fsdecode(b"caf\xe9\n")
    (source / "dir" / name).write_text("x")

    copy(source, target, "dir", "/out")

    assert (target / "out" / name).read_text() == "x"


def test_a_file_swapped_for_a_link_during_the_walk_is_refused(source: Path) -> None:
    secret = source.parent / "outside"
    secret.write_text("secret")
    with opened(source) as root:
        (match,) = find(root, "dir", matches=matches)
        for entry in walk(match, root):
            if entry.path == "c":
                (source / "dir/c").unlink()
                (source / "dir/c").symlink_to(secret)
                with pytest.raises(ChangedSource, match="`dir/c` was replaced"):
                    entry.open()
        os.close(match.fd)


def test_a_directory_swapped_for_a_link_during_the_walk_is_refused(source: Path) -> None:
    class Swap:
        def ignores(self, path: str) -> bool:
            if path == "dir/deep":
                (source / "dir/deep").rename(source / "moved")
                (source / "dir/deep").symlink_to("/etc")
            return False

        def may_descend(self, directory: str) -> bool:
            return True

    with opened(source) as root:
        (match,) = find(root, "dir", matches=matches)
        with pytest.raises(ChangedSource, match="`dir/deep` was replaced"):
            list(walk(match, root, Swap()))
        os.close(match.fd)


def test_directories_that_are_only_written_into_keep_their_time(source: Path, target: Path) -> None:
    (target / "etc").mkdir()
    os.utime(target / "etc", ns=(5, 5_000_000_000))
    os.utime(target, ns=(6, 6_000_000_000))

    copy(source, target, "a", "/etc/a")
    copy(source, target, "a", "/etc/new/deep/a")

    assert ((target / "etc").stat().st_mtime_ns, target.stat().st_mtime_ns) == (
        5_000_000_000,
        6_000_000_000,
    )


def test_a_directory_has_the_time_of_the_one_that_was_copied_to_it(
    source: Path, target: Path
) -> None:
    os.utime(source / "dir", ns=(7, 7_000_000_000))

    copy(source, target, "dir", "/out")
    (target / "old").mkdir()
    copy(source, target, "dir", "/old")

    assert (target / "out").stat().st_mtime_ns == 7_000_000_000
    assert (target / "old").stat().st_mtime_ns == 7_000_000_000
