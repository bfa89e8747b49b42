"""Layers are packed in the background, in order, and no failure is lost."""

from __future__ import annotations

import threading

import pytest

from buildkit_py.build.packing import Packing
from buildkit_py.store.snapshots import SnapshotId


def never() -> None:
    raise AssertionError("nothing was to be stopped")


def test_all_are_packed_in_order_when_it_finishes() -> None:
    packed: list[str] = []

    with Packing(packed.append, never) as packing:
        for name in "abc":
            packing.begin(SnapshotId(name))
        packing.finish()

    assert packed == ["a", "b", "c"]


def test_no_thread_is_started_for_nothing() -> None:
    with Packing(lambda id: None, never) as packing:
        packing.finish()

        assert "packing" not in [thread.name for thread in threading.enumerate()]


def test_packing_does_not_hold_up_the_steps() -> None:
    may_pack = threading.Event()

    with Packing(lambda id: may_pack.wait(10), never) as packing:
        packing.begin(SnapshotId("a"))  # returns though `pack` waits
        may_pack.set()
        packing.finish()


def test_the_first_failure_is_raised_and_ends_the_work() -> None:
    packed: list[str] = []

    def pack(id: SnapshotId) -> None:
        packed.append(id)
        raise OSError(f"no space for {id}")

    with Packing(pack, never) as packing:
        packing.begin(SnapshotId("a"))
        packing.begin(SnapshotId("b"))

        with pytest.raises(OSError, match="no space for a"):
            packing.finish()

    assert packed == ["a"]


def test_a_failed_build_stops_what_is_packed_and_drops_the_rest() -> None:
    began, stop = threading.Event(), threading.Event()
    packed: list[str] = []

    def pack(id: SnapshotId) -> None:
        packed.append(id)
        began.set()
        stop.wait(10)

    def build() -> None:
        with Packing(pack, stop.set) as packing:
            packing.begin(SnapshotId("a"))
            packing.begin(SnapshotId("b"))
            began.wait(10)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        build()

    assert packed == ["a"]
    assert "packing" not in [thread.name for thread in threading.enumerate()]
