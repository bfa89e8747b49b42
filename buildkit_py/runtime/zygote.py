"""The zygote: a small process with one thread, from which containers are cloned.

A big process must not clone: its memory makes a fork slow (a 500 MB heap costs 30 ms), and its
threads hold locks that the child would wait for, for ever. So a copy of the process is taken
while it is young, and asked. This module is the asking side, `zygote_loop` the asked one.

    host = userns.enter()
    with Zygote.start(host) as zygote:      # before threads and heavy imports
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
import threading
from collections.abc import Sequence
from types import TracebackType

from buildkit_py.core.errors import Bug, HostError
from buildkit_py.runtime import init, stubs, zygote_loop
from buildkit_py.runtime.host import Host
from buildkit_py.runtime.kernel import cgroups
from buildkit_py.runtime.plan import mount_points, plan
from buildkit_py.runtime.process import Process, error_of, receive
from buildkit_py.runtime.spec import Bind, Container, Overlay

_INLINE_BYTES = 1 << 16
"""Longer requests travel in a memfd: a message must fit into the socket's buffer."""


class Zygote:
    """The zygote of this process; safe to use from many threads."""

    def __init__(self, host: Host, control: socket.socket, pid: int) -> None:
        self.host = host
        self.pid = pid
        self._control = control
        self._lock = threading.Lock()
        self._gone = False

    @classmethod
    def start(cls, host: Host) -> Zygote:
        """Fork the zygote. Raises Bug when this process has threads already.

        What dead owners left in cgroups is swept away first.
        """
        if len(os.listdir("/proc/self/task")) > 1:
            raise Bug("the zygote must be started before any thread", code="bug/zygote-late")
        cgroups.sweep(host.cgroups)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            ours.close()
            zygote_loop.run(theirs, host)
        theirs.close()
        return cls(host, ours, pid)

    def create(self, container: Container, *, stdin: int, stdout: int, stderr: int) -> Process:
        """Make a container that is set up and waits: its namespaces exist, its program not yet.

        stdin, stdout, stderr: descriptors, which stay the caller's; with a terminal unused
        Raises InputError for what cannot be, HostError for what this machine cannot.
        """
        lower = _prepare_stubs(container)
        try:
            chosen = plan(container, self.host, stubs=lower)
            channel = self._ask(("create", chosen, container.limits), (stdin, stdout, stderr))
            try:
                warnings: list[str] = []
                while True:
                    kind, body, fds = self._answer(channel)
                    if kind != init.NOTE:
                        break
                    warnings.append(body.decode())
            except BaseException:
                channel.close()
                raise
        except BaseException:
            if lower:
                stubs.remove_lower(lower)
            raise

        def cleanup(rows: list[stubs.Stub]) -> None:
            if rows and container.stubs:
                root = container.root
                stubs.remove(root.upper if isinstance(root, Overlay) else root.path, rows)
            if lower:
                stubs.remove_lower(lower)

        process = Process(
            channel,
            pid=marshal.loads(body),
            pidfd=fds[0],
            netns=fds[1] if len(fds) > 1 else -1,
            cleanup=cleanup,
            lost=self._lost,
        )
        process.warnings += warnings
        return process

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
        import pickle

        data = pickle.dumps(request, protocol=5)
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

    def _lost(self) -> HostError:
        """The zygote is dead: reap it, remove what it left, and return what to raise."""
        with self._lock:
            if not self._gone:
                self._gone = True
                self._control.close()
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(self.pid, 0)
                cgroups.sweep(self.host.cgroups)
        return HostError(
            "the process that containers are started from was killed",
            code="host/zygote-lost",
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


def _prepare_stubs(container: Container) -> str:
    """Make the directory of mount points below all layers, and return its path, or ""."""
    root = container.root
    if not isinstance(root, Overlay) or not container.stubs:
        return ""
    is_directory = {
        spec.source: not os.path.exists(spec.source) or os.path.isdir(spec.source)
        for spec in container.mounts
        if isinstance(spec, Bind)
    }
    path = root.work.rstrip("/") + "-stubs"
    stubs.remove_lower(path)  # of a process that was killed
    stubs.prepare_lower(path, mount_points(container, is_directory=is_directory))
    return path
