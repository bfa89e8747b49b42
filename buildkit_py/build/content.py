"""Digests of what a step reads: the content half of cache keys.

Covered: paths relative to the source, type, mode, link targets, extended attributes, bytes, and,
for files of a stage, owners. Not covered: times, and owners in a build context (they become 0:0).
Digests of unchanged context files come from the stat they had (store.memory, table `files`).
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import time
from collections.abc import Callable, Sequence

from buildkit_py.build.tree import EVERYTHING, Entry, Filter, UnreadableSource, find, walk
from buildkit_py.core.digest import Digest
from buildkit_py.store.memory import Database

_STAT = struct.Struct("=QQqqqI")
_CHUNK = 1 << 20
_FRESH_NS = 100_000_000
_COARSE_FRESH_NS = 2_000_000_000


def pack_stat(state: os.stat_result) -> bytes:
    """Return what identifies the bytes of a file as long as nobody writes to it."""
    return _STAT.pack(
        state.st_dev,
        state.st_ino,
        state.st_size,
        state.st_mtime_ns,
        state.st_ctime_ns,
        state.st_mode,
    )


def is_settled(state: os.stat_result, now_ns: int) -> bool:
    """Tell whether a later write is sure to change the stat: it is not within a clock tick."""
    newest = max(state.st_mtime_ns, state.st_ctime_ns)
    margin = _FRESH_NS if state.st_ctime_ns % 1_000_000_000 else _COARSE_FRESH_NS
    return now_ns - newest > margin


class FileDigests:
    """SHA-256 of regular files, remembered by stat. `database` None remembers nothing.

    check: called now and then while a file is read; raises when the build is to stop
    Used by one thread; `flush` writes what was learnt.
    """

    def __init__(self, database: Database | None, check: Callable[[], None] = lambda: None) -> None:
        self.database = database
        self.check = check
        self.learnt: list[tuple[bytes, bytes]] = []

    def digest(self, entry: Entry) -> bytes:
        """Return the raw SHA-256 of an entry's bytes."""
        key = pack_stat(entry.stat)
        if self.database is not None and (known := self.database.find_file(key)) is not None:
            return known
        fd = entry.open()
        try:
            before = time.time_ns()
            try:
                made = hash_fd(fd, self.check)
            except OSError as error:
                # Whatever the reason, and /proc has many: it is this file that cannot be read.
                raise UnreadableSource(f"cannot read `{entry.rooted}`: {error.strerror}") from None
            after = os.fstat(fd)
        finally:
            os.close(fd)
        if self.database is not None and pack_stat(after) == key and is_settled(after, before):
            self.learnt.append((key, made))
            if len(self.learnt) >= 4096:
                self.flush()
        return made

    def flush(self) -> None:
        if self.database is not None and self.learnt:
            self.database.keep_files(self.learnt)
            self.learnt = []


def hash_fd(fd: int, check: Callable[[], None] = lambda: None) -> bytes:
    """Return the raw SHA-256 of everything from the current offset."""
    made = hashlib.sha256()
    while chunk := os.read(fd, _CHUNK):
        check()
        made.update(chunk)
    return made.digest()


def attributes(entry: Entry) -> list[tuple[str, bytes]]:
    """Return the extended attributes that are copied: `user.*` and file capabilities."""
    if entry.is_link:
        return []
    path = f"/proc/self/fd/{entry.parent}/{entry.name}"
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []  # the file system has none
    kept = [name for name in names if is_copied_attribute(name)]
    return [(name, os.getxattr(path, name, follow_symlinks=False)) for name in sorted(kept)]


def is_copied_attribute(name: str) -> bool:
    if name == "security.capability":
        return True
    return name.startswith("user.") and not name.startswith(
        ("user.overlay.", "user.buildkit_py.", "user.containers.")
    )


def content_digest(
    root: int,
    sources: Sequence[str],
    *,
    filter: Filter,
    exclude: Filter = EVERYTHING,
    owners: bool,
    files: FileDigests,
    matches: Callable[[str, str], bool],
    note: Callable[[Entry], None] = lambda entry: None,
) -> Digest:
    """Return the digest of all that `sources` name beneath `root`.

    owners: uid and gid count (files of a stage or an image)
    note: called with each entry
    Raises MissingSource, UnreadableSource, ChangedSource. Cost: a stat and a look-up per file
    that is known, a read of each that is not.
    """
    whole = hashlib.sha256()
    for source in sources:
        whole.update(b"source\0")
        for match in find(root, source, filter, matches=matches):
            try:
                whole.update(os.fsencode(match.name) + b"\0match\0")
                for entry in walk(match, root, filter, exclude):
                    note(entry)
                    whole.update(header(entry, owners=owners))
                    if entry.is_file:
                        whole.update(files.digest(entry))
            finally:
                os.close(match.fd)
    files.flush()
    return Digest("sha256:" + whole.hexdigest())


def header(entry: Entry, *, owners: bool) -> bytes:
    """Return an entry's metadata as bytes that no other metadata shares."""
    state = entry.stat
    parts = [os.fsencode(entry.path), b"%o" % state.st_mode]
    if owners:
        parts.append(b"%d:%d" % (state.st_uid, state.st_gid))
    if entry.is_link:
        parts.append(os.fsencode(entry.target()))
    elif stat.S_ISCHR(state.st_mode) or stat.S_ISBLK(state.st_mode):
        parts.append(b"%d" % state.st_rdev)
    else:
        for name, value in attributes(entry):
            parts += [os.fsencode(name), value.hex().encode()]
    packed = b"\0".join(parts)
    return struct.pack("=I", len(packed)) + packed
