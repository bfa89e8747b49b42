"""Whole trees copied and merged: what stands in for overlay where the kernel refuses it.

Both trees belong to the store and nobody writes in them meanwhile, so they are walked by path;
links are never followed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterable

from buildkit_py.store.trees import empty_directory, remove_beneath

_FICLONE = 0x40049409  # include/uapi/linux/fs.h
_CHUNK = 1 << 20
_OVERLAY = ("trusted.overlay.", "user.overlay.")


def copy_tree(source: str, target: str, *, keep_links: bool = False) -> None:
    """Copy all that is in directory `source` into the empty directory `target`.

    Owners, modes, times, attributes and holes stay; data is shared where the file system can
    (FICLONE), else copied by the kernel. The target's own attributes become the source's.
    Sockets are left out.

    keep_links: names of one file stay names of one file. A snapshot does not want that: overlay
        parts them when one is written to, and the same step must give the same layer on both
    """
    linked: dict[tuple[int, int], bytes] = {}
    finished: list[tuple[bytes, bytes, os.stat_result]] = []
    waiting = [(os.fsencode(source), os.fsencode(target))]
    while waiting:
        old, new = waiting.pop()
        finished.append((old, new, os.lstat(old)))
        for name in sorted(os.listdir(old)):
            a, b = old + b"/" + name, new + b"/" + name
            state = os.lstat(a)
            if stat.S_ISDIR(state.st_mode):
                os.mkdir(b, 0o700)
                waiting.append((a, b))
                continue
            if keep_links and state.st_nlink > 1:
                first = linked.setdefault((state.st_dev, state.st_ino), b)
                if first is not b:
                    os.link(first, b, follow_symlinks=False)
                    continue
            if not stat.S_ISSOCK(state.st_mode):
                _copy_one(a, b, state)
    # Children before their parents: whatever is put into a directory changes its time.
    for old, new, state in reversed(finished):
        copy_attributes(old, new, state)


def _copy_one(old: bytes, new: bytes, state: os.stat_result) -> None:
    if stat.S_ISREG(state.st_mode):
        _copy_file(old, new, state.st_size)
    elif stat.S_ISLNK(state.st_mode):
        os.symlink(os.readlink(old), new)
    else:
        os.mknod(new, stat.S_IFMT(state.st_mode) | 0o600, state.st_rdev)
    copy_attributes(old, new, state)


def _copy_file(old: bytes, new: bytes, size: int) -> None:
    source = os.open(old, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        target = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if size:
                _copy_data(source, target, size)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_data(source: int, target: int, size: int) -> None:
    try:
        fcntl.ioctl(target, _FICLONE, source)
        return
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
            raise
    position = 0
    while position < size:
        try:
            position = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break  # only a hole follows
            raise
        end = os.lseek(source, position, os.SEEK_HOLE)
        while position < end:
            position += _copy_piece(source, target, position, min(end - position, _CHUNK))
    os.ftruncate(target, size)


def _copy_piece(source: int, target: int, position: int, size: int) -> int:
    try:
        copied = os.copy_file_range(source, target, size, position, position)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        copied = os.pwrite(target, os.pread(source, size, position), position)
    if not copied:
        raise OSError(errno.EIO, "a file became shorter while it was copied")
    return copied


def copy_attributes(old: bytes, new: bytes, state: os.stat_result) -> None:
    """Give `new` the owner, mode, extended attributes and times of `old`; no marks of overlay."""
    own = os.lstat(new)
    if (own.st_uid, own.st_gid) != (state.st_uid, state.st_gid):
        os.chown(new, state.st_uid, state.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(state.st_mode):
        os.chmod(new, stat.S_IMODE(state.st_mode))
        _copy_xattrs(old, new)
    os.utime(new, ns=(state.st_atime_ns, state.st_mtime_ns), follow_symlinks=False)


def _copy_xattrs(old: bytes, new: bytes) -> None:
    try:
        names = os.listxattr(old, follow_symlinks=False)
        extra = set(os.listxattr(new, follow_symlinks=False)) - set(names)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return
        raise
    for name in names:
        if name.startswith(_OVERLAY):
            continue
        try:
            os.setxattr(new, name, os.getxattr(old, name, follow_symlinks=False))
        except OSError as error:
            # Labels of security modules are the kernel's to give.
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENODATA):
                raise
    for name in extra:
        if name.startswith("user.") or name == "security.capability":
            os.removexattr(new, name)


def merge_tree(
    upper: str,
    target: str,
    removed: Iterable[tuple[bytes, ...]],
    opaque: Iterable[tuple[bytes, ...]],
) -> None:
    """Carry out in `target` what a layer unpacked in `upper` means; `upper` is used up.

    removed: names that are gone; opaque: directories that keep nothing of what they had
    Files are moved, not copied: both must be on one file system.
    """
    root = os.fsencode(target)
    for parts in removed:
        _change_at(root, parts, remove_beneath)
    for parts in opaque:
        _change_at(root, parts, _empty)
    finished: list[tuple[bytes, bytes, os.stat_result]] = []
    waiting = [(os.fsencode(upper), root)]
    while waiting:
        old, new = waiting.pop()
        finished.append((old, new, os.lstat(old)))
        for name in sorted(os.listdir(old)):
            a, b = old + b"/" + name, new + b"/" + name
            if _is_directory(a) and _is_directory(b):
                waiting.append((a, b))
                continue
            _change_at(new, (name,), remove_beneath)
            os.rename(a, b)
    for old, new, state in reversed(finished):
        copy_attributes(old, new, state)


def _is_directory(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _empty(parent_fd: int, name: bytes) -> None:
    if stat.S_ISDIR(os.lstat(name, dir_fd=parent_fd).st_mode):
        empty_directory(parent_fd, name)


def _change_at(root: bytes, parts: tuple[bytes, ...], change: object) -> None:
    """Call `change` with the directory's descriptor and the name; do nothing where none is."""
    assert callable(change)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(root, flags)
    try:
        for part in parts[:-1]:
            inner = os.open(part, flags, dir_fd=fd)
            os.close(fd)
            fd = inner
        change(fd, parts[-1])
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    finally:
        os.close(fd)
