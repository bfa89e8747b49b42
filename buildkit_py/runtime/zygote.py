"""The zygote: a small process with one thread, from which containers are cloned.

A big process must not clone: its memory makes a fork slow (a 500 MB heap costs 30 ms), and its
threads hold locks that the child would wait for, for ever. So a Python of its own, with nothing
but the runtime in it, is asked. This module is the asking side, `zygote_loop` the asked one.

    host = userns.enter()                   # before threads
    with Zygote.start(host) as zygote:      # early, so that it is ready when it is needed
        with zygote.create(container, stdin=0, stdout=1, stderr=2) as process:
            process.start()
            print(process.wait().code)

Each request brings a channel of its own, so any number of threads may ask at once. When the
asking process ends, however it ends, its end of the control socket closes, and the zygote kills
every container, removes their cgroups, and ends.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import socket
import sys
import threading
from collections.abc import Sequence
from types import TracebackType

from buildkit_py.core.errors import Bug, BuildkitError
from buildkit_py.runtime import init, stubs, zygote_loop
from buildkit_py.runtime.execute import Execution
from buildkit_py.runtime.host import Host
from buildkit_py.runtime.interpreter import read_only
from buildkit_py.runtime.kernel import cgroups
from buildkit_py.runtime.plan import mount_points, plan
from buildkit_py.runtime.process import Process, ZygoteLost, error_of, receive
from buildkit_py.runtime.spec import Bind, Container, Overlay

_INLINE_BYTES = 1 << 16
"""Longer requests travel in a memfd: a message must fit into the socket's buffer."""

_KEPT = ("PATH", "LD_LIBRARY_PATH")
"""What the zygote's Python may need of the environment to start at all."""


