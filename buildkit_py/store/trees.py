"""Whole directory trees: removed and measured, however deep or odd they are.

A step can leave a tree that is deeper than Python's recursion limit, than PATH_MAX, and than the
number of descriptors a process may have; what is removed here is reached one component at a time
and no link is followed.
"""

from __future__ import annotations

import os
import stat

_DEEPEST = 64
"""Descriptors held at once; a directory below that depth is moved up and removed from there."""


def remove_tree(path: str) -> None:
    """Remove a directory and all beneath it, or a file; nothing there is fine.

    Raises OSError for the first thing that cannot be removed.
    """
    parent, name = os.path.split(path)
    try:
        fd = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_beneath(fd, os.fsencode(name))
    finally:
        os.close(fd)


def remove_beneath(parent_fd: int, name: bytes) -> None:
    """Remove `name` in the directory `parent_fd`, with all beneath it."""
    try:
        os.unlink(name, dir_fd=parent_fd)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        # unlink(2) of a directory is EISDIR on Linux, EPERM by POSIX
        if not stat.S_ISDIR(os.lstat(name, dir_fd=parent_fd).st_mode):
            raise
    empty_directory(parent_fd, name)
    os.rmdir(name, dir_fd=parent_fd)


def empty_directory(parent_fd: int, name: bytes) -> None:
    """Remove all that is in the directory `name`, and keep the directory."""
    top = _open_to_change(parent_fd, name)
    stack: list[tuple[int, bytes]] = [(top, name)]
    try:
        while stack:
            fd, own_name = stack[-1]
            inner = _remove_files(fd)
            if inner is None:
                stack.pop()
                if stack:
                    os.rmdir(own_name, dir_fd=stack[-1][0])
                    os.close(fd)
            elif len(stack) < _DEEPEST:
                stack.append((_open_to_change(fd, inner), inner))
            else:
                os.rename(
                    inner,
                    b".moved-" + os.urandom(8).hex().encode(),
                    src_dir_fd=fd,
                    dst_dir_fd=top,
                )
    finally:
        for fd, _ in stack[1:]:
            os.close(fd)
        os.close(top)


def _open_to_change(parent_fd: int, name: bytes) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=parent_fd)
    except PermissionError:
        # An owner without CAP_DAC_OVERRIDE meets directories without rights for the owner.
        os.chmod(name, 0o700, dir_fd=parent_fd)
        fd = os.open(name, flags, dir_fd=parent_fd)
    if os.fstat(fd).st_mode & 0o300 != 0o300:
        os.fchmod(fd, 0o700)
    return fd


def _remove_files(fd: int) -> bytes | None:
    """Remove everything but directories that are not empty; return one of those, if any."""
    found: bytes | None = None
    with os.scandir(fd) as entries:
        names = [(os.fsencode(e.name), e.is_dir(follow_symlinks=False)) for e in entries]
    for name, is_directory in names:
        if not is_directory:
            os.unlink(name, dir_fd=fd)
            continue
        try:
            os.rmdir(name, dir_fd=fd)
        except OSError:
            found = name
    return found


def disk_usage(path: str) -> int:
    """Return the bytes of disk that a tree occupies, hard links counted once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting = [os.fsencode(path)]
    while waiting:
        folder = waiting.pop()
        total += os.lstat(folder).st_blocks * 512
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                state = entry.stat(follow_symlinks=False)
                if state.st_nlink > 1:
                    if (state.st_dev, state.st_ino) in seen:
                        continue
                    seen.add((state.st_dev, state.st_ino))
                total += state.st_blocks * 512
    return total
