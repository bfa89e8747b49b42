"""Threads that leave signals to the main thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def block_signals() -> None:
    """Leave signals to the main thread: the initializer of a thread pool."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


@contextmanager
def signals_held() -> Iterator[None]:
    """Keep signals waiting until the end of the block, where the main thread handles them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_thread(work: Callable[[], None], name: str) -> threading.Thread:
    """Start a daemon thread that no signal interrupts.

    Python handles signals in the main thread, but the kernel may hand one to whichever thread it
    finds; the main thread would then go on waiting and never see it (measured with SIGHUP, which
    comes just when a closed terminal wakes the thread that reads from it).
    """
    with signals_held():
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
    return thread


def join(thread: threading.Thread) -> None:
    """Wait until a thread has ended, and only then raise what interrupted the waiting.

    What the thread uses may be closed afterwards. Whoever calls has told it to end soon.
    """
    interrupt: BaseException | None = None
    while thread.is_alive():
        try:
            thread.join()
        except BaseException as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
