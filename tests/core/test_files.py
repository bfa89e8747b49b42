"""Files that change whole or not at all, and locks between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.core.files import Lock, NameLock, write_atomically


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    before = path.stat().st_ino

    write_atomically(str(path), b"new", mode=0o600)

    assert path.read_text() == "new"
    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()
    (path / "child").touch()

    with pytest.raises(OSError, match="file"):
        write_atomically(str(path), b"new")

    assert os.listdir(tmp_path) == ["file"]


def test_a_lock_is_between_processes(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    script = (
        "import sys; from buildkit_py.core.files import Lock\n"
        "print(Lock(sys.argv[1]).acquire(wait=False))"
    )

    def other() -> str:
        command = [sys.executable, "-c", script, path]
        tree = str(Path(__file__).resolve().parents[2])
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": tree}
        )
        return done.stdout.strip()

    with Lock(path):
        held = other()
    free = other()

    assert (held, free) == ("False", "True")


def test_shared_holders_do_not_exclude_each_other(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with Lock(path, shared=True):
        second = Lock(path, shared=True)
        assert second.acquire(wait=False)
        assert not Lock(path).acquire(wait=False)
        second.release()


def test_locks_on_names_share_one_file_and_keep_out_only_their_like(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")

    with NameLock(path, "shop"):
        assert not NameLock(path, "shop").acquire(wait=False)
        assert not NameLock(path, "shop", shared=True).acquire(wait=False)
        with NameLock(path, "blog", shared=True):
            assert not NameLock(path, "blog").acquire(wait=False)
            assert NameLock(path, "blog", shared=True).acquire(wait=False)
    free = NameLock(path, "shop")
    assert free.acquire(wait=False)
    free.release()
    assert os.listdir(tmp_path) == ["lock"]
