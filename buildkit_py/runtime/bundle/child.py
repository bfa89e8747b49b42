"""What a bundle's first process does between its birth and its program.

As in `runtime/init.py` nothing is imported, buffered or returned here. Unlike there the process
outlives who made it: it waits at a socket until somebody says `start`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable

from buildkit_py.runtime import init
from buildkit_py.runtime.bundle.plan import FLAGS, BundlePlan
from buildkit_py.runtime.bundle.process import EnterTime, with_home
from buildkit_py.runtime.kernel import processes, scheduling
from buildkit_py.runtime.kernel.syscalls import CLONE_NEWCGROUP, CLONE_NEWNET
from buildkit_py.runtime.network.interface import configure_loopback
from buildkit_py.runtime.process import receive
from buildkit_py.runtime.setup import SetupOp, Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_ENDING = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip

SET_UP = b"H"
"""All is mounted: the hooks of the runtime are due."""

SOURCE = b"B"
"""We may not reach what is to be bound: who creates us may."""


def run(
    plan: BundlePlan,
    *,
    channel: socket.socket,
    listener: socket.socket,
    join_cgroups: tuple[int, ...],
    namespaces: tuple[tuple[int, str], ...],
    mapped: bool,
    joined_user: bool,
    create_hooks: Callable[[], None],
    start_hooks: Callable[[tuple[str, ...]], None] | None,
    preserve: int,
    close: tuple[int, ...] = (),
) -> NoReturn:
    """Be the container's first process; ends in execve or exit.

    channel: to who creates it; listener: where `start` connects to
    namespaces: (descriptor, type) to be joined; mapped: wait for the maps of a user namespace
    joined_user: we were born in one that was there
    create_hooks, start_hooks: run those of the container; the latter with its environment
    preserve: how many descriptors from 3 on the program gets
    close: descriptors of the creator's that must not outlive it: its lock, for one
    """
    send = _patient(channel)
    operation, code = "start", 1
    try:
        sys.meta_path.clear()
        sys.path.clear()
        os.umask(0)
        for fd in close:
            os.close(fd)
        for fd in join_cgroups:
            os.write(fd, b"0")
            os.close(fd)
        scheduling.use_all_processors()
        if mapped and channel.recv(16) != b"mapped":
            os._exit(0)
        work = Workspace(note=lambda text: send(init.NOTE + text.encode(), -1))
        work.ask = lambda path, recursive: _ask(channel, path, recursive=recursive)
        clocks = tuple(op for op in plan.before if isinstance(op, EnterTime))
        # With other ids we could not write to our own files of /proc any more.
        operation = _all(clocks, work)
        if mapped or joined_user:
            processes.set_ids(0, 0)
        if join_cgroups and plan.flags & CLONE_NEWCGROUP:
            processes.unshare(CLONE_NEWCGROUP)
        for fd, kind in namespaces:
            operation = f"join the namespace `{kind}`"
            processes.join_namespace(fd, FLAGS[kind])
            os.close(fd)
        if plan.flags & CLONE_NEWNET:
            operation = "bring lo up"
            configure_loopback()
        operation = _all(plan.before[len(clocks) :], work)
        operation = "hooks"
        send(SET_UP, -1)
        if channel.recv(16) != b"go":
            os._exit(0)
        os.fchdir(work.root)  # where runc and crun let them begin
        create_hooks()
        operation = _all(plan.pivot, work)
        if complaint := _missing(plan):
            send(init.EXEC + bytes([127]) + complaint.encode(), -1)
            os._exit(127)
        send(init.READY, work.terminal)
        channel.close()
        operation = "wait for the start"
        starter = _wait(listener, work, preserve)
        send = _patient(starter)
        work.note = lambda text: send(init.NOTE + text.encode(), -1)
        work.channel = starter.fileno()
        env = with_home(plan.env, plan.uid, work.root)
        # Before the filter of system calls, which may allow nothing but execve.
        processes.close_on_exec_from(3 + preserve)
        processes.reset_signals()
        operation = _all(plan.after, work)
        # Programs of the image: they may do what the container may, and no more.
        if start_hooks is not None:
            start_hooks(env)
        operation = "execve"
        code = init.execute(plan.args, env, send)
    except BaseException as error:
        init.complain_of(send, operation, error)
    os._exit(code)


def _wait(listener: socket.socket, work: Workspace, preserve: int) -> socket.socket:
    """Wait for `start` with nothing open that is not needed: others are in here already.

    A first process is spared signals that it does not handle: so it handles those to end it.
    """
    work.sys = work.dev = work.pts = work.null = work.empty = work.terminal = -1
    keep = {*range(3 + preserve), listener.fileno(), work.root, work.proc}
    processes.close_all_but(keep)
    for number in _ENDING:
        signal.signal(number, _end)
    starter, _ = listener.accept()
    listener.close()
    return starter


def _ask(channel: socket.socket, path: str, *, recursive: bool) -> int:
    """Return the tree of mounts at a path that we may not reach. Raises OSError."""
    init.sender(channel)(SOURCE + (b"r" if recursive else b"-") + os.fsencode(path), -1)
    data, fds = receive(channel, 1)
    if fds:
        return fds[0]
    raise OSError(int(data), os.strerror(int(data)))


def _end(number: int, frame: object) -> None:
    os._exit(128 + number)


def _missing(plan: BundlePlan) -> str:
    """Say that the program is nowhere: better when it is created than when it is started.

    Whether it may be run is left to its execve, with the rights that it has then.
    """
    if not plan.args:
        return ""
    program = plan.args[0]
    if "/" in program:
        path = os.path.join(plan.cwd, program)
        return "" if os.path.lexists(path) else f"`{program}`: No such file or directory"
    values = dict(entry.split("=", 1) for entry in plan.env)
    folders = values.get("PATH", "").split(":")
    for folder in folders:
        if program and os.path.lexists(os.path.join(plan.cwd, folder, program)):
            return ""
    return f"`{program}`: executable file not found in $PATH"


def _all(operations: tuple[SetupOp, ...], work: Workspace) -> str:
    name = ""
    for op in operations:
        name = init.run_operation(op, work)
    return name


def _patient(channel: socket.socket) -> init.Send:
    """Return what writes to whom may be gone: the container lives on without."""
    send = init.sender(channel)

    def patient(data: bytes, fd: int) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            send(data, fd)

    return patient
