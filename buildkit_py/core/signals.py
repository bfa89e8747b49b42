"""Signals that are handled at once, whatever the main thread waits in.

Python runs a handler in the main thread when that comes back to its bytecode. A signal that
arrives between the last look and a system call that then waits is handled when the call returns,
which may be never: seen under load, with a SIGINT just when a program's first output came. So
signals' numbers go through a pipe, too, to a thread that does nothing else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

from buildkit_py.core.threads import join, start_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Any


@contextlib.contextmanager
def caught(
    numbers: Collection[signal.Signals], handle: Callable[[signal.Signals], None]
) -> Iterator[None]:
    """Call `handle` with each of these signals meanwhile. Main thread only, one at a time.

    handle: called in a thread of its own; what it raises ends the program's care for signals
    """
    before: dict[int, Any] = {}
    with contextlib.ExitStack() as stack:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, reader)
        with contextlib.ExitStack() as ending:
            ending.callback(os.close, writer)
            os.set_blocking(writer, False)

            def work() -> None:
                while data := os.read(reader, 64):
                    for number in data:
                        if number in before:
                            handle(signal.Signals(number))

            thread = start_thread(work, "signals")
            stack.callback(join, thread)
            outer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
            ending.callback(signal.set_wakeup_fd, outer)
            for each in numbers:
                before[each] = signal.signal(each, _nothing)
                ending.callback(signal.signal, each, before[each])
            yield


def miss_none() -> None:
    """See to it that handlers run soon after their signals, from here on. Main thread only.

    A thread wakes the main thread some times after each signal, by one that means nothing to
    programs. To be called after namespaces were entered, which only a lonely thread may do.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)
    main = threading.get_ident()

    def work() -> None:
        while data := os.read(reader, 64):
            for seconds in _WAKE_AFTER if data.strip(bytes([_WAKING])) else ():
                time.sleep(seconds)
                signal.pthread_kill(main, _WAKING)

    signal.signal(_WAKING, _nothing)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    start_thread(work, "wake")


_WAKING = signal.SIGURG
"""Ignored unless somebody asks for it: nobody notices one more."""
_WAKE_AFTER = (0.01, 0.1, 1.0)


def _nothing(number: int, frame: object) -> None:
    """Stand where a handler must be for the number to be written."""
