"""Mounts: the kernel's calls by their own names, and overlays that vanish with a descriptor.

A *detached* mount has no place in any tree; it exists while its descriptor is open and dies
with it, even by SIGKILL. Flags and numbers: include/uapi/linux/mount.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Sequence

from buildkit_py.runtime.kernel.syscalls import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    Call,
    KernelError,
)

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_IDMAP = 0x100000

OPEN_TREE_CLONE = 1
_CLOEXEC = os.O_CLOEXEC
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSPICK_CLOEXEC, _FSPICK_EMPTY_PATH = 1, 8
_SET_FLAG, _SET_STRING, _CREATE, _RECONFIGURE = 0, 1, 6, 7
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_EMPTY_PATH = 0x40

_char_p, _int, _uint, _ulong = ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_ulong


class _MountAttr(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


_mount = Call("mount", _char_p, _char_p, _char_p, _ulong, _char_p)
_umount2 = Call("umount2", _char_p, _int)
_pivot_root = Call("pivot_root", _char_p, _char_p)
_fsopen = Call("fsopen", _char_p, _uint)
_fsconfig = Call("fsconfig", _int, _uint, _char_p, _char_p, _int)
_fspick = Call("fspick", _int, _char_p, _uint)
_fsmount = Call("fsmount", _int, _uint, _uint)
_open_tree = Call("open_tree", _int, _char_p, _uint)
_move_mount = Call("move_mount", _int, _char_p, _int, _char_p, _uint)
_mount_setattr = Call(
    "mount_setattr", _int, _char_p, _uint, ctypes.POINTER(_MountAttr), ctypes.c_size_t
)
_fstatfs = Call("fstatfs", _int, _char_p)
_PROC_SUPER_MAGIC = 0x9FA0  # include/uapi/linux/magic.h


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises KernelError naming the target."""
    try:
        _mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() or None,
            flags,
            os.fsencode(data) or None,
        )
    except OSError as error:
        raise KernelError("mount", target, error.errno or 0) from None


