"""Files that change whole or not at all, and locks between processes."""

from __future__ import annotations

import fcntl
import os
from types import TracebackType


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

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def acquire(self, *, wait: bool = True) -> bool:
        """Take the lock; with wait=False return False at once when somebody else has it."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            kind = fcntl.LOCK_SH if self.shared else fcntl.LOCK_EX
            fcntl.flock(fd, kind | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd
        return True

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
