"""Paths beneath a root: with openat2, and by the walk that stands in for it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.runtime.kernel import paths


@pytest.fixture(params=["openat2", "walk"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(paths, "_absent", request.param == "walk")
    return str(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A tree with links of every kind, and something outside of it."""
    (tmp_path / "secret").write_text("outside")
    top = tmp_path / "root"
    (top / "a/b").mkdir(parents=True)
    (top / "a/file").write_text("inside")
    for name, target in {
        "absolute": "/a",
        "escape": "../../../../secret",
        "climb": "a/b/../../../secret",
        "outside": str(tmp_path),
        "loop": "loop",
        "dangling": "/new/place",
        "chain": "absolute",
    }.items():
        (top / name).symlink_to(target)
    fd = os.open(top, os.O_PATH)
    yield fd, top
    os.close(fd)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a/file", "a/file"),
        ("/a/file", "a/file"),
        ("absolute/file", "a/file"),
        ("chain/b/..", "a"),
        ("../../a", "a"),
        ("a/./b//", "a/b"),
        ("", "."),
        ("/", "."),
        ("..", "."),
    ],
)
def test_what_is_found(how: str, root: tuple[int, Path], path: str, found: str) -> None:
    fd = paths.open_beneath(root[0], path, os.O_PATH)
    try:
        assert os.path.samestat(os.fstat(fd), os.stat(root[1] / found))
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("escape", errno.ENOENT),
        ("climb", errno.ENOENT),
        ("outside/secret", errno.ENOENT),
        ("loop", errno.ELOOP),
        ("loop/x", errno.ELOOP),
        ("dangling", errno.ENOENT),
        ("a/file/", errno.ENOTDIR),
        ("a/file/x", errno.ENOTDIR),
        ("a/nothing", errno.ENOENT),
    ],
)
def test_what_is_not(how: str, root: tuple[int, Path], path: str, number: int) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        paths.open_beneath(root[0], path, os.O_RDONLY)
    assert caught.value.errno == number


def test_the_last_link_may_be_opened_itself(how: str, root: tuple[int, Path]) -> None:
    fd = paths.open_beneath(root[0], "absolute", os.O_PATH | os.O_NOFOLLOW)
    assert os.readlink("", dir_fd=fd) == "/a"
    os.close(fd)
    with pytest.raises(OSError, match="symbolic links"):
        paths.open_beneath(root[0], "absolute", os.O_RDONLY | os.O_NOFOLLOW)


def test_files_are_made_beneath_the_root(how: str, root: tuple[int, Path]) -> None:
    fd = paths.open_beneath(root[0], "absolute/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(fd)
    assert (root[1] / "a/new").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileNotFoundError):
        paths.open_beneath(root[0], "outside/new", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(FileExistsError):
        paths.open_beneath(root[0], "dangling", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    assert not (root[1].parent / "new").exists()


def test_descriptors_are_closed_by_exec_and_none_is_left(how: str, root: tuple[int, Path]) -> None:
    before = os.listdir("/proc/self/fd")
    fd = paths.open_beneath(root[0], "chain/b", os.O_PATH)
    assert not os.get_inheritable(fd)
    os.close(fd)
    for path in ("loop", "escape", "a/b/c/d"):
        with pytest.raises(OSError, match=r"."):
            paths.open_beneath(root[0], path, os.O_RDONLY)
    assert os.listdir("/proc/self/fd") == before


def test_directories_are_made_with_their_parents(how: str, root: tuple[int, Path]) -> None:
    uid, gid = os.getuid(), os.getgid()

    assert paths.make_directories_beneath(root[0], "x/y/z", 0o750, uid, gid) == [
        "x",
        "x/y",
        "x/y/z",
    ]
    assert paths.make_directories_beneath(root[0], "x/y/z", 0o750, uid, gid) == []
    assert (root[1] / "x/y").stat().st_mode & 0o777 == 0o750
    assert paths.make_directories_beneath(root[0], "chain/c", 0o755, uid, gid) == ["chain/c"]
    assert (root[1] / "a/c").is_dir()
    assert paths.make_directories_beneath(root[0], "dangling/q", 0o755, uid, gid) == [
        "new",
        "new/place",
        "new/place/q",
    ]
    assert (root[1] / "new/place/q").is_dir()
    assert not Path("/new").exists()
    with pytest.raises(NotADirectoryError):
        paths.make_directories_beneath(root[0], "a/file/x", 0o755, uid, gid)
    with pytest.raises(OSError, match=r"."):
        paths.make_directories_beneath(root[0], "loop/x", 0o755, uid, gid)


def test_new_directories_inherit_the_set_group_id_bit(how: str, root: tuple[int, Path]) -> None:
    (root[1] / "a").chmod(0o2755)

    paths.make_directories_beneath(root[0], "a/new/deep", 0o750, os.getuid(), os.getgid())

    assert (root[1] / "a/new/deep").stat().st_mode & 0o7777 == 0o2750


WORDS = st.lists(
    st.sampled_from(["a", "b", "..", ".", "file", "absolute", "chain", "escape", "climb", "loop"]),
    max_size=6,
)


@settings(deadline=None, max_examples=300)
@given(words=WORDS, slash=st.booleans())
def test_the_walk_agrees_with_the_kernel(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], slash: bool
) -> None:
    top = tmp_path_factory.getbasetemp() / "agree"
    if not top.exists():
        (top / "a/b").mkdir(parents=True)
        (top / "a/file").touch()
        for name, target in {
            "absolute": "/a", "chain": "absolute", "escape": "../../x", "climb": "a/../../a/b",
            "loop": "loop", "a/chain": "../chain", "a/b/absolute": "/a/b/..",
        }.items():  # fmt: skip
            (top / name).symlink_to(target)
    root = os.open(top, os.O_PATH)
    path = "/".join(words) + ("/" if slash else "")
    answers = []
    try:
        for absent in (False, True):
            paths._absent = absent
            try:
                fd = paths.open_beneath(root, path, os.O_PATH)
                answers.append((os.fstat(fd).st_ino, 0))
                os.close(fd)
            except OSError as error:
                answers.append((0, error.errno or 0))
    finally:
        paths._absent = False
        os.close(root)

    assert answers[0] == answers[1], path
