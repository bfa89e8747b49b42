"""Threads that leave signals to the main thread."""

from __future__ import annotations

import signal
import threading

from buildkit_py.core.threads import start_thread


def test_every_signal_is_blocked_in_the_thread_and_none_in_ours() -> None:
    seen: list[set[int]] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def work() -> None:
        seen.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, ())))

    start_thread(work, "x").join()

    assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} <= seen[0]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_it_ends_with_the_program() -> None:
    thread = start_thread(threading.Event().wait, "x")  # type: ignore[arg-type]

    assert thread.daemon
