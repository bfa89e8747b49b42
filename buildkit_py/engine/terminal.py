"""What flows between the caller's terminal or pipes and a container's program.

A container never gets a descriptor of ours: it could read from our terminal, or change the flags
that all its users share. So bytes are carried, by a thread for each stream.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import termios
from collections.abc import Iterator

from buildkit_py.core.threads import start_thread
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


def keep_line_ends(fd: int) -> None:
    """Leave out the carriage returns that a terminal adds: who reads a pipe wants none."""
    mode = termios.tcgetattr(fd)
    mode[1] &= ~termios.ONLCR
    termios.tcsetattr(fd, termios.TCSANOW, mode)


def size_of(fd: int) -> tuple[int, int]:
    """Return rows and columns of the terminal at `fd`, (0, 0) if that is none."""
    try:
        size = os.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return size.lines, size.columns


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
        self._thread = start_thread(lambda: self._work(source, target), name)

    def join(self, seconds: float | None = None) -> None:
        """Wait until everything is written, or so long: others may hold the stream open."""
        self._thread.join(seconds)

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

    start_thread(work, "stdin")


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
