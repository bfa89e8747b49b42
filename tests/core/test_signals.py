"""Signals that are handled whatever the main thread waits in."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from buildkit_py.core.signals import caught, miss_none


def test_a_signal_is_handled_while_the_main_thread_never_looks() -> None:
    """A handler in Python would have to wait until the main thread is back in its bytecode."""
    arrived = threading.Event()
    reader, writer = os.pipe()
    before = signal.getsignal(signal.SIGUSR1)
    taken: list[int] = []

    def take(number: signal.Signals) -> None:
        taken.append(number)
        os.write(writer, b"!")
        arrived.set()

    with caught([signal.SIGUSR1], take):
        # Held back here, the signal comes to the thread that sends it: nothing wakes this one.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        sender = threading.Thread(target=_send, args=[signal.SIGUSR1])
        sender.start()
        assert os.read(reader, 1) == b"!"
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        sender.join()

    os.close(reader)
    os.close(writer)
    assert arrived.is_set()
    assert taken == [signal.SIGUSR1]
    assert signal.getsignal(signal.SIGUSR1) == before


def _send(number: signal.Signals) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)


def test_only_what_was_asked_for_is_handed_on_and_all_of_it() -> None:
    others: list[int] = []
    taken: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: others.append(number))
    try:
        with caught([signal.SIGUSR1, signal.SIGHUP], taken.append):
            for number in (signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR1):
                os.kill(os.getpid(), number)
    finally:
        signal.signal(signal.SIGUSR2, before)

    assert taken == [signal.SIGHUP, signal.SIGUSR1]
    assert others == [signal.SIGUSR2]


def test_what_was_set_up_before_stands_again() -> None:
    fds = set(os.listdir("/proc/self/fd"))

    with pytest.raises(KeyError), caught([signal.SIGUSR1], lambda number: None):
        raise KeyError

    assert set(os.listdir("/proc/self/fd")) == fds
    assert signal.set_wakeup_fd(-1) == -1
    assert not [each for each in threading.enumerate() if each.name == "signals"]


def test_a_main_thread_that_waits_is_woken_for_its_handlers() -> None:
    """Here the handler's turn is missed for sure: another thread takes the signal."""
    main = os.fork()
    if main == 0:
        try:
            signal.setitimer(signal.ITIMER_REAL, 20)  # ends it if nothing else does
            miss_none()
            signal.signal(signal.SIGTERM, lambda number, frame: os._exit(3))
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            threading.Timer(0.2, _send, [signal.SIGTERM]).start()  # when we wait below
            forever = threading.Lock()
            forever.acquire()
            forever.acquire()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(main, 0)[1]) == 3
