"""Threads that leave signals to the main thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable


def block_signals() -> None:
    """Leave signals to the main thread: the initializer of a thread pool."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def start_thread(work: Callable[[], None], name: str) -> threading.Thread:
    """Start a daemon thread that no signal interrupts.

    Python handles signals in the main thread, but the kernel may hand one to whichever thread it
    finds; the main thread would then go on waiting and never see it (measured with SIGHUP, which
    comes just when a closed terminal wakes the thread that reads from it).
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return thread
