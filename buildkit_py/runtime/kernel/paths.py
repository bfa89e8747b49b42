"""Paths beneath a root that somebody hostile may have made.

Every path inside a container or a snapshot is resolved here: links stay beneath the root, as if
it were `/`, links of procfs that jump elsewhere are refused, and what comes out is a descriptor,
so that nobody can exchange what was found before it is used. openat2(2), Linux 5.6; where it is
missing or filtered, a walk that opens one component at a time with O_NOFOLLOW does the same.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from buildkit_py.runtime.kernel.syscalls import Call

_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10
_MOST_LINKS = 40  # as the kernel's MAXSYMLINKS
_MOST_TRIES = 128

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


_openat2 = Call("openat2", ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)
_absent = False
"""Whether openat2 was found missing; it does not come back while we run."""


def open_beneath(root_fd: int, path: str, flags: int, mode: int = 0o666) -> int:
    """Open `path` with the directory `root_fd` as its root, and return a descriptor.

    path: absolute or relative, both from the root; `..` at the root stays there
    flags: as for open(2); O_CLOEXEC is always added
    Raises OSError as open(2) does; ELOOP also for links that jump, such as /proc/self/fd/3.
    """
    global _absent
    if "\0" in path:  # the kernel would stop reading there, and open something else
        raise OSError(errno.EINVAL, "a path cannot hold a zero byte", path)
    flags |= os.O_CLOEXEC
    if not _absent:
        creates = flags & (os.O_CREAT | (os.O_TMPFILE & ~os.O_DIRECTORY))
        how = _OpenHow(flags, mode if creates else 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        for _ in range(_MOST_TRIES):
            try:
                return _openat2(root_fd, os.fsencode(path) or b".", how, ctypes.sizeof(how))
            except OSError as error:
                # EAGAIN: a rename elsewhere made the kernel unsure about a `..`; ask again.
                if error.errno == errno.EAGAIN:
                    continue
                if error.errno == errno.ENOSYS:
                    _absent = True
                    break
                # A filter's EPERM looks like the file system's: the walk finds out which it is.
                if error.errno == errno.EPERM and not flags & os.O_CREAT:
                    break
                raise _named(error, path) from None
        else:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)
    try:
        return _walk(root_fd, path, flags, mode)
    except OSError as error:
        raise _named(error, path) from None


def _named(error: OSError, path: str) -> OSError:
    """Return the error with the path people know instead of a component of it."""
    number = error.errno or errno.EIO
    return OSError(number, os.strerror(number), path)


def _walk(root_fd: int, path: str, flags: int, mode: int) -> int:
    """Do what openat2 does, one component at a time. The stack holds the way back for `..`."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    wants_directory = bool(flags & os.O_DIRECTORY) or path.endswith(("/", "/."))
    stack = [os.open(".", _DIRECTORY, dir_fd=root_fd)]
    links = 0
    try:
        while names:
            name = names.pop(0)
            if name == "..":
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            here = stack[-1]
            last = not names
            try:
                if last:
                    extra = os.O_DIRECTORY if wants_directory and not flags & os.O_CREAT else 0
                    fd = os.open(name, flags | extra | os.O_NOFOLLOW, mode, dir_fd=here)
                    if not (flags & os.O_PATH and _is_link(fd)) or flags & os.O_NOFOLLOW:
                        return fd
                    os.close(fd)
                else:
                    stack.append(os.open(name, _DIRECTORY, dir_fd=here))
                    continue
            except OSError as error:
                # A link answers ELOOP, or ENOTDIR where a directory was wanted.
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                if last and (flags & os.O_NOFOLLOW or flags & os.O_EXCL):
                    raise
                if not stat.S_ISLNK(os.lstat(name, dir_fd=here).st_mode):
                    raise
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = os.readlink(name, dir_fd=here)
            if target.startswith("/"):
                while len(stack) > 1:
                    os.close(stack.pop())
            names[:0] = [part for part in target.split("/") if part not in ("", ".")]
        return os.open(".", flags & ~os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=stack[-1])
    finally:
        for fd in stack:
            os.close(fd)


def _is_link(fd: int) -> bool:
    return stat.S_ISLNK(os.fstat(fd).st_mode)


def make_directories_beneath(
    root_fd: int, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0
) -> list[str]:
    """Make `path` a directory beneath `root_fd`, parents included, and return what was made.

    Returns the paths of new directories, without a leading `/`, outermost first; links were
    followed beneath the root, so a path may lead through a link of the container.
    mode, uid, gid: of every new directory, whatever the umask is
    Raises OSError, such as NotADirectoryError where a file stands in the way.
    """
    fd, created = open_directory_beneath(root_fd, path, mode, uid=uid, gid=gid)
    os.close(fd)
    return created


def open_directory_beneath(
    root_fd: int, path: str, mode: int = 0o755, *, uid: int = 0, gid: int = 0
) -> tuple[int, list[str]]:
    """Do as make_directories_beneath, and return (descriptor of the directory, what was made).

    The descriptor is an O_PATH one: good for *at calls and as a place to mount on.
    """
    try:
        return open_beneath(root_fd, path, os.O_PATH | os.O_DIRECTORY), []
    except FileNotFoundError:
        pass
    names = [name for name in path.split("/") if name not in ("", ".")]
    done: list[str] = []
    created: list[str] = []
    links = 0
    here = os.open(".", _DIRECTORY, dir_fd=root_fd)
    try:
        while names:
            name = names.pop(0)
            try:
                inner = open_beneath(root_fd, "/".join([*done, name]), os.O_PATH | os.O_DIRECTORY)
            except FileNotFoundError:
                try:
                    os.mkdir(name, 0o700, dir_fd=here)
                except FileExistsError:
                    # A link that leads nowhere: what it names is made, beneath the root.
                    links += 1
                    if links > _MOST_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
                    target = os.readlink(name, dir_fd=here)
                    names[:0] = [part for part in target.split("/") if part not in ("", ".")]
                    if target.startswith("/"):
                        done = []
                        os.close(here)
                        here = os.open(".", _DIRECTORY, dir_fd=root_fd)
                    continue
                _own(name, here, mode, uid, gid)
                inner = os.open(name, _DIRECTORY, dir_fd=here)
                created.append("/".join([*done, name]))
            os.close(here)
            here = inner
            done.append(name)
        result, here = here, -1
        return result, created
    finally:
        if here >= 0:
            os.close(here)


def _own(name: str, parent_fd: int, mode: int, uid: int, gid: int) -> None:
    """Give a directory just made its owner and mode, by descriptor.

    In a directory with the set-group-ID bit it has that bit too: inode(7), S_ISGID.
    """
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent_fd)
    try:
        if (uid, gid) != (os.geteuid(), os.getegid()):
            os.fchown(fd, uid, gid)
        os.fchmod(fd, mode | (os.fstat(fd).st_mode & stat.S_ISGID))
    finally:
        os.close(fd)
