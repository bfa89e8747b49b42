"""Where state and run-time files are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildkit_py.core.dirs import ensure_private, run_dir, state_root
from buildkit_py.core.errors import HostError


def test_the_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDKIT_PY_ROOT", "/environment")

    assert (state_root("/option"), state_root()) == ("/option", "/environment")


def test_without_root_state_is_below_xdg_data_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUILDKIT_PY_ROOT", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")

    assert state_root() == "/data/buildkit-py"


def test_run_time_files_fall_back_to_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")

    assert run_dir() == "/tmp/buildkit-py-1000"


def test_a_link_in_place_of_our_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")

    with pytest.raises(HostError, match="belongs to somebody else"):
        ensure_private(str(tmp_path / "link"))


def test_a_private_directory_is_ours_alone(tmp_path: Path) -> None:
    path = ensure_private(str(tmp_path / "a"))

    assert os.stat(path).st_mode & 0o777 == 0o700
