"""Files that change whole or not at all, and locks between processes."""

from __future__ import annotations

import fcntl
import os
import struct
from types import TracebackType

from buildkit_py.core.digest import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


def write_atomically(path: str, data: bytes, *, mode: int = 0o644, sync: bool = True) -> None:
    """Replace `path` by a file with `data`: readers see the old or the new one, never a part.

    sync: also survive a loss of power (fsync of the file and of its directory)
    """
    folder = os.path.dirname(path)
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.part"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if sync:
        sync_folder(folder)


def sync_folder(path: str) -> None:
    """Make the names in a directory survive a loss of power."""
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Lock:
    """A lock between processes, held while its file descriptor is open.

        with Lock(os.path.join(root, "lock")):
            ...

    shared: many may hold it at once, but none together with an exclusive holder
    The kernel releases it when the holder dies, however it dies.
    """

    def __init__(self, path: str, *, shared: bool = False) -> None:
        self.path = path
        self.shared = shared
        self.fd = -1

    def __enter__(self) -> Self:
        if self.fd < 0:
            self.acquire()
        return self

    def acquire(self, *, wait: bool = True) -> bool:
        """Take the lock; with wait=False return False at once when somebody else has it."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._take(fd, wait=wait)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd
        return True

    def _take(self, fd: int, *, wait: bool) -> None:
        kind = fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX
        fcntl.flock(fd, kind | (0 if wait else fcntl.LOCK_NB))

    def release(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class NameLock(Lock):
    """A lock between processes on a name. All names share one file, in which each has a byte.

    So there may be any number of names, and none leaves a file behind.
    """

    _FLOCK = struct.Struct("hhqqi4x")

    def __init__(self, path: str, name: str, *, shared: bool = False) -> None:
        super().__init__(path, shared=shared)
        self.name = name
        self.byte = int(sha256(name.encode("utf-8", "surrogateescape"))[7:22], 16)

    def _take(self, fd: int, *, wait: bool) -> None:
        kind = fcntl.F_RDLCK if self.shared else fcntl.F_WRLCK
        do = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
        fcntl.fcntl(fd, do, self._FLOCK.pack(kind, os.SEEK_SET, self.byte, 1, 0))
