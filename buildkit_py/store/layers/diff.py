"""What a snapshot changed, in the order of a layer: names sorted as bytes, parents first.

For an overlay its upper directory is read; for a copy both trees are walked. Both give the same
changes for the same two file systems:

- a file is changed when kind, mode, owner, device, size, time, attributes or content differ
- a directory likewise, except that its size and time say nothing: they change with its content
- a name that is gone is one change, and nothing beneath it is told

So a file that was copied up and not changed is in no layer, and an opaque directory becomes the
names that are gone from it, as BuildKit writes it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from buildkit_py.core.data import dataclass
from buildkit_py.store.layers.marks import Overlay, is_opaque, is_whiteout
from buildkit_py.store.layers.merged import Found, Merged, owner_of, xattrs_of

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    name: from the root, without a leading `/`
    path: where the snapshot has it; b"" for what is gone
    state: of what is there now; None for what is gone
    changed: False for a directory that only leads to changes
    """

    name: bytes
    path: bytes
    state: os.stat_result | None
    changed: bool = True


def overlay_changes(
    upper: str, lower: Merged, overlay: Overlay, *, single_id: bool
) -> Iterator[Change]:
    """Give the changes that an upper directory means above a stack."""
    root = os.fsencode(upper)
    # (name of the directory, its path, what it is merged from below, iterator of its names)
    first = lower.root
    stack = [(b"", root, first, _upper_names(root, lower, first, opaque=False))]
    while stack:
        prefix, folder, below, names = stack[-1]
        name = next(names, None)
        if name is None:
            stack.pop()
            continue
        path = folder + b"/" + name
        full = prefix + name
        try:
            state = os.lstat(path)
        except FileNotFoundError:
            yield Change(full, b"", None)  # below an opaque directory
            continue
        base = lower.find(below, name) if below else None
        if is_whiteout(state):
            if base is not None:
                yield Change(full, b"", None)
            continue
        if stat.S_ISSOCK(state.st_mode):
            continue
        same = base is not None and _same(base, Found(path, state), single_id)
        if not stat.S_ISDIR(state.st_mode):
            if not same:
                yield Change(full, path, state)
            continue
        yield Change(full, path, state, changed=not same)
        inner = lower.enter(below, name) if below else ()
        opaque = bool(inner) and is_opaque(path, overlay)
        stack.append((full + b"/", path, inner, _upper_names(path, lower, inner, opaque=opaque)))


def _upper_names(
    folder: bytes, lower: Merged, below: tuple[bytes, ...], *, opaque: bool
) -> Iterator[bytes]:
    names = set(os.listdir(folder))
    if opaque:
        names.update(lower.names(below))
    return iter(sorted(names))


def copy_changes(
    new: str, old: str | None, *, single_id: bool, since_ns: int | None = None
) -> Iterator[Change]:
    """Give the changes between two whole trees.

    old: None for the empty tree
    since_ns: status changes (ctime) before this moment are none: the file is as it was copied
    """
    first = (os.fsencode(new), os.fsencode(old) if old is not None else None)
    stack = [(b"", *first, _both_names(*first))]
    while stack:
        prefix, folder, below, names = stack[-1]
        name = next(names, None)
        if name is None:
            stack.pop()
            continue
        path = folder + b"/" + name
        full = prefix + name
        base = _found(below, name)
        try:
            state = os.lstat(path)
        except FileNotFoundError:
            if base is not None and not stat.S_ISSOCK(base.state.st_mode):
                yield Change(full, b"", None)
            continue
        if stat.S_ISSOCK(state.st_mode):
            continue
        untouched = since_ns is not None and state.st_ctime_ns < since_ns
        same = base is not None and _same(base, Found(path, state), single_id, untouched)
        if not stat.S_ISDIR(state.st_mode):
            if not same:
                yield Change(full, path, state)
            continue
        yield Change(full, path, state, changed=not same)
        inner = base.path if base is not None and stat.S_ISDIR(base.state.st_mode) else None
        stack.append((full + b"/", path, inner, _both_names(path, inner)))


def _both_names(new: bytes, old: bytes | None) -> Iterator[bytes]:
    names = set(os.listdir(new))
    if old is not None:
        names.update(os.listdir(old))
    return iter(sorted(names))


def _found(folder: bytes | None, name: bytes) -> Found | None:
    if folder is None:
        return None
    path = folder + b"/" + name
    try:
        return Found(path, os.lstat(path))
    except FileNotFoundError:
        return None


def with_parents(changes: Iterator[Change]) -> Iterator[Change]:
    """Leave out directories that did not change and that nothing changed beneath."""
    waiting: list[Change] = []
    for change in changes:
        while waiting and not change.name.startswith(waiting[-1].name + b"/"):
            waiting.pop()
        if change.changed:
            yield from waiting
            waiting.clear()
            yield change
        else:
            waiting.append(change)


def _same(old: Found, new: Found, single_id: bool, untouched: bool = False) -> bool:
    """Tell whether a layer would show the same thing for both."""
    a, b = old.state, new.state
    if (a.st_mode, a.st_rdev) != (b.st_mode, b.st_rdev):
        return False
    is_directory = stat.S_ISDIR(a.st_mode)
    if not is_directory and (a.st_size, a.st_mtime_ns) != (b.st_size, b.st_mtime_ns):
        return False
    if owner_of(old.path, a, single_id=single_id) != owner_of(new.path, b, single_id=single_id):
        return False
    if untouched:
        return True
    if xattrs_of(old.path, a) != xattrs_of(new.path, b):
        return False
    if stat.S_ISLNK(a.st_mode):
        return os.readlink(old.path) == os.readlink(new.path)
    return not stat.S_ISREG(a.st_mode) or _same_content(old.path, new.path)


def _same_content(old: bytes, new: bytes) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(old, flags), "rb", 0) as a, open(os.open(new, flags), "rb", 0) as b:
        while True:
            left, right = a.read(_CHUNK), b.read(_CHUNK)
            if left != right:
                return False
            if not left:
                return True
