"""`-v` and `--tmpfs`."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_py.engine.mounts import (
    BadTmpfs,
    BadVolume,
    VolumeRequest,
    parse_size,
    parse_tmpfs,
    parse_volume,
    uncovered,
)
from buildkit_py.runtime.spec import Tmpfs


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("/a:/b", VolumeRequest("bind", "/a", "/b")),
        ("/a/../c:/b/./d/", VolumeRequest("bind", "/c", "/b/d")),
        ("./x:/b:ro", VolumeRequest("bind", "/here/x", "/b", read_only=True)),
        ("..:/b", VolumeRequest("bind", "/", "/b")),
        (".:/b:rw", VolumeRequest("bind", "/here", "/b")),
        ("data:/b", VolumeRequest("volume", "data", "/b")),
        ("da.ta-1:/b:nocopy,ro", VolumeRequest("volume", "da.ta-1", "/b", True, False)),
        ("/b", VolumeRequest("anonymous", "", "/b")),
        ("/a:/b/../..//c", VolumeRequest("bind", "/a", "/c")),
    ],
)
def test_volumes(text: str, volume: VolumeRequest) -> None:
    assert parse_volume(text, cwd="/here") == volume


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "/a:", ":/b", "a", "/a:b", "/a:/", "/a:/..", "x:/b", "da/ta:/b", "-d:/b",
        "/a:/b:ro:x", "/a:/b:rshared", "/a:/b:", "data\n:/b",
    ],
)  # fmt: skip
def test_bad_volumes_are_refused(text: str) -> None:
    with pytest.raises(BadVolume):
        parse_volume(text, cwd="/here")


def test_a_volume_name_never_leads_out_of_the_state_root() -> None:
    for text in ("..:/b", "../x:/b", "a/../../x:/b", "/etc:/b"):
        try:
            assert parse_volume(text, cwd="/here").kind == "bind"
        except BadVolume:
            continue


@pytest.mark.parametrize(
    ("text", "tmpfs"),
    [
        ("/run", Tmpfs("/run", allowed=())),
        ("/run/:size=64m,mode=700,ro", Tmpfs("/run", 64 << 20, 0o700, True, allowed=())),
        ("/run:rw,nosuid,nodev,noexec,defaults", Tmpfs("/run", allowed=())),
        ("/run:exec,suid,dev", Tmpfs("/run", allowed=("dev", "exec", "suid"))),
        ("/run:exec,noexec,ro,rw", Tmpfs("/run", allowed=())),
        ("/run:uid=5,gid=6,nr_inodes=1k", Tmpfs("/run", 0, 0o1777, False, 5, 6, 1024, ())),
    ],
)
def test_tmpfs(text: str, tmpfs: Tmpfs) -> None:
    assert parse_tmpfs(text) == tmpfs


@pytest.mark.parametrize(
    "text",
    [
        "", "run", "/", "//", "/run:size=x", "/run:mode=9", "/run:mode=10000", "/run:uid=a",
        "/run:gid=4294967295", "/run:exec=1", "/run:size", "/run:mpol=local", "/run:,",
    ],
)  # fmt: skip
def test_bad_tmpfs_are_refused(text: str) -> None:
    with pytest.raises(BadTmpfs):
        parse_tmpfs(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("5", 5), ("64m", 64 << 20), ("1.5GiB", 3 << 29), ("2kB", 2048), ("7b", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "nan", "inf", "5x", "1e400"])
def test_bad_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_size(text)


def test_volumes_of_the_image_give_way_to_those_of_the_request() -> None:
    assert uncovered(["/data/", "/data", "b", "/c", "/"], ["/c"]) == ["/b", "/data"]


def test_a_volume_that_was_killed_half_way_hides_no_other(tmp_path: Path) -> None:
    from buildkit_py.engine import volume_records
    from buildkit_py.store.store import Store

    store = Store.open(str(tmp_path / "root"), overlay="copy")
    try:
        volume_records.ensure(store, "good")
        (tmp_path / "root/volumes/half").mkdir()
        names = [each.name for each in volume_records.list_volumes(store.root)]
        again = volume_records.ensure(store, "half")
    finally:
        store.close()
    assert names == ["good"]
    assert again.name == "half"


def test_a_volume_has_no_place_outside_of_the_root(tmp_path: Path) -> None:
    from buildkit_py.engine import volume_records
    from buildkit_py.store.store import Store

    store = Store.open(str(tmp_path / "root"), overlay="copy")
    try:
        for name in ("../../outside", "a/../../b", ".", ""):
            with pytest.raises(BadVolume):
                volume_records.ensure(store, name)
    finally:
        store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
