"""Signals that come to us are the program's: it decides, as under docker's `--sig-proxy`."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

from buildkit_py.runtime.process import Process

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


@contextlib.contextmanager
def forwarded(process: Process, *, on_resize: Callable[[], None]) -> Iterator[None]:
    """Send what comes to us on to the container's first process. Main thread only.

    on_resize: called when our terminal has got another size
    A signal that our caller had us ignore (nohup) stays ignored.
    """
    count = 0

    def forward(number: int, frame: object) -> None:
        nonlocal count
        count += number in _ENDING
        process.kill(signal.SIGKILL if count >= PATIENCE else number)

    before = {}
    for each in FORWARDED:
        if signal.getsignal(each) is not signal.SIG_IGN:
            before[each] = signal.signal(each, forward)
    before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda number, frame: on_resize())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
