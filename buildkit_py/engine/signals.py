"""Signals that come to us are the program's: it decides, as under docker's `--sig-proxy`."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

from buildkit_py.core.errors import BuildkitError
from buildkit_py.core.signals import caught

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object

FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGCONT,
)
_ENDING = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 3
"""The third SIGINT or SIGTERM kills: a first process without handlers ignores both for ever."""

HANGUP_SECONDS = 10
"""How long a program may go on when our terminal is gone."""


class Killable(Protocol):
    """What signals are sent on to: a process of ours, or one that a supervisor has."""

    def kill(self, number: int = ...) -> None: ...


@contextlib.contextmanager
def forwarded(process: Killable, *, on_resize: Callable[[], None]) -> Iterator[None]:
    """Send what comes to us on to the container's first process. Main thread only.

    on_resize: called when our terminal has got another size
    When our terminal is closed, the program gets SIGHUP and, some time later, is killed: nobody
    could see or end it any more. A signal that our caller had us ignore (nohup) stays ignored.
    """
    count = 0
    had_terminal = _has_terminal()

    def take(number: signal.Signals) -> None:
        with contextlib.suppress(BuildkitError):  # it is gone: whoever waits for it hears of that
            send_on(number)

    def send_on(number: signal.Signals) -> None:
        nonlocal count
        if number == signal.SIGWINCH:
            on_resize()
            return
        count += number in _ENDING
        process.kill(signal.SIGKILL if count >= PATIENCE else number)
        if number == signal.SIGHUP and had_terminal and not _has_terminal():
            timer = threading.Timer(HANGUP_SECONDS, process.kill)
            timer.daemon = True
            timer.start()

    wanted = [each for each in FORWARDED if signal.getsignal(each) is not signal.SIG_IGN]
    with caught([*wanted, signal.SIGWINCH], take):
        yield


def _has_terminal() -> bool:
    return any(os.isatty(fd) for fd in (0, 1, 2))
