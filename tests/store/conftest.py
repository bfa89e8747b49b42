"""Stores for tests, of every kind that works here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_py.store.layers.marks import Overlay
from buildkit_py.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of copies: it needs no rights and no kernel feature."""
    root = str(tmp_path / "root")
    with Store.open(root, overlay="copy", single_id=os.geteuid() != 0) as opened:
        yield opened


@pytest.fixture(params=["kernel", "copy"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of overlays, and one of copies. A test that asks for it bears the marker `root`."""
    overlay: Overlay = request.param
    with Store.open(str(tmp_path / "root"), overlay=overlay) as opened:
        yield opened
