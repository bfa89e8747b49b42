"""Reading, writing and walking cgroup directories that a hostile container may own.

Everything goes by descriptor, one component at a time, and never through a link. A directory or
a file that vanished meanwhile is what a cgroup without processes looks like: it reads as nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import time

from buildkit_py.runtime.kernel.syscalls import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENODEV)
_PATIENCE_SECONDS = 10.0


def open_directory(mount: str, path: str = "") -> int:
    """Open a cgroup beneath a mount point. Raises OSError; FileNotFoundError where none is."""
    here = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in path.split("/") if path else ():
        try:
            below = os.open(name, _DIRECTORY, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here


@contextlib.contextmanager
def opened(mount: str, path: str = "") -> Iterator[int]:
    """Open a cgroup for the length of a block."""
    fd = open_directory(mount, path)
    try:
        yield fd
    finally:
        os.close(fd)


def read(directory_fd: int, name: str) -> str:
    """Return a file's text, however long. Raises OSError."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        parts = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts).decode(errors="replace")
    finally:
        os.close(fd)


def read_or_empty(directory_fd: int, name: str) -> str:
    """Return a file's text, "" when this kernel does not have the file or will not tell."""
    try:
        return read(directory_fd, name)
    except OSError:
        return ""


def write(directory_fd: int, name: str, text: str) -> None:
    """Write a file in one call, as cgroup files want it. Raises OSError."""
    fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def has(directory_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except OSError:
        return False
    return True


def children(directory_fd: int) -> list[str]:
    """Return the names of the cgroups right beneath, sorted."""
    try:
        with os.scandir(directory_fd) as entries:
            return sorted(each.name for each in entries if each.is_dir(follow_symlinks=False))
    except OSError as error:
        if error.errno in _GONE:
            return []
        raise


def walk(directory_fd: int) -> Iterator[int]:
    """Yield a descriptor of a cgroup and of each one beneath it, good until the next is asked for.

    One descriptor at a time and no recursion: a container may nest as deep as it likes.
    """
    here = os.open(".", _DIRECTORY, dir_fd=directory_fd)
    try:
        left = [children(here)]
        yield here
        while left:
            if left[-1]:
                try:
                    below = os.open(left[-1].pop(), _DIRECTORY, dir_fd=here)
                except FileNotFoundError:
                    continue
                left.append([])
            else:
                left.pop()
                if not left:
                    return
                # Cgroups cannot be moved to another parent: `..` is where we came from.
                below = os.open("..", _DIRECTORY, dir_fd=here)
                os.close(here)
                here = below
                continue
            os.close(here)
            here = below
            left[-1] = children(here)
            yield here
    finally:
        os.close(here)


def pids(directory_fd: int) -> list[int]:
    """Return the processes in one cgroup, without those that our pid namespace cannot see."""
    try:
        text = read(directory_fd, "cgroup.procs")
    except OSError as error:
        # A threaded cgroup lists no processes; those are listed by the domain above it.
        if error.errno in (*_GONE, errno.EOPNOTSUPP):
            return []
        raise
    return [int(word) for word in text.split() if word != "0"]


def wait_for_event(
    directory_fd: int, key: str, value: str, *, timeout_seconds: float = _PATIENCE_SECONDS
) -> bool:
    """Wait until `cgroup.events` has `key value`; tell whether it came. cgroup2 only.

    The kernel wakes whoever polls that file: Documentation/admin-guide/cgroup-v2.rst.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    deadline = time.monotonic() + timeout_seconds
    try:
        fd = os.open("cgroup.events", flags, dir_fd=directory_fd)
    except FileNotFoundError:
        return False
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        while True:
            if f"{key} {value}" in os.pread(fd, 4096, 0).decode().splitlines():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poll.poll(max(1, int(left * 1000)))
    except OSError as error:
        if error.errno in _GONE:
            return key == "populated"
        raise
    finally:
        os.close(fd)


def remove_tree(parent_fd: int, name: str, *, timeout_seconds: float = _PATIENCE_SECONDS) -> None:
    """Remove a cgroup and all beneath it, innermost first; its processes are dead or dying.

    Raises KernelError when it stays busy.
    """
    deadline = time.monotonic() + timeout_seconds
    try:
        here = os.open(name, _DIRECTORY, dir_fd=parent_fd)
    except FileNotFoundError:
        return
    names = [name]
    try:
        while names:
            below = -1
            for child in children(here):
                with contextlib.suppress(FileNotFoundError):
                    below = os.open(child, _DIRECTORY, dir_fd=here)
                    names.append(child)
                    break
            if below < 0:
                below = os.open("..", _DIRECTORY, dir_fd=here)
                _remove(below, here, names.pop(), deadline)
            os.close(here)
            here = below
    finally:
        os.close(here)


def _remove(parent_fd: int, directory_fd: int, name: str, deadline: float) -> None:
    """Remove one directory. A dying process keeps it busy for a moment."""
    wait_seconds = 0.001
    while True:
        try:
            os.rmdir(name, dir_fd=parent_fd)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            left = deadline - time.monotonic()
            if error.errno != errno.EBUSY or left <= 0:
                raise KernelError("rmdir", name, error.errno or 0) from None
        if "populated 1" in read_or_empty(directory_fd, "cgroup.events"):
            wait_for_event(directory_fd, "populated", "0", timeout_seconds=left)
        else:  # v1 tells nobody
            time.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, 0.05)
