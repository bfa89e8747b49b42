"""The file system that a stack of snapshots shows, seen without mounting it.

Snapshots are finished, so nobody changes them, and every directory of a path is looked at before
one goes into it: no link is followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from buildkit_py.core.data import dataclass
from buildkit_py.store.layers.marks import (
    OWNER,
    Overlay,
    belongs_in_layer,
    is_opaque,
    is_whiteout,
)


@dataclass(frozen=True, slots=True)
class Found:
    """Something in a stack: where it really is, and its state. Links are not followed."""

    path: bytes
    state: os.stat_result


class Merged:
    """A stack of snapshot directories, topmost first; for copies it has one."""

    def __init__(self, stack: tuple[str, ...], overlay: Overlay) -> None:
        self._overlay: Overlay = overlay
        self.root = tuple(os.fsencode(path) for path in stack)

    def lookup(self, parts: tuple[bytes, ...]) -> Found | None:
        """Return what is at a path, or None."""
        folders = self.root
        for part in parts[:-1]:
            folders = self.enter(folders, part)
        return self.find(folders, parts[-1]) if parts else None

    def find(self, folders: tuple[bytes, ...], name: bytes) -> Found | None:
        """Return `name` in a directory that is merged from `folders`, or None."""
        for folder in folders:
            path = folder + b"/" + name
            try:
                state = os.lstat(path)
            except FileNotFoundError:
                continue
            return None if is_whiteout(state) else Found(path, state)
        return None

    def enter(self, folders: tuple[bytes, ...], name: bytes) -> tuple[bytes, ...]:
        """Return what the directory `name` in a merged directory is merged from; () for none."""
        inner: list[bytes] = []
        for folder in folders:
            path = folder + b"/" + name
            try:
                state = os.lstat(path)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(state.st_mode):
                break
            inner.append(path)
            if is_opaque(path, self._overlay):
                break
        return tuple(inner)

    def names(self, folders: tuple[bytes, ...]) -> Iterator[bytes]:
        """Give the names in a merged directory, in no order."""
        seen: set[bytes] = set()
        for folder in folders:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    if name in seen:
                        continue
                    seen.add(name)
                    if not is_whiteout(entry.stat(follow_symlinks=False)):
                        yield name

    def owner(self, found: Found, *, single_id: bool) -> tuple[int, int]:
        """Return uid and gid, the recorded ones where chown could not be used."""
        return owner_of(found.path, found.state, single_id=single_id)

    def xattrs(self, found: Found) -> dict[bytes, bytes]:
        return xattrs_of(found.path, found.state)


def owner_of(path: bytes, state: os.stat_result, *, single_id: bool) -> tuple[int, int]:
    """Return (uid, gid) of a snapshot's file as a layer should have them."""
    if single_id and (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
        try:
            text = os.getxattr(path, OWNER, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                raise
        else:
            uid, colon, gid = text.partition(b":")
            if colon and uid.isdigit() and gid.isdigit() and len(text) < 22:
                owner = int(uid), int(gid)
                if max(owner) < 0xFFFFFFFF:
                    return owner
    if single_id:
        return 0, 0
    return state.st_uid, state.st_gid


def xattrs_of(path: bytes, state: os.stat_result) -> dict[bytes, bytes]:
    """Return the extended attributes that belong in a layer, sorted by name."""
    if stat.S_ISLNK(state.st_mode):
        return {}
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    found = {}
    for name in sorted(os.fsencode(each) for each in names):
        if belongs_in_layer(name):
            found[name] = os.getxattr(path, name, follow_symlinks=False)
    return found
