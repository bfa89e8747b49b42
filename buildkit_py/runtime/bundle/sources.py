"""Sources of binds that the mapped root may not reach, opened for it by who creates the container.

A helper joins the container's mount namespace with the rights that we have: so it sees the mounts
that were made there meanwhile, and the kernel keeps the flags of the machine's mounts locked.
"""

from __future__ import annotations

import errno
import os
import socket

from buildkit_py.core.errors import HostError
from buildkit_py.runtime.kernel import mounts, processes
from buildkit_py.runtime.kernel.syscalls import CLONE_NEWNS, KernelError
from buildkit_py.runtime.process import receive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import NoReturn


def hand_over(channel: socket.socket, request: bytes, pid: int, known: Collection[str]) -> None:
    """Answer the first process with a mount tree, or with why there is none.

    request: `r` or `-`, whether with what is mounted beneath, and the path
    known: the sources in the container's configuration
    """
    path = os.fsdecode(request[1:])
    if path not in known:
        raise HostError("the container asked for what is no source of its", code="host/set-up")
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        helper, pidfd = processes.clone3(0)
        if helper == 0:
            _open(far, pid, path, recursive=request[:1] == b"r")
        far.close()
        data, fds = receive(near, 1)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
    finally:
        near.close()
        far.close()
    if not fds:
        channel.send(data or str(errno.EIO).encode())
        return
    try:
        socket.send_fds(channel, [b"tree"], fds)
    finally:
        os.close(fds[0])


def _open(channel: socket.socket, pid: int, path: str, *, recursive: bool) -> NoReturn:
    """Be the helper."""
    try:
        processes.die_with_parent()
        processes.enter_namespaces(os.pidfd_open(pid), CLONE_NEWNS)
        socket.send_fds(channel, [b"tree"], [mounts.open_tree(path, recursive=recursive)])
    except (KernelError, OSError) as error:
        channel.send(str(error.errno or errno.EIO).encode())
    finally:
        os._exit(0)
