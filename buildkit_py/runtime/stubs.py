"""Mount points that an image lacks.

They must not end up in a layer. For an overlay they come from a directory of ours that stands
below all layers (`prepare_lower`), so that the upper directory is never touched. Where that does
not help (the root is one directory, a link of the image leads nowhere, a layer hides the place)
they are made in place, recorded, and removed after the program ended, beneath descriptors only
and only while they are still empty (CVE-2024-23652).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Sequence

from buildkit_py.core.data import dataclass
from buildkit_py.core.digest import sha256
from buildkit_py.runtime.kernel.paths import make_directories_beneath, open_beneath

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Stub:
    """One mount point that was made, and when its parent had changed before and by that.

    parent: real path beneath the root, without links; `""` is the root
    before_ns, after_ns: the parent's time of change without and with the stub
    """

    parent: str
    name: str
    is_directory: bool
    before_ns: int
    after_ns: int


def prepare_lower(path: str, targets: Iterable[tuple[str, bool]]) -> None:
    """Make a directory at `path` that holds nothing but mount points.

    targets: (path in the container, whether it is a directory)
    """
    os.mkdir(path, 0o755)
    root = os.open(path, _FOLDER)
    try:
        for target, is_directory in targets:
            folder = target if is_directory else os.path.dirname(target)
            make_directories_beneath(root, folder, 0o755, os.geteuid(), os.getegid())
            if not is_directory:
                try:
                    fd = open_beneath(root, target, _CREATE, 0o644)
                except FileExistsError:
                    continue
                os.fchmod(fd, 0o644)
                os.close(fd)
    finally:
        os.close(root)


def shared_lower(folder: str, targets: Sequence[tuple[str, bool]]) -> str:
    """Return the directory below `folder` that holds just these mount points, made if need be.

    Any number of overlays may stand on it at once: nobody writes there.
    """
    name = sha256(repr(list(targets)).encode("utf-8", "surrogateescape")).removeprefix("sha256:")[
        :32
    ]
    path = os.path.join(folder, name)
    if not os.path.isdir(path):
        part = f"{path}.{os.urandom(4).hex()}"
        prepare_lower(part, targets)
        try:
            os.rename(part, path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            remove_lower(part)  # another thread was faster
    return path


def remove_lower(path: str) -> None:
    """Remove what prepare_lower made; nobody else ever wrote there."""
    for folder, folders, files in os.walk(path, topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            os.rmdir(os.path.join(folder, name))
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)


def open_place(root_fd: int, target: str, *, directory: bool) -> tuple[int, list[Stub]]:
    """Open the place to mount on, made where it is missing: (O_PATH descriptor, what was made)."""
    flags = os.O_PATH | (os.O_DIRECTORY if directory else 0)
    try:
        return open_beneath(root_fd, target, flags), []
    except FileNotFoundError:
        pass
    base = os.readlink(f"/proc/self/fd/{root_fd}")
    made: list[Stub] = []
    names = [name for name in target.split("/") if name not in ("", ".")]
    here = os.open(".", _FOLDER, dir_fd=root_fd)
    done: list[str] = []
    links = 0
    try:
        while names:
            name = names.pop(0)
            wants = os.O_DIRECTORY if names or directory else 0
            try:
                inner = open_beneath(root_fd, "/".join([*done, name]), os.O_PATH | wants)
            except FileNotFoundError:
                place = os.readlink(f"/proc/self/fd/{here}")
                parent = os.path.relpath(place, base) if place != base else ""
                before = os.fstat(here).st_mtime_ns
                try:
                    if wants:
                        os.mkdir(name, 0o755, dir_fd=here)
                    else:
                        os.close(os.open(name, _CREATE, 0o644, dir_fd=here))
                except FileExistsError:
                    # A link that leads nowhere: what it names is made, beneath the root.
                    links += 1
                    if links > 40:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), target) from None
                    text = os.readlink(name, dir_fd=here)
                    names[:0] = [part for part in text.split("/") if part not in ("", ".")]
                    if text.startswith("/"):
                        os.close(here)
                        here = os.open(".", _FOLDER, dir_fd=root_fd)
                        done = []
                    continue
                after = os.fstat(here).st_mtime_ns
                # What is made inside of another mount (our /dev, a cache) is not the root's.
                if _mount_id(here) == _mount_id(root_fd):
                    made.append(Stub(parent, name, bool(wants), before, after))
                inner = os.open(name, _PLACE, dir_fd=here)
            os.close(here)
            here = inner
            done.append(name)
        result, here = here, -1
        return result, made
    finally:
        if here >= 0:
            os.close(here)


def _mount_id(fd: int) -> str:
    """Return the number of the mount that a descriptor is on; proc_pid_fdinfo(5)."""
    with open(f"/proc/self/fdinfo/{fd}") as file:
        return next(line for line in file if line.startswith("mnt_id:"))


def remove(root: str, stubs: Iterable[Stub]) -> None:
    """Remove stubs that are still as empty as they were made, and give parents their times back.

    root: the directory that was written to: the upper one of an overlay, or the root itself
    A program may have moved, filled or replaced anything: what does not look like the stub any
    more is the program's own and stays.
    """
    root_fd = os.open(root, _FOLDER)
    try:
        for stub in reversed(list(stubs)):
            parent = _walk(root_fd, stub.parent)
            if parent is None:
                continue
            try:
                _remove_one(parent, stub)
            finally:
                os.close(parent)
    finally:
        os.close(root_fd)


def _walk(root_fd: int, path: str) -> int | None:
    """Open a directory without following any link; None when it is not there any more."""
    here = os.open(".", _FOLDER, dir_fd=root_fd)
    for name in filter(None, path.split("/")):
        try:
            inner = os.open(name, _FOLDER, dir_fd=here)
        except (FileNotFoundError, NotADirectoryError):
            os.close(here)
            return None
        os.close(here)
        here = inner
    return here


def _remove_one(parent: int, stub: Stub) -> None:
    untouched = os.fstat(parent).st_mtime_ns == stub.after_ns
    try:
        if stub.is_directory:
            os.rmdir(stub.name, dir_fd=parent)
        else:
            state = os.lstat(stub.name, dir_fd=parent)
            if not stat.S_ISREG(state.st_mode) or state.st_size or state.st_nlink != 1:
                return
            os.unlink(stub.name, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            return
        raise
    if untouched:
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.utime(folder, ns=(stub.before_ns, stub.before_ns))
        finally:
            os.close(folder)
