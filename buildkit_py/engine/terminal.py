"""What flows between the caller's terminal or pipes and a container's program.

A container never gets a descriptor of ours: it could read from our terminal, or change the flags
that all its users share. So bytes are carried, by a thread for each stream.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import termios
import threading
from collections.abc import Callable, Iterator

from buildkit_py.runtime.process import Process

_CHUNK = 1 << 16


@contextlib.contextmanager
def raw(fd: int) -> Iterator[None]:
    """Let every key reach the container: no echo, no signals, no lines. Undone at the end."""
    before = termios.tcgetattr(fd)
    mode = termios.tcgetattr(fd)
    # cfmakeraw(3)
    mode[0] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    mode[1] &= ~termios.OPOST
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, mode)
    try:
        yield
    finally:
        # A terminal that was closed has nothing to restore.
        with contextlib.suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


def fit(process: Process, fd: int) -> None:
    """Give the container's terminal the size of the one at `fd`, if that is one."""
    with contextlib.suppress(OSError):
        size = os.get_terminal_size(fd)
        process.resize(size.lines, size.columns)


class Output:
    """Carries what a program writes, in a thread, until it ends. Owns `source`, not `target`.

    error: why the rest could not be written, None where it could. The program's end of the pipe
        breaks then, as in a pipeline of a shell.
    """

    def __init__(self, source: int, target: int, name: str) -> None:
        self.error: OSError | None = None
        self._thread = _start(lambda: self._work(source, target), name)

    def join(self) -> None:
        """Wait until everything is written."""
        self._thread.join()

    def _work(self, source: int, target: int) -> None:
        try:
            while data := _read(source):
                _write(target, data)
        except OSError as error:
            self.error = error
        finally:
            os.close(source)


def carry_input(source: int, target: int) -> None:
    """Begin to carry what is typed; at its end the container's input ends, too.

    The thread owns `target`. It may wait for input for ever, so nobody waits for it.
    """

    def work() -> None:
        # The program may end, or close its input, before all is read.
        with contextlib.suppress(OSError):
            try:
                while data := _read(source):
                    _write(target, data)
            finally:
                os.close(target)

    _start(work, "stdin")


def _start(work: Callable[[], None], name: str) -> threading.Thread:
    """Start a thread that no signal interrupts.

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


def _read(fd: int) -> bytes:
    """Read some bytes; none at the end, which a terminal without users tells by EIO."""
    try:
        return os.read(fd, _CHUNK)
    except OSError as error:
        if error.errno == errno.EIO:
            return b""
        raise


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody else made our terminal or pipe so
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
