"""What the child of a clone does: set up, wait at the barrier, confine itself, exec.

Everything it needs was imported by the zygote: once the container's root is in place, an import
would run code of the image with our rights. Nothing here is buffered, logs, or returns.

Messages to the parent are one byte for the kind and then fields: see `Kind`.
"""

from __future__ import annotations

import errno
import marshal
import os
import socket
import sys
from collections.abc import Callable, Sequence

from buildkit_py.core.errors import BuildkitError, HostError, InputError
from buildkit_py.runtime import reap
from buildkit_py.runtime.kernel import processes
from buildkit_py.runtime.kernel.command_line import Memory
from buildkit_py.runtime.kernel.syscalls import CLONE_NEWCGROUP
from buildkit_py.runtime.setup import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.runtime.plan import Plan
    from buildkit_py.runtime.setup import SetupOp

    Network = Callable[[Plan], Sequence[socket.socket]]
    """Brings the interfaces of this network namespace up; returns sockets to be handed out."""

READY, NOTE, STUBS, ERROR, EXEC, EXIT, STARTED = b"R", b"N", b"S", b"E", b"X", b"Q", b"P"
SOCKET = b"D"
LISTENER = b"L"
"""Kinds of messages on the channel of a container; see process.py for who reads them.

LISTENER: of a bundle's filter of system calls, see bundle/listener.py
EXEC: why the program cannot be run, behind one byte: docker's exit code for that
"""

Send = Callable[[bytes, int], None]
"""Writes a message, with a descriptor or -1, to a channel."""


def run_child(
    plan: Plan,
    *,
    channel: int,
    send: Send,
    stdio: tuple[int, int, int],
    join: tuple[int, ...],
    network: Network,
    memory: Memory,
) -> None:
    """Be the container's first process; ends in execve or exit, never returns.

    send: writes a message, with a descriptor or -1, to the channel
    join: descriptors of cgroup.procs files to enter before the cgroup namespace is made
    memory: of the process that this one is a fork of
    """
    operation = "start"
    try:
        processes.die_with_parent()
        # From here on nothing can be imported: an import that we overlooked fails, and never
        # runs the image's code.
        sys.meta_path.clear()
        sys.path.clear()
        os.umask(0)  # modes are meant as they are written; the plan sets the program's umask
        for number, fd in enumerate(stdio):
            os.dup2(fd, number)
        for fd in join:
            os.write(fd, b"0")
        if join:
            processes.unshare(CLONE_NEWCGROUP)
        work = Workspace(note=lambda text: send(NOTE + text.encode(), -1))
        for op in plan.before:
            operation = run_operation(op, work)
        if work.stubs:
            rows = [
                (stub.parent, stub.name, stub.is_directory, stub.before_ns, stub.after_ns)
                for stub in work.stubs
            ]
            send(STUBS + marshal.dumps(rows), -1)
        operation = "barrier"
        if os.read(channel, 16) != b"go":
            os._exit(0)  # the parent lost interest
        if plan.private_network:
            operation = "configure the network"
            for handle in network(plan):
                send(SOCKET, handle.fileno())
                handle.close()
        for op in plan.after:
            operation = run_operation(op, work)
        operation = "execve"
        send(READY, work.terminal)
        processes.close_on_exec_from(3)
        processes.reset_signals()
        if plan.init:
            reap.be_first_process(
                lambda: execute(plan.args, plan.env, send),
                memory=memory, args=plan.args, env=plan.env,
            )  # fmt: skip
        code = execute(plan.args, plan.env, send)
    except BaseException as error:
        complain_of(send, operation, error)
        code = 128
    os._exit(code)


def run_operation(op: SetupOp, work: Workspace) -> str:
    """Run an operation and return what to call it when it fails."""
    try:
        op.run(work)
    except BuildkitError as error:
        error.notes += (f"while setting up the container: {op.describe()}",)
        raise
    except OSError as error:
        text = f"{op.describe()}: {error.strerror}"
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR):
            # The place is not one to mount on: that is the image's or the request's doing.
            raise InputError(text, code="runtime/mount-target") from error
        raise HostError(text, code="host/set-up") from error
    return op.describe()


def complain(send: Send, operation: str, error: BuildkitError) -> None:
    kind = "input" if isinstance(error, InputError) else "host"
    row = (kind, error.code, error.message, error.hint or "", tuple(error.notes), operation)
    try:
        send(ERROR + marshal.dumps(row), -1)
    except OSError:
        return  # nobody listens any more


def complain_of(send: Send, operation: str, error: BaseException) -> None:
    """Tell the parent why `operation` failed, whatever it was."""
    if isinstance(error, OSError):
        error = HostError(f"{operation}: {error}", code="host/set-up")
    elif not isinstance(error, BuildkitError):
        error = HostError(f"{operation}: {error!r}", code="host/set-up")
    complain(send, operation, error)


def sender(channel: socket.socket) -> Send:
    """Return what writes to a channel. Raises OSError when nobody holds the other end any more."""

    def send(data: bytes, fd: int) -> None:
        # A filter of system calls may be loaded by now; SIGPIPE has its default action.
        if fd >= 0:
            socket.send_fds(channel, [data], [fd], socket.MSG_NOSIGNAL)
        else:
            channel.send(data, socket.MSG_NOSIGNAL)

    return send


def execute(args: tuple[str, ...], env: tuple[str, ...], send: Send) -> int:
    """Try execve along PATH, inside the container. Returns docker's exit code for the failure."""
    program = args[0]
    environment = dict(entry.split("=", 1) for entry in env)
    if "/" in program:
        places = [program]
    else:
        folders = environment.get("PATH", "").split(":")
        places = [os.path.join(folder or ".", program) for folder in folders]
    failure = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for place in places if program else ():
        try:
            os.execve(place, args, environment)
        except OSError as error:
            # As execvp(3): go on looking, but remember that there was one we may not run.
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                failure = error
                break
            if error.errno == errno.EACCES or "/" in program:
                failure = error
    denied = failure.errno not in (errno.ENOENT, errno.ENOTDIR)
    text = f"`{program}`: {failure.strerror}"
    if "/" not in program and not denied:
        text = f"`{program}`: executable file not found in $PATH"
    code = 126 if denied else 127
    send(EXEC + bytes([code]) + text.encode(), -1)
    return code
