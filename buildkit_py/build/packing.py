"""Layers are packed while later steps still run."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from buildkit_py.core.threads import join, start_thread
from buildkit_py.store.snapshots import SnapshotId


class Packing:
    """Packs finished snapshots one after the other, in a thread that the first of them starts.

        with Packing(pack, stop) as packing:
            packing.begin(snapshot)
            ...
            packing.finish()

    pack: makes a snapshot's layer, which the store remembers
    stop: called when the block is left without `finish`; makes `pack` end soon
    """

    def __init__(self, pack: Callable[[SnapshotId], object], stop: Callable[[], None]) -> None:
        self._pack = pack
        self._stop = stop
        self._waiting: queue.SimpleQueue[SnapshotId | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def begin(self, id: SnapshotId) -> None:
        """Have a snapshot packed soon."""
        with self._lock:
            if self._thread is None:
                self._thread = start_thread(self._work, "packing")
        self._waiting.put(id)

    def finish(self) -> None:
        """Wait until all is packed; raise what the first failure raised."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while (id := self._waiting.get()) is not None:
            if self._failure is not None:
                continue
            try:
                self._pack(id)
            except BaseException as error:
                self._failure = error

    def __enter__(self) -> Packing:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._thread is not None:
            # The build failed: its own error is the one to tell.
            self._failure = self._failure or SystemExit()
            self._stop()
            self._waiting.put(None)
            join(self._thread)
            self._thread = None
