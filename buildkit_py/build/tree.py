"""Files that a step reads: found, filtered and walked beneath one directory descriptor.

The same for a build context and for the file system of a stage. No name is ever looked up twice
by path: a directory is opened without following links and its children are reached through its
descriptor, so a tree that changes under the walk cannot lead out of it. Links in a *source* of
COPY are followed, but only beneath the root (BuildKit does so, too).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Protocol

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import BuildkitError, InputError
from buildkit_py.core.source import Span
from buildkit_py.core.system import of_system
from buildkit_py.runtime.kernel.paths import open_beneath

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Filter(Protocol):
    """What an ignore file or `--exclude` decides about paths relative to its root."""

    def ignores(self, path: str) -> bool: ...

    def may_descend(self, directory: str) -> bool: ...


class Everything:
    """The filter that hides nothing."""

    def ignores(self, path: str) -> bool:
        return False

    def may_descend(self, directory: str) -> bool:
        return True


EVERYTHING = Everything()


class MissingSource(InputError):
    """A source of COPY, ADD or a bind mount is not there, or the ignore file hides it.

    source: as it was asked for; excluded: it is there, but hidden
    link: it is a link, and this is where it leads
    """

    code = "build/missing-source"

    def __init__(
        self,
        message: str,
        *,
        source: str,
        excluded: bool = False,
        link: str = "",
        at: Span | None = None,
        label: str = "",
        hint: str | None = None,
    ) -> None:
        super().__init__(message, at=at, label=label, hint=hint)
        self.source = source
        self.excluded = excluded
        self.link = link


class UnreadableSource(InputError):
    """A file to be read cannot be: never copied as an empty one."""

    code = "build/unreadable-source"


class ChangedSource(InputError):
    """A file or directory was exchanged while it was being read."""

    code = "build/changed-source"


@dataclass(slots=True)
class Entry:
    """One file, directory or link of a walk.

    path: relative to the source, `""` for the source itself
    rooted: relative to the root, for messages and filters
    parent: descriptor of the directory that holds it, open while the walk stands here
    name: its name there
    """

    path: str
    rooted: str
    parent: int
    name: str
    stat: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.stat.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.stat.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.stat.st_mode)

    def open(self) -> int:
        """Return a descriptor to read a regular file from; refuse what took its place."""
        try:
            fd = os.open(
                self.name,
                os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                dir_fd=self.parent,
            )
        except OSError as error:
            raise unreadable(self.rooted, error) from None
        now = os.fstat(fd)
        if (now.st_dev, now.st_ino) != (self.stat.st_dev, self.stat.st_ino):
            os.close(fd)
            raise ChangedSource(f"`{self.rooted}` was replaced while it was being read")
        return fd

    def target(self) -> str:
        """Return where a link leads, as text."""
        try:
            return os.readlink(self.name, dir_fd=self.parent)
        except OSError as error:
            raise unreadable(self.rooted, error) from None


def unreadable(path: str, error: OSError) -> BuildkitError:
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO):
        told = of_system(error)
        assert told is not None
        return told
    if error.errno in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
        return ChangedSource(f"`{path}` was replaced while it was being read")
    return UnreadableSource(
        f"cannot read `{path}`: {error.strerror}",
        hint="make it readable, or exclude it in `.dockerignore`"
        if error.errno in (errno.EACCES, errno.EPERM)
        else None,
    )


@dataclass(slots=True)
class Match:
    """One thing that a source names.

    path: as the source or its wildcard spells it, relative to the root, cleaned
    fd: an O_PATH descriptor of what it is, links followed; the caller closes it
    rooted: where that is, relative to the root
    """

    path: str
    fd: int
    rooted: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def clean(path: str) -> str:
    """Return a source path relative to the root: `..` never climbs above it."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def has_wildcard(path: str) -> bool:
    return any(character in path for character in "*?[\\")


def find(
    root: int,
    source: str,
    filter: Filter = EVERYTHING,
    *,
    matches: Callable[[str, str], bool],
) -> list[Match]:
    """Return what a source names, sorted by path; the caller closes the descriptors.

    matches: Go's filepath.Match, called with a pattern and a name without `/`
    Raises MissingSource for a source without wildcards that is not there. A pattern without a
    match gives an empty list (BuildKit copies nothing then, and so do we, with a warning).
    """
    path = clean(source)
    if not has_wildcard(path):
        return [_literal(root, path, source, filter)]
    found: list[Match] = []
    for name in _expand(root, "", path.split("/"), filter, matches):
        try:
            found.append(_literal(root, name, source, filter))
        except MissingSource:
            for match in found:
                os.close(match.fd)
            raise
    return found


def _literal(root: int, path: str, source: str, filter: Filter) -> Match:
    try:
        fd = open_beneath(root, path or ".", os.O_PATH)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise unreadable(path, error) from None
        raise MissingSource(
            f"`{source}` is not there: {error.strerror}", source=source, link=_link(root, path)
        ) from None
    rooted = where(root, fd)
    # Both names count: the one that was written, and the place a link led to.
    for each in (path, rooted):
        if (
            each
            and _hidden(each, filter)
            and not (stat.S_ISDIR(os.fstat(fd).st_mode) and filter.may_descend(each))
        ):
            os.close(fd)
            raise MissingSource(
                f"`{source}` is excluded by the ignore file",
                source=source,
                excluded=True,
                hint=f"add `!{each}` to the ignore file to keep it",
            )
    return Match(path, fd, rooted)


