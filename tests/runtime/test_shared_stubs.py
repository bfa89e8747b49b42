"""Mount points that containers share."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from buildkit_py.runtime import stubs

TARGETS = [("/dev", True), ("/etc/hosts", False), ("/mnt/deep", True)]


def listing(root: str) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in Path(root).rglob("*"))


def test_the_same_mount_points_share_a_directory(tmp_path: Path) -> None:
    first = stubs.shared_lower(str(tmp_path), TARGETS)
    second = stubs.shared_lower(str(tmp_path), list(TARGETS))
    other = stubs.shared_lower(str(tmp_path), [("/etc/hosts", True)])

    assert first == second
    assert listing(first) == ["dev", "etc", "etc/hosts", "mnt", "mnt/deep"]
    assert Path(first, "etc/hosts").read_bytes() == b""
    assert listing(other) == ["etc", "etc/hosts"]
    assert Path(other, "etc/hosts").is_dir()
    assert sorted(os.listdir(tmp_path)) == sorted(os.path.basename(each) for each in (first, other))


def test_many_threads_may_want_them_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: stubs.shared_lower(str(tmp_path), TARGETS), range(32)))

    assert len(set(paths)) == 1
    assert os.listdir(tmp_path) == [os.path.basename(paths[0])]


def test_whoever_is_slower_takes_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = stubs.shared_lower(str(tmp_path), TARGETS)
    monkeypatch.setattr(os.path, "isdir", lambda path: False)

    assert stubs.shared_lower(str(tmp_path), TARGETS) == there

    assert os.listdir(tmp_path) == [os.path.basename(there)]
