"""The order to stop, for builds that run in threads: a signal only reaches the main one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from buildkit_py.graph.solve import Cancelled


class Stopping:
    """Shared by whoever runs builds and the builds. Each of them then ends with Cancelled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self._ends: list[Callable[[], None]] = []

    def stop(self) -> None:
        """End the builds that run, and those that begin later. Waits for none of them."""
        with self._lock:
            self._stopped = True
            ends = list(self._ends)
        for end in ends:
            end()

    @contextmanager
    def ends_by(self, end: Callable[[], None]) -> Iterator[None]:
        """Have `end` called at the order to stop, during the block. Raises Cancelled behind it."""
        with self._lock:
            if self._stopped:
                raise Cancelled
            self._ends.append(end)
        try:
            yield
        finally:
            with self._lock:
                self._ends.remove(end)
