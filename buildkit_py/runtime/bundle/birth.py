"""The birth of a process in namespaces that there are: those of users and of processes.

Both concern who makes it: children are born in another process namespace than their parent's, and
rights over the others come with the user namespace, from which there is no way back.
"""

from __future__ import annotations

import os
import socket

from buildkit_py.core.errors import HostError
from buildkit_py.runtime.kernel import processes
from buildkit_py.runtime.kernel.syscalls import CLONE_NEWUSER, CLONE_PARENT, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


def bear(
    run: Callable[[], NoReturn],
    *,
    flags: int = 0,
    cgroup_fd: int = -1,
    user_fd: int = -1,
    pid_fd: int = -1,
) -> tuple[int, int]:
    """Make a child that does `run`; return its pid and a pidfd. For a process with one thread.

    flags, cgroup_fd: as for clone3
    user_fd, pid_fd: descriptors of namespaces to be born in, or pidfds of processes in them
    """
    if user_fd >= 0:
        return _bear_beyond(run, flags, cgroup_fd, user_fd, pid_fd)
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if pid_fd >= 0:
            processes.bear_children_in(pid_fd)
        pid, pidfd = processes.clone3(flags, cgroup_fd=cgroup_fd)
        if pid == 0:
            run()
        if pid_fd >= 0:
            processes.bear_children_in(own)  # threads of ours are born here again
    finally:
        os.close(own)
    return pid, pidfd


def _bear_beyond(
    run: Callable[[], NoReturn], flags: int, cgroup_fd: int, user_fd: int, pid_fd: int
) -> tuple[int, int]:
    """Let a helper go into the user namespace; it leaves its child to us, as a sibling."""
    told, teller = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid, helper = processes.clone3(0)
        if pid == 0:
            told.close()
            _help(run, teller, flags, cgroup_fd, user_fd, pid_fd)
        teller.close()
        data, fds, _, _ = socket.recv_fds(told, 256, 1)
        os.waitid(os.P_PIDFD, helper, os.WEXITED)
        os.close(helper)
    finally:
        told.close()
        teller.close()
    if not fds:
        text = data.decode() or "a helper died"
        raise HostError(f"the namespaces cannot be joined: {text}", code="host/set-up")
    return int(data), fds[0]


def _help(
    run: Callable[[], NoReturn],
    teller: socket.socket,
    flags: int,
    cgroup_fd: int,
    user_fd: int,
    pid_fd: int,
) -> NoReturn:
    try:
        processes.join_namespace(user_fd, CLONE_NEWUSER)
        if pid_fd >= 0:
            processes.bear_children_in(pid_fd)
        pid, pidfd = processes.clone3(flags | CLONE_PARENT, cgroup_fd=cgroup_fd)
        if pid == 0:
            teller.close()
            run()
        socket.send_fds(teller, [str(pid).encode()], [pidfd])
    except KernelError as error:
        teller.send(error.message.encode()[:256])
    finally:
        os._exit(0)