class Zygote:
    """The zygote of this process; safe to use from many threads."""

    def __init__(self, host: Host, control: socket.socket, pid: int) -> None:
        self.host = host
        self.pid = pid
        self._control = control
        self._lock = threading.Lock()
        self._gone = False
        self._last_words: tuple[str, ...] = ()

    @classmethod
    def start(cls, host: Host) -> Zygote:
        """Start the zygote; it gets ready (50 ms) while this process goes on with its work.

        What dead owners left in cgroups is swept away first. Raises HostError.
        """
        cgroups.sweep(host.cgroups)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        interpreter = read_only()
        try:
            pid = os.posix_spawn(
                f"/proc/self/fd/{interpreter}",
                _command(),
                {name: os.environ[name] for name in _KEPT if name in os.environ},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, 0, 1),
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), zygote_loop.CONTROL),
                ],
                setsid=True,  # Ctrl-C is for the process that asked us; it decides
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(interpreter)
        ours.send(_pickled(host))
        return cls(host, ours, pid)

    def create(self, container: Container, *, stdin: int, stdout: int, stderr: int) -> Process:
        """Make a container that is set up and waits: its namespaces exist, its program not yet.

        stdin, stdout, stderr: descriptors, which stay the caller's; with a terminal unused
        Raises InputError for what cannot be, HostError for what this machine cannot.
        """
        lower, own = _prepare_stubs(container)
        try:
            chosen = plan(container, self.host, stubs=lower)
            channel = self._ask(("create", chosen, container.limits), (stdin, stdout, stderr))
            try:
                # The child may be quicker with its first words than the zygote with its own.
                early: list[tuple[bytes, bytes]] = []
                while True:
                    kind, body, fds = self._answer(channel)
                    if kind == init.STARTED:
                        break
                    early.append((kind, body))
            except BaseException:
                channel.close()
                raise
        except BaseException:
            if own:
                stubs.remove_lower(lower)
            raise

        def cleanup(rows: list[stubs.Stub]) -> None:
            if rows and container.stubs:
                root = container.root
                stubs.remove(root.upper if isinstance(root, Overlay) else root.path, rows)
            if own:
                stubs.remove_lower(lower)

        process = Process(
            channel,
            pid=marshal.loads(body),
            pidfd=fds[0],
            executed=fds[1],
            netns=fds[2] if len(fds) > 2 else -1,
            cleanup=cleanup,
            lost=self._lost,
        )
        for kind, said in early:
            process.take(kind, said, [])
        return process

    def execute(
        self, process: Process, execution: Execution, *, stdin: int, stdout: int, stderr: int
    ) -> Process:
        """Make a further program of a container that runs; it waits until it is started.

        Raises HostError where the container does not run any more.
        """
        channel = self._ask(("execute", process.pid, execution), (stdin, stdout, stderr))
        try:
            _, body, fds = self._answer(channel)
        except BaseException:
            channel.close()
            raise
        return Process(
            channel,
            pid=marshal.loads(body),
            pidfd=fds[0],
            executed=fds[1],
            netns=-1,
            cleanup=lambda _: None,
            lost=self._lost,
        )

    def new_network_namespace(
        self, socket_specs: Sequence[tuple[int, int, int]]
    ) -> tuple[int, list[int]]:
        """Return a descriptor of a new network namespace, and sockets opened inside of it.

        socket_specs: (family, type, protocol) of each socket
        With the last descriptor the namespace is gone; no process stays in it.
        """
        with self._ask(("network", tuple(socket_specs)), ()) as channel:
            _, _, fds = self._answer(channel)
            return fds[0], fds[1:]

    def spawn_helper(
        self, argv: Sequence[str], descriptors: Sequence[int], *, netns_fd: int = -1
    ) -> int:
        """Start a program beside the zygote and return its pidfd.

        argv: from an absolute path on
        descriptors: what become 0, 1, 2, ... of the program, which gets no others
        netns_fd: a network namespace for it to run in, instead of the host's
        It is killed when this process ends, however it ends. Raises OSError if exec fails.
        """
        extra = (*descriptors, netns_fd) if netns_fd >= 0 else tuple(descriptors)
        with self._ask(("helper", tuple(argv), netns_fd >= 0), extra) as channel:
            kind, body, fds = self._answer(channel)
            if kind == init.EXEC:
                number = marshal.loads(body)
                raise OSError(number, os.strerror(number), argv[0])
            return fds[0]

    def _ask(self, request: object, fds: Sequence[int]) -> socket.socket:
        """Send a request with a channel for its answers, and return our end of it."""
        data = _pickled(request)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = -1
        try:
            if len(data) <= _INLINE_BYTES:
                message, sent = b"I" + data, [theirs.fileno(), *fds]
            else:
                memory = os.memfd_create("request")
                with open(memory, "wb", closefd=False) as file:
                    file.write(data)
                message, sent = b"M", [memory, theirs.fileno(), *fds]
            with self._lock:
                if self._gone:
                    raise BrokenPipeError  # another thread noticed it first
                socket.send_fds(self._control, [message], sent)
        except (BrokenPipeError, ConnectionError):
            ours.close()
            raise self._lost() from None
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            if memory >= 0:
                os.close(memory)
        return ours

    def _answer(self, channel: socket.socket) -> tuple[bytes, bytes, list[int]]:
        """Read one answer; an error in it is raised."""
        data, fds = receive(channel, 64)
        if not data:
            raise self._lost()
        kind, body = data[:1], data[1:]
        if kind == init.ERROR:
            for fd in fds:
                os.close(fd)
            raise error_of(body)
        return kind, body, fds

    def _lost(self) -> BuildkitError:
        """The zygote is dead: reap it, remove what it left, and return what to raise."""
        with self._lock:
            if not self._gone:
                self._gone = True
                with contextlib.suppress(OSError):
                    said = self._control.recv(1 << 13, socket.MSG_DONTWAIT).decode()
                    self._last_words = tuple(said.splitlines())
                self._control.close()
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(self.pid, 0)
                cgroups.sweep(self.host.cgroups)
        if self._last_words:
            return Bug("the zygote failed", code="bug/zygote", notes=self._last_words)
        return ZygoteLost(
            "the process that containers are started from was killed",
            hint="was it the kernel, for want of memory? see `dmesg`",
        )

    def close(self) -> None:
        """End the zygote and wait for it: containers are killed, cgroups removed."""
        with self._lock:
            if self._gone:
                return
            self._gone = True
            self._control.close()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)

    def __enter__(self) -> Zygote:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _pickled(value: object) -> bytes:
    import pickle

    return pickle.dumps(value, protocol=5)


def _command() -> list[str]:
    """Return the zygote's command line: no site, no environment, our package's folder last."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    program = (
        "import sys; sys.path.append(sys.argv[1]); "
        "from buildkit_py.runtime.zygote_loop import main; main()"
    )
    return [os.path.realpath(sys.executable), "-I", "-S", "-X", "utf8", "-c", program, package]


def _prepare_stubs(container: Container) -> tuple[str, bool]:
    """Return the directory of mount points below all layers, or "", and whether to remove it."""
    root = container.root
    if not isinstance(root, Overlay) or not container.stubs:
        return "", False
    is_directory = {
        spec.source: not os.path.exists(spec.source) or os.path.isdir(spec.source)
        for spec in container.mounts
        if isinstance(spec, Bind)
    }
    targets = mount_points(container, is_directory=is_directory)
    if root.stubs:
        return stubs.shared_lower(root.stubs, targets), False
    path = root.work.rstrip("/") + "-stubs"
    stubs.remove_lower(path)  # of a process that was killed
    stubs.prepare_lower(path, targets)
    return path, True