def umount2(target: str, flags: int = MNT_DETACH | UMOUNT_NOFOLLOW) -> None:
    """umount2(2). Raises KernelError."""
    try:
        _umount2(os.fsencode(target), flags)
    except OSError as error:
        raise KernelError("umount2", target, error.errno or 0) from None


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2). Raises KernelError."""
    try:
        _pivot_root(os.fsencode(new), os.fsencode(old))
    except OSError as error:
        raise KernelError("pivot_root", new, error.errno or 0) from None


def fsopen(kind: str) -> int:
    """Return a descriptor that collects the options of a new file system. Linux 5.2."""
    try:
        return _fsopen(kind.encode(), _FSOPEN_CLOEXEC)
    except OSError as error:
        raise KernelError("fsopen", kind, error.errno or 0) from None


def fsconfig(context: int, key: str, value: str | None = None) -> None:
    """Set an option, or a flag where there is no value; values hold 255 bytes at the most."""
    try:
        if value is None:
            _fsconfig(context, _SET_FLAG, key.encode(), None, 0)
        else:
            _fsconfig(context, _SET_STRING, key.encode(), os.fsencode(value), 0)
    except OSError as error:
        shown = key if value is None else f"{key}={value}"
        raise KernelError("fsconfig", shown, error.errno or 0, detail=_log(context)) from None


def fsmount(context: int, attributes: int = 0) -> int:
    """Create the file system that was collected, and return its detached mount."""
    try:
        _fsconfig(context, _CREATE, None, None, 0)
        return _fsmount(context, _FSMOUNT_CLOEXEC, attributes)
    except OSError as error:
        call = "fsmount"
        raise KernelError(call, "new mount", error.errno or 0, detail=_log(context)) from None


def reconfigure(fd: int, options: Sequence[tuple[str, str | None]]) -> None:
    """Change options of the file system whose root a descriptor is. Raises KernelError."""
    try:
        context = _fspick(fd, b"", _FSPICK_CLOEXEC | _FSPICK_EMPTY_PATH)
    except OSError as error:
        raise KernelError("fspick", f"descriptor {fd}", error.errno or 0) from None
    try:
        for key, value in options:
            fsconfig(context, key, value)
        try:
            _fsconfig(context, _RECONFIGURE, None, None, 0)
        except OSError as error:
            raise KernelError(
                "fsconfig", "reconfigure", error.errno or 0, detail=_log(context)
            ) from None
    finally:
        os.close(context)


def _log(context: int) -> str:
    """Return what the file system said about a failure; the last line is the one that counts."""
    lines: list[str] = []
    while len(lines) < 16:
        try:
            lines.append(os.read(context, 1024).decode(errors="replace").strip())
        except OSError:  # ENODATA: read to the end
            break
    return lines[-1].removeprefix("e ") if lines else ""


def open_tree(path: str, *, at: int = AT_FDCWD, clone: bool = True, recursive: bool = False) -> int:
    """Return a descriptor of the mount at `path`; a clone is detached. `""` means `at` itself.

    Raises KernelError. Linux 5.2.
    """
    flags = _CLOEXEC | (OPEN_TREE_CLONE if clone else 0) | (AT_RECURSIVE if recursive else 0)
    try:
        return _open_tree(at, os.fsencode(path), flags | (0 if path else AT_EMPTY_PATH))
    except OSError as error:
        raise KernelError("open_tree", path or f"descriptor {at}", error.errno or 0) from None


def move_mount(mount_fd: int, path: str, *, at: int = AT_FDCWD) -> None:
    """Attach a detached mount at `path`, or with `""` on the directory or file `at` itself."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | (0 if path else _MOVE_MOUNT_T_EMPTY_PATH)
    try:
        _move_mount(mount_fd, b"", at, os.fsencode(path), flags)
    except OSError as error:
        raise KernelError("move_mount", path or f"descriptor {at}", error.errno or 0) from None


def mount_setattr(
    path: str,
    *,
    at: int = AT_FDCWD,
    set_: int = 0,
    clear: int = 0,
    propagation: int = 0,
    recursive: bool = False,
    userns_fd: int = 0,
) -> None:
    """Change attributes of a mount, or of all beneath it. `""` means `at` itself. Linux 5.12.

    userns_fd: with MOUNT_ATTR_IDMAP, the user namespace whose maps the mount gets
    """
    attributes = _MountAttr(set_, clear, propagation, userns_fd)
    flags = (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
    try:
        _mount_setattr(at, os.fsencode(path), flags, attributes, ctypes.sizeof(attributes))
    except OSError as error:
        raise KernelError("mount_setattr", path or f"descriptor {at}", error.errno or 0) from None


def overlay(
    lower: Sequence[str],
    upper: str | None,
    work: str | None,
    *,
    userxattr: bool = False,
    volatile: bool = False,
) -> int:
    """Return the descriptor of a detached overlay mount; closing it unmounts it.

    lower: directories, topmost first; may be empty when there is an upper one
    upper, work: on one file system; without them the overlay is read-only
    userxattr: a must in a user namespace other than the first: without it the mount succeeds
        and then removing a lower directory fails with EIO
    volatile: nothing is synced; Linux 5.10. A mark of an earlier volatile mount in `work` is
        removed: whether an upper directory may be trusted after a crash is the store's to know
    The descriptor is an O_PATH one: good for *at calls (`os.open(".", os.O_RDONLY, dir_fd=fd)`),
    for openat2 (`open_beneath(fd, ...)`), and for move_mount.
    Raises KernelError with the file system's own words where it has some.
    """
    if upper is None and work is None and len(lower) == 1:
        return _clone(lower[0], read_only=True)
    if upper is not None and not lower:
        # Overlay wants a lower directory; an upper one alone is the whole tree already.
        return _clone(upper, read_only=False)
    paths = [*lower, *([upper, work] if upper is not None and work is not None else [])]
    fds: list[int] = []
    try:
        if volatile and work is not None:
            _forget_volatile(work)
        for path in paths:
            fds.append(_open_directory(path))  # noqa: PERF401 - those opened must be closed
        # Named by descriptor: fsconfig cuts values at 255 bytes, mount(2) all options at one
        # page, both give `:` `,` and `\` meanings; and the container sees the names in
        # /proc/mounts, which need not tell it where the host keeps its layers.
        names = [f"/proc/self/fd/{fd}" for fd in fds]
        options = _overlay_options(userxattr, volatile and upper is not None)
        if upper is not None:
            options += [("upperdir", names[-2]), ("workdir", names[-1])]
        return _overlay(names[: len(lower)], options)
    except KernelError as error:
        if error.errno == errno.EINVAL and not error.hint:
            error.hint = (
                "the upper directory must be on a file system that overlay accepts, not on an "
                "overlay; and its work directory not one that a volatile mount left"
            )
        raise
    finally:
        for fd in fds:
            os.close(fd)


def _forget_volatile(work: str) -> None:
    """Remove the mark that makes overlay refuse a work directory the second time."""
    mark = os.path.join(work, "work", "incompat", "volatile")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(mark, "dirty"))
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(mark)


