"""The file that our processes run from: Python's program, where no container can write to it.

A program `#!/proc/self/exe` makes the kernel run the file that the process before it ran: of a
container's first process, and of each that joins one, the host's Python. With a descriptor of
that, root in the container could overwrite it (CVE-2019-5736). So whoever becomes a program of a
container runs from a read-only mount of that one file, or from a sealed copy in memory.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys

from buildkit_py.core.errors import HostError
from buildkit_py.runtime.kernel import mounts
from buildkit_py.runtime.kernel.syscalls import KernelError

_SELF = "/proc/self/exe"
_ST_RDONLY = 1
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_MARK = "_BUILDKIT_PY_STARTED_ANEW"


def start_anew() -> None:
    """Start this process's program again, from where nobody can write to it, unless it is there.

    To be called early, by a process with one thread: what it did so far is done twice. Returns in
    the process that runs from a safe place. Raises HostError where there is none.
    """
    mark = os.environ.pop(_MARK, "")
    if is_safe():
        return
    if mark == str(os.getpid()):
        raise HostError(
            "this Python cannot be protected from what runs in containers",
            code="host/no-safe-interpreter",
        )
    fd = read_only()
    environment = {**os.environ, _MARK: str(os.getpid())}
    os.execve(fd, sys.orig_argv, environment)


def is_safe() -> bool:
    """Say whether no id of a container of ours can write to the file that we run from."""
    if os.statvfs(_SELF).f_flag & _ST_RDONLY:
        return True
    if os.geteuid() != 0:
        # Containers have our ids at most: their own, and subordinate ones, which own no program.
        return os.stat(_SELF).st_uid != os.geteuid() and not os.access(_SELF, os.W_OK)
    fd = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS == _SEALS
    except OSError:  # no file in memory
        return False
    finally:
        os.close(fd)


def read_only() -> int:
    """Return a descriptor of Python's program that nobody can write through."""
    try:
        return _read_only_mount()
    except OSError:
        return _sealed_copy()
    except KernelError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
            raise
        return _sealed_copy()


def _read_only_mount() -> int:
    # /proc/self/exe itself leads to a mount of the namespace that this process was started in,
    # and only a mount of our own can be cloned: the same file is looked up by its path.
    fd = mounts.open_tree(os.readlink(_SELF))
    try:
        if not os.path.samestat(os.fstat(fd), os.stat(_SELF)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), sys.executable)
        mounts.mount_setattr("", at=fd, set_=mounts.MOUNT_ATTR_RDONLY)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _sealed_copy() -> int:
    fd = os.memfd_create("python", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(_SELF, "rb") as program:
            while os.sendfile(fd, program.fileno(), None, 1 << 30):
                pass
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        # What is open for writing cannot be executed.
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(fd)
