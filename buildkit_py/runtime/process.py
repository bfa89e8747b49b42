"""A container as its maker sees it: start, wait, kill; and how it ended.

    with zygote.create(container, stdin=0, stdout=1, stderr=2) as process:
        plug(process.netns)
        process.start()
        exit = process.wait()

Messages from the container's first process and from the zygote arrive on one channel; when the
last process that holds its other end is gone, the channel ends.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import socket
from collections.abc import Callable
from types import TracebackType

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import BuildkitError, HostError, InputError
from buildkit_py.runtime import init, stubs
from buildkit_py.runtime.kernel import processes

MOST_BYTES = 1 << 16
"""Of one message."""

_PATIENCE_MS = 10_000


class ZygoteLost(HostError):
    """The zygote was killed, and with it every container."""

    code = "host/zygote-lost"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended, in docker's numbers.

    code: the program's, 126 or 127 when it could not be run, 128 + signal when it was killed
    signal: the number that killed it, or 0
    oom: the kernel killed something in it for want of memory
    message: why it could not be run
    """

    code: int
    signal: int = 0
    oom: bool = False
    message: str = ""


class Process:
    """The first process of a container, or a further program in it. Closing it kills it.

    pid, pidfd: as this process sees it
    netns: the container's network namespace, -1 where it has none of its own
    executed: can be read, and is at its end, once the program runs or could not be run
    terminal: the near end of its terminal, once it is set up
    sockets: made inside (see spec.Container.nameserver); whoever takes them empties the list
    """

    def __init__(
        self,
        channel: socket.socket,
        *,
        pid: int,
        pidfd: int,
        netns: int,
        executed: int,
        cleanup: Callable[[list[stubs.Stub]], None],
        lost: Callable[[], BuildkitError],
    ) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.netns = netns
        self.executed = executed
        self.terminal = -1
        self.sockets: list[socket.socket] = []
        self.warnings: list[str] = []
        self._channel = channel
        self._cleanup = cleanup
        self._lost = lost
        self._stubs: list[stubs.Stub] = []
        self._failure: BuildkitError | None = None
        self._message = ""
        self._exit: Exit | None = None
        self._ready = False
        self._closed = False

    def start(self) -> None:
        """Let the container run, and return when it was set up wholly; terminal is open then.

        Raises HostError or InputError naming the set-up operation that failed. A program that
        cannot be run is no error here: wait() tells.
        """
        self.begin()
        while not self._ready and self._exit is None:
            self._receive()
        if self._failure is not None and self._exit is not None:
            self._finish()
            raise self._failure

    def begin(self) -> None:
        """Let the container run, and return at once: `advance` tells what comes of it."""
        with contextlib.suppress(BrokenPipeError, ConnectionError):  # it ended, and said why
            self._channel.send(b"go")

    def fileno(self) -> int:
        """Return a descriptor that can be read when `advance` has something to do."""
        return self._channel.fileno()

    def advance(self) -> None:
        """Take one message in; waits for it."""
        self._receive()
        if self._exit is not None:
            self._finish()

    @property
    def is_set_up(self) -> bool:
        """Whether everything is set up, and the program is next; `terminal` is open then."""
        return self._ready

    @property
    def exit(self) -> Exit | None:
        """How it ended, None before."""
        return self._exit

    @property
    def message(self) -> str:
        """Why the program could not be run, "" where it could, or as long as that is open."""
        return self._message

    @property
    def failure(self) -> BuildkitError | None:
        """Why it could not be set up, or what befell it."""
        return self._failure

    def wait(self) -> Exit:
        """Wait for the end, remove what the runtime left in the container's tree, and tell."""
        while self._exit is None:
            self._receive()
        self._finish()
        if self._failure is not None:
            raise self._failure
        return self._exit

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the first process; a dead one is left in peace."""
        if self._exit is None and self.pidfd >= 0:
            try:
                signal.pidfd_send_signal(self.pidfd, number)
            except ProcessLookupError:
                return

    def resize(self, rows: int, columns: int) -> None:
        """Tell the container's terminal how large it is."""
        if self.terminal >= 0:
            processes.set_window_size(self.terminal, rows, columns)

    def _receive(self) -> None:
        data, fds = receive(self._channel, 1)
        self.take(data[:1], data[1:], fds)

    def take(self, kind: bytes, body: bytes, fds: list[int]) -> None:
        """Take in what was said on the channel; see init.py for the kinds."""
        match kind:
            case init.READY:
                self._ready = True
                if fds:
                    self.terminal = fds[0]
            case init.NOTE:
                self.warnings.append(body.decode())
            case init.SOCKET:
                self.sockets += [socket.socket(fileno=fd) for fd in fds]
            case init.STUBS:
                self._stubs += [stubs.Stub(*row) for row in marshal.loads(body)]
            case init.EXEC:
                self._message = body[1:].decode()
            case init.ERROR:
                self._failure = error_of(body)
            case init.EXIT:
                code, number, oom = marshal.loads(body)
                self._exit = Exit(128 + number if number else code, number, oom, self._message)
            case _:  # the zygote is dead; what it left alive dies here
                self.kill()
                poll = select.poll()
                poll.register(self.pidfd, select.POLLIN)
                poll.poll(_PATIENCE_MS)
                self._exit = Exit(137, signal.SIGKILL)
                self._failure = self._lost()

    def _finish(self) -> None:
        rows, self._stubs = self._stubs, []
        cleanup, self._cleanup = self._cleanup, lambda _: None
        cleanup(rows)

    def close(self) -> None:
        """Kill what runs, and give every descriptor back."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._exit is None:
                self.kill()
                while self._exit is None:
                    self._receive()
            self._finish()
        finally:
            self._channel.close()
            for fd in (self.pidfd, self.netns, self.terminal, self.executed):
                if fd >= 0:
                    os.close(fd)
            self.pidfd = self.netns = self.terminal = self.executed = -1
            for each in self.sockets:
                each.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def receive(channel: socket.socket, most_fds: int) -> tuple[bytes, list[int]]:
    """Read one message and its descriptors; no bytes when the channel has ended.

    A peer that closes with unread messages ("go", say) makes the kernel answer "connection
    reset" once, ahead of what the peer had sent before: ask again for that.
    """
    while True:
        try:
            data, fds, _, _ = socket.recv_fds(channel, MOST_BYTES, most_fds)
        except ConnectionResetError:
            continue
        return data, fds


def error_of(body: bytes) -> BuildkitError:
    """Return the error that a child reported."""
    kind, code, message, hint, notes, _ = marshal.loads(body)
    branch = InputError if kind == "input" else HostError
    return branch(message, code=code, hint=hint or None, notes=notes)