def _open_directory(path: str) -> int:
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open", path, error.errno or 0) from None


def _clone(path: str, *, read_only: bool) -> int:
    fd = open_tree(path)
    if read_only:
        try:
            mount_setattr("", at=fd, set_=MOUNT_ATTR_RDONLY)
        except BaseException:
            os.close(fd)
            raise
    return fd


def _overlay_options(userxattr: bool, volatile: bool) -> list[tuple[str, str | None]]:
    """Return the options, independent of what the distribution made the module's defaults.

    With redirects or metadata copies an upper directory would not be the whole change. A mount
    with userxattr has both off, and refuses to be told so.
    """
    options: list[tuple[str, str | None]] = [("index", "off")]
    if userxattr:
        options.append(("userxattr", None))
    else:
        options += [("redirect_dir", "nofollow"), ("metacopy", "off")]
    if volatile:
        options.append(("volatile", None))
    return options


def _overlay(lower: list[str], options: list[tuple[str, str | None]]) -> int:
    context = fsopen("overlay")
    try:
        fsconfig(context, "source", "overlay")
        for name in lower:
            fsconfig(context, "lowerdir+", name)
        for key, value in options:
            fsconfig(context, key, value)
        return fsmount(context)
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
        refused = error
    finally:
        os.close(context)
    # Linux before 6.5 takes every option and says at the end only that one is unknown to it;
    # before 6.7 `lowerdir+` is. Where it is not, mount(2) fails of what fsmount failed of.
    try:
        return _overlay_by_mount(lower, options)
    except KernelError:
        raise refused from None


def _overlay_by_mount(lower: list[str], options: list[tuple[str, str | None]]) -> int:
    """Mount with mount(2) on a directory of the moment, take a detached copy, unmount."""
    words = [f"lowerdir={':'.join(lower)}"]
    words += [key if value is None else f"{key}={value}" for key, value in options]
    place = f"/tmp/.buildkit-py-{os.getpid()}-{os.urandom(6).hex()}"
    os.mkdir(place, 0o700)
    try:
        mount("overlay", place, "overlay", 0, ",".join(words))
        try:
            return open_tree(place)
        finally:
            umount2(place)
    finally:
        os.rmdir(place)


def is_proc(fd: int) -> bool:
    """Say whether a descriptor is of procfs: what is written there reaches the kernel."""
    buffer = ctypes.create_string_buffer(256)
    _fstatfs(fd, buffer)
    return int.from_bytes(buffer.raw[:8], "little") == _PROC_SUPER_MAGIC
