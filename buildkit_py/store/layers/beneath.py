"""Directories beneath one root, for an archive whose names and links may be hostile.

Every directory is opened from the one above it by a single name, with no link followed; a link
met on the way is read and walked by us, with the root as its `/`. So there is no way out, however
the names are made, on any kernel. Nobody else writes beneath the root meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable

from buildkit_py.store.layers.errors import BadLayer

Parts = tuple[bytes, ...]
"""A path from the root, without links, `.` and `..`; () is the root itself."""

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40  # as the kernel's MAXSYMLINKS
_MOST_OPEN = 48
_MOST_NAME_BYTES = 4095


def clean(name: bytes) -> Parts:
    """Return the parts of an archive's name; raise BadLayer when it leads above the root.

    A leading `/` means the root, as in docker.
    """
    if len(name) > _MOST_NAME_BYTES:
        raise BadLayer(f"a name of {len(name)} bytes is too long")
    if b"\0" in name:
        raise BadLayer("a name holds a zero byte")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise BadLayer(f"`{shown(name)}` leads out of the layer")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return tuple(parts)


def shown(name: bytes) -> str:
    """Return a name for messages."""
    return name[:300].decode("utf-8", "backslashreplace")


class Beneath:
    """Finds directories beneath `root_fd`, and keeps the last ones open.

    make: called with (descriptor of the parent, name, parts of the new directory) where a
        directory is missing, or where something that may be replaced stands in its place; it
        makes the directory or raises
    """

    def __init__(self, root_fd: int, make: Callable[[int, bytes, Parts], None]) -> None:
        self._root_fd = root_fd
        self._make = make
        self._open: OrderedDict[Parts, tuple[int, Parts]] = OrderedDict()

    def directory(self, parts: Parts, *, create: bool = True) -> tuple[int, Parts]:
        """Return (O_PATH descriptor, real parts) of the directory to which `parts` leads.

        The descriptor belongs to this object and is good until the next call.
        Raises BadLayer for a file in the way, FileNotFoundError with create=False.
        """
        if not parts:
            return self._root_fd, ()
        known = self._open.get(parts)
        if known is not None:
            self._open.move_to_end(parts)
            return known
        above = self._open.get(parts[:-1])
        if above is not None:
            fd, real = self._walk(os.dup(above[0]), above[1], [parts[-1]], create)
        else:
            fd, real = self._walk(self._dup_root(), (), list(reversed(parts)), create)
        self._open[parts] = fd, real
        if len(self._open) > _MOST_OPEN:
            _, (old, _) = self._open.popitem(last=False)
            os.close(old)
        return fd, real

    def forget(self, *, but: int = -1) -> None:
        """Close what is kept, except the descriptor `but`.

        To be called when a directory or link is replaced: ways may have led through it.
        """
        kept = [(parts, known) for parts, known in self._open.items() if known[0] == but]
        for fd, _ in self._open.values():
            if fd != but:
                os.close(fd)
        self._open = OrderedDict(kept)

    def _dup_root(self) -> int:
        return os.open(".", _DIRECTORY, dir_fd=self._root_fd)

    def _walk(self, fd: int, start: Parts, todo: list[bytes], create: bool) -> tuple[int, Parts]:
        """Walk from `fd`, which is closed or returned, through the names of `todo`, last first."""
        real = list(start)
        links = 0
        try:
            while todo:
                name = todo.pop()
                if name in (b"", b"."):
                    continue
                if name == b"..":
                    # The way back is walked again from the root: `real` holds no links.
                    todo.extend(reversed(real[:-1]))
                    fd = self._swap(fd, self._dup_root())
                    real = []
                    continue
                inner = self._enter(fd, name, (*real, name), create)
                if inner is not None:
                    fd = self._swap(fd, inner)
                    real.append(name)
                    continue
                links += 1
                if links > _MOST_LINKS:
                    raise BadLayer(f"too many links on the way to `{shown(name)}`")
                target = os.readlink(name, dir_fd=fd)
                todo.extend(reversed(target.split(b"/")))
                if target.startswith(b"/"):
                    fd = self._swap(fd, self._dup_root())
                    real = []
        except BaseException:
            os.close(fd)
            raise
        return fd, tuple(real)

    @staticmethod
    def _swap(old: int, new: int) -> int:
        os.close(old)
        return new

    def _enter(self, fd: int, name: bytes, parts: Parts, create: bool) -> int | None:
        """Open the directory `name`, or return None when it is a link."""
        for _ in range(2):
            try:
                return os.open(name, _DIRECTORY, dir_fd=fd)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    if not create:
                        raise
                elif error.errno in (errno.ENOTDIR, errno.ELOOP):
                    if stat.S_ISLNK(os.lstat(name, dir_fd=fd).st_mode):
                        return None
                    if not create:
                        raise FileNotFoundError(errno.ENOENT, "not a directory") from None
                else:
                    raise
            self._make(fd, name, parts)
        raise BadLayer(f"`{shown(b'/'.join(parts))}` is not a directory")

    def __enter__(self) -> Beneath:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.forget()