def _link(root: int, path: str) -> str:
    """Return where the link `path` leads, or an empty text for what is no link."""
    try:
        fd = open_beneath(root, path, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        return os.readlink("", dir_fd=fd)
    except OSError:
        return ""
    finally:
        os.close(fd)


def _hidden(path: str, filter: Filter) -> bool:
    return filter.ignores(path)


def where(root: int, fd: int) -> str:
    """Return the path of an open file relative to a root directory, as the kernel tells it."""
    top = os.readlink(f"/proc/self/fd/{root}").rstrip("/")
    path = os.readlink(f"/proc/self/fd/{fd}")
    return path[len(top) :].strip("/") if path.startswith(top + "/") else ""


def _expand(
    root: int,
    at: str,
    parts: list[str],
    filter: Filter,
    matches: Callable[[str, str], bool],
) -> Iterator[str]:
    """Yield the paths that match, in the order of their names."""
    head, *rest = parts
    prefix = f"{at}/" if at else ""
    if not has_wildcard(head):
        path = prefix + head
        if rest:
            yield from _expand(root, path, rest, filter, matches)
        elif _exists(root, path) and not filter.ignores(path):
            yield path
        return
    try:
        fd = open_beneath(root, at or ".", os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise unreadable(at, error) from None
    try:
        with os.scandir(fd) as entries:
            names = sorted(entry.name for entry in entries)
    finally:
        os.close(fd)
    for name in names:
        if not matches(head, name):
            continue
        path = prefix + name
        if rest:
            if filter.may_descend(path) or not filter.ignores(path):
                yield from _expand(root, path, rest, filter, matches)
        elif not filter.ignores(path) or (filter.may_descend(path) and _is_directory(root, path)):
            yield path


def _exists(root: int, path: str) -> bool:
    try:
        os.close(open_beneath(root, path, os.O_PATH))
    except OSError:
        return False
    return True


def _is_directory(root: int, path: str) -> bool:
    try:
        os.close(open_beneath(root, path, os.O_PATH | os.O_DIRECTORY))
    except OSError:
        return False
    return True


def walk(
    match: Match, root: int, filter: Filter = EVERYTHING, exclude: Filter = EVERYTHING
) -> Iterator[Entry]:
    """Yield a source and everything below it: a directory before its children, names sorted.

    filter: of paths relative to the root
    exclude: of paths relative to the source
    A hidden directory below which something is kept is yielded, too, as BuildKit makes it.
    """
    top = os.fstat(match.fd)
    if not stat.S_ISDIR(top.st_mode):
        yield from _single(match, root, top)
        return
    # An O_PATH descriptor cannot be listed: open the directory again through itself.
    fd = os.open(".", _DIRECTORY, dir_fd=match.fd)
    stack: list[tuple[int, str, Iterator[tuple[str, os.stat_result]]]] = []
    try:
        yield Entry("", match.rooted, fd, ".", top)
        stack.append((fd, "", _list(fd, match.rooted)))
        while stack:
            fd, at, children = stack[-1]
            child = next(children, None)
            if child is None:
                stack.pop()
                os.close(fd)
                continue
            name, state = child
            path = f"{at}/{name}" if at else name
            rooted = f"{match.rooted}/{path}" if match.rooted else path
            directory = stat.S_ISDIR(state.st_mode)
            hidden = filter.ignores(rooted) or exclude.ignores(path)
            if hidden and not (
                directory
                and (not filter.ignores(rooted) or filter.may_descend(rooted))
                and (not exclude.ignores(path) or exclude.may_descend(path))
            ):
                continue
            if not directory:
                yield Entry(path, rooted, fd, name, state)
                continue
            try:
                below = os.open(name, _DIRECTORY, dir_fd=fd)
            except OSError as error:
                raise unreadable(rooted, error) from None
            stack.append((below, path, _list(below, rooted)))
            if not hidden or _keeps_something(below, rooted, path, filter, exclude):
                yield Entry(path, rooted, fd, name, state)
            else:
                stack.pop()
                os.close(below)
    finally:
        for fd, _, _ in stack:
            os.close(fd)


def _keeps_something(fd: int, rooted: str, path: str, filter: Filter, exclude: Filter) -> bool:
    """Tell whether anything below a hidden directory is kept after all."""
    for name, state in _list(fd, rooted):
        inner, below = f"{rooted}/{name}", f"{path}/{name}"
        if not filter.ignores(inner) and not exclude.ignores(below):
            return True
        if stat.S_ISDIR(state.st_mode) and filter.may_descend(inner):
            try:
                deeper = os.open(name, _DIRECTORY, dir_fd=fd)
            except OSError as error:
                raise unreadable(inner, error) from None
            try:
                if _keeps_something(deeper, inner, below, filter, exclude):
                    return True
            finally:
                os.close(deeper)
    return False


def _single(match: Match, root: int, state: os.stat_result) -> Iterator[Entry]:
    folder, _, name = match.rooted.rpartition("/")
    try:
        parent = open_beneath(root, folder or ".", os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise unreadable(match.rooted, error) from None
    try:
        yield Entry("", match.rooted, parent, name, state)
    finally:
        os.close(parent)


def _list(fd: int, rooted: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield names, sorted, with their state; a name that vanished is left out."""
    try:
        with os.scandir(fd) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(rooted, error) from None
    for entry in listed:
        try:
            yield entry.name, entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
