"""COPY and ADD: files from one tree into another.

Both trees are directory descriptors: the source a context, a stage or an image, the destination
a snapshot that is being made. Destinations are resolved beneath their root and used through
descriptors only; sources are walked as in build.tree. The rules are those of docker's reference
and of BuildKit's behaviour where the two differ (facts on COPY in docs/dockerfile.md).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence

from buildkit_py.build.content import attributes
from buildkit_py.build.modes import apply_mode
from buildkit_py.build.tree import EVERYTHING, Entry, Filter, Match, clean, find, walk, where
from buildkit_py.core.data import dataclass, field
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.runtime.kernel.paths import open_beneath, open_directory_beneath
from buildkit_py.store.layers.marks import OWNER
from buildkit_py.store.layers.merged import owner_of
from buildkit_py.store.trees import remove_beneath

_CHUNK = 1 << 27
_REMOVES = ".wh."
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NotADirectory(InputError):
    """A directory was to be copied onto something that is none."""

    code = "build/not-a-directory"


class ReservedName(InputError):
    """A file's name would mean, in a layer, that another file is removed."""

    code = "build/reserved-name"


@dataclass(frozen=True, slots=True)
class Owner:
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Tree:
    """Where files come from.

    root: descriptor of the directory that sources are relative to
    filter: of paths relative to the root (ignore file); exclude: relative to each source
    parents: `--parents`
    matches: Go's filepath.Match for one component
    unpack: called for a regular file with the destination; True when it was an archive and has
        been extracted there (ADD)
    """

    root: int
    matches: Callable[[str, str], bool]
    filter: Filter = EVERYTHING
    exclude: Filter = EVERYTHING
    parents: bool = False
    unpack: Callable[[Entry, str], bool] = lambda entry, dest: False


@dataclass(slots=True)
class Copier:
    """How files are written: owner and mode, and what was linked already.

    owner: of everything copied and of new parents; None keeps the source's
    chmod: as `--chmod` has it, "" keeps the source's
    made_ns: time of new parent directories, None for now
    single_id: owners cannot be set (one id is mapped), they are recorded in an attribute
    replace: what is in the way goes, whole directories too, as where an archive is unpacked
    notices: what people should know, such as a socket that was left out
    """

    root: int
    owner: Owner | None
    chmod: str = ""
    single_id: bool = False
    replace: bool = False
    stop: Callable[[], bool] = lambda: False
    made_ns: int | None = None
    notices: list[str] = field(default_factory=list)
    linked: dict[tuple[int, int], str] = field(default_factory=dict)
    times: dict[str, int | None] = field(default_factory=dict)

    def copy(self, tree: Tree, sources: Sequence[str], dest: str) -> None:
        """Copy what `sources` name in a tree to `dest`, an absolute path in the destination."""
        for source in sources:
            found = find(tree.root, source, tree.filter, matches=tree.matches)
            if not found:
                self.notices.append(f"`{source}` matches nothing: nothing is copied")
            for match in found:
                # Two sources that are one file become two: a link between them may be one that
                # the source did not have, and writing to one would write to both.
                self.linked.clear()
                try:
                    self._copy_match(tree, match, source, dest)
                finally:
                    os.close(match.fd)
        self._put_times_back()

    def _put_times_back(self) -> None:
        """Give directories that were only written into the time they had before.

        So that the layer of a COPY depends on what was copied, and not on the moment.
        """
        for path, time_ns in reversed(self.times.items()):
            if time_ns is None:
                continue
            fd = open_beneath(self.root, path or "/", os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.utime(fd, ns=(time_ns, time_ns))
            finally:
                os.close(fd)
        self.times.clear()

    def _copy_match(self, tree: Tree, match: Match, source: str, dest: str) -> None:
        if tree.parents:
            path = match.path
            if "/./" in source:
                # Only what follows the pivot `/./` is kept of the path.
                depth = len(clean(source.partition("/./")[0]).split("/"))
                path = "/".join(path.split("/")[depth:])
            dest = f"{dest.rstrip('/')}/{path}"
        if stat.S_ISDIR(os.fstat(match.fd).st_mode):
            self._copy_directory(tree, match, dest)
            return
        for entry in walk(match, tree.root, tree.filter, tree.exclude):
            if entry.is_file and tree.unpack(entry, dest):
                continue
            into, name = self._place(match.name, dest, inside=not tree.parents)
            try:
                self._write(entry, into, name)
            finally:
                os.close(into)

    def _place(self, name: str, dest: str, *, inside: bool) -> tuple[int, str]:
        """Return the directory (a descriptor) and the name that a single file goes to."""
        if inside and (dest.endswith("/") or self._is_directory(dest)):
            return self._directory(dest), name
        # A link at the destination is followed, beneath the root, as docker does.
        folder, _, last = self._follow(dest.rstrip("/")).rpartition("/")
        return self._directory(folder or "/"), last

    def _is_directory(self, path: str) -> bool:
        try:
            os.close(open_beneath(self.root, path, os.O_PATH | os.O_DIRECTORY))
        except OSError:
            return False
        return True

    def _follow(self, path: str) -> str:
        """Return where `path` ends when its last component is a link, however often."""
        for _ in range(40):
            folder, _, name = path.rpartition("/")
            try:
                parent = open_beneath(self.root, folder or "/", os.O_PATH | os.O_DIRECTORY)
            except OSError:
                return path
            try:
                target = os.readlink(name, dir_fd=parent)
            except OSError:
                return path
            finally:
                os.close(parent)
            path = target if target.startswith("/") else f"{folder}/{target}"
            path = os.path.normpath(path) if ".." not in path.split("/") else path
        raise InputError(f"too many links at `{path}`", code="build/too-many-links")

    def _directory(self, path: str, made_ns: int | None = None) -> int:
        """Return a descriptor of the directory `path`, made with its parents where missing.

        made_ns: the time that what is made gets; None for that of the whole copy
        """
        owner = self.owner or Owner(0, 0)
        self._note_times(path)
        try:
            fd, made = make_directory(self.root, path, owner, single_id=self.single_id)
        except (NotADirectoryError, FileExistsError):
            raise NotADirectory(f"cannot copy to `{path}`: it is not a directory") from None
        for each in made:
            self.times[each] = made_ns if made_ns is not None else self.made_ns
        self.times.setdefault(where(self.root, fd), os.fstat(fd).st_mtime_ns)
        return fd

    def _note_times(self, path: str) -> None:
        """Remember the time of the nearest directory above `path` that is there already."""
        while True:
            try:
                fd = open_beneath(self.root, path or "/", os.O_PATH | os.O_DIRECTORY)
            except OSError:
                path = path.rstrip("/").rpartition("/")[0]
                continue
            try:
                self.times.setdefault(where(self.root, fd), os.fstat(fd).st_mtime_ns)
            finally:
                os.close(fd)
            return

    def _copy_directory(self, tree: Tree, match: Match, dest: str) -> None:
        """Merge the contents of a directory into `dest`."""
        made_ns = os.fstat(match.fd).st_mtime_ns
        top = self._directory(dest, made_ns)
        # As in BuildKit, a directory that was there takes the time of what is merged into it.
        if not self.replace:
            self.times[where(self.root, top)] = made_ns
        # Directories are finished after their children: writing into one changes its times.
        stack: list[tuple[str, int, Entry | None]] = [("", top, None)]
        try:
            for entry in walk(match, tree.root, tree.filter, tree.exclude):
                if self.stop():
                    return
                if not entry.path:
                    continue
                folder, _, name = entry.path.rpartition("/")
                while stack[-1][0] != folder:
                    self._finish(*stack.pop())
                into = stack[-1][1]
                if entry.is_directory:
                    stack.append((entry.path, self._enter(entry, into, name, dest), entry))
                else:
                    self._write(entry, into, name)
            while len(stack) > 1:
                self._finish(*stack.pop())
        finally:
            for _, fd, _ in stack:
                os.close(fd)

    def _enter(self, entry: Entry, into: int, name: str, dest: str) -> int:
        """Make a directory, or take the one that is there, and open it."""
        _check_name(entry, name)
        try:
            os.mkdir(name, 0o755, dir_fd=into)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=into, follow_symlinks=False).st_mode):
                if not self.replace:
                    raise NotADirectory(
                        f"cannot copy the directory `{entry.rooted}` over a file at"
                        f" `{dest.rstrip('/')}/{entry.path}`"
                    ) from None
                os.unlink(name, dir_fd=into)
                os.mkdir(name, 0o755, dir_fd=into)
        return os.open(
            name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=into
        )

    def _finish(self, path: str, fd: int, entry: Entry | None) -> None:
        if entry is not None:
            self._dress(fd, entry)
        os.close(fd)

    def _write(self, entry: Entry, into: int, name: str) -> None:
        """Put one file, link or device at `name` in the directory `into`."""
        _check_name(entry, name)
        mode = entry.stat.st_mode
        if stat.S_ISSOCK(mode):
            self.notices.append(f"`{entry.rooted}` is a socket: it is not copied")
        elif entry.is_file:
            self._write_file(entry, into, name)
        elif entry.is_link:
            self._write_link(entry, into, name)
        else:
            self._write_special(entry, into, name)

    def _write_file(self, entry: Entry, into: int, name: str) -> None:
        identity = (entry.stat.st_dev, entry.stat.st_ino)
        if entry.stat.st_nlink > 1 and identity in self.linked:
            self._link(self.linked[identity], into, name)
            return
        source = entry.open()
        try:
            try:
                target = os.open(name, _NEW_FILE, 0o600, dir_fd=into)
            except FileExistsError:
                self._clear(into, name)
                target = os.open(name, _NEW_FILE, 0o600, dir_fd=into)
            try:
                copy_bytes(source, target, self.stop)
                self._dress(target, entry)
            finally:
                os.close(target)
        finally:
            os.close(source)
        if entry.stat.st_nlink > 1:
            self.linked[identity] = f"{where(self.root, into)}/{name}"

    def _link(self, earlier: str, into: int, name: str) -> None:
        folder, _, first = earlier.rpartition("/")
        parent = open_beneath(self.root, folder or "/", os.O_PATH | os.O_DIRECTORY)
        try:
            self._clear(into, name)
            os.link(first, name, src_dir_fd=parent, dst_dir_fd=into, follow_symlinks=False)
        finally:
            os.close(parent)

    def _write_link(self, entry: Entry, into: int, name: str) -> None:
        target = entry.target()
        try:
            os.symlink(target, name, dir_fd=into)
        except FileExistsError:
            self._clear(into, name)
            os.symlink(target, name, dir_fd=into)
        uid, gid = self._ids(entry)
        if not self.single_id:
            os.chown(name, uid, gid, dir_fd=into, follow_symlinks=False)
        times = (entry.stat.st_mtime_ns, entry.stat.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=into, follow_symlinks=False)

    def _write_special(self, entry: Entry, into: int, name: str) -> None:
        """Make a FIFO or a device. BuildKit turns block devices into character ones; we do not."""
        self._clear(into, name)
        try:
            os.mknod(name, stat.S_IFMT(entry.stat.st_mode) | 0o600, entry.stat.st_rdev, dir_fd=into)
        except PermissionError:
            self.notices.append(f"`{entry.rooted}` is a device: it is not copied without root")
            return
        uid, gid = self._ids(entry)
        if not self.single_id:
            os.chown(name, uid, gid, dir_fd=into, follow_symlinks=False)
        os.chmod(name, self._mode(entry), dir_fd=into)
        times = (entry.stat.st_mtime_ns, entry.stat.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=into, follow_symlinks=False)

    def _clear(self, into: int, name: str) -> None:
        """Remove what stands at `name`: a directory only where an archive replaces it."""
        try:
            os.unlink(name, dir_fd=into)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            path = f"/{where(self.root, into)}/{name}".replace("//", "/")
            if not self.replace:
                raise NotADirectory(
                    f"cannot copy a file over the directory `{path}`",
                    hint="remove the directory in a RUN before, or copy to another place",
                ) from None
            remove_beneath(into, os.fsencode(name))

    def _ids(self, entry: Entry) -> tuple[int, int]:
        if self.owner is not None:
            return self.owner.uid, self.owner.gid
        if self.single_id:
            path = os.fsencode(f"/proc/self/fd/{entry.parent}/{entry.name}")
            return owner_of(path, entry.stat, single_id=True)
        return entry.stat.st_uid, entry.stat.st_gid

    def _mode(self, entry: Entry) -> int:
        mode = stat.S_IMODE(entry.stat.st_mode)
        return apply_mode(self.chmod, mode, directory=entry.is_directory) if self.chmod else mode

    def _dress(self, fd: int, entry: Entry) -> None:
        """Give a new file or directory its owner, mode, attributes and times, in that order."""
        uid, gid = self._ids(entry)
        if not self.single_id:
            try:
                os.fchown(fd, uid, gid)
            except OSError as error:
                raise HostError(
                    f"cannot give `{entry.rooted}` to {uid}:{gid}: {error.strerror}",
                    code="build/owner-not-mapped",
                    hint="the user's range of subordinate ids is too small for this id",
                ) from None
        elif (uid, gid) != (0, 0):
            os.setxattr(fd, OWNER, b"%d:%d" % (uid, gid))
        # A change of owner clears set-id bits and file capabilities, so they come after it.
        os.fchmod(fd, self._mode(entry))
        for name, value in attributes(entry):
            try:
                os.setxattr(fd, name, value)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP):
                    raise
                self.notices.append(f"`{entry.rooted}`: its attribute `{name}` cannot be kept")
        os.utime(fd, ns=(entry.stat.st_mtime_ns, entry.stat.st_mtime_ns))


def make_directory(root: int, path: str, owner: Owner, *, single_id: bool) -> tuple[int, list[str]]:
    """Do as open_directory_beneath, with mode 0755; with a single id the owner is recorded."""
    if not single_id:
        return open_directory_beneath(root, path, 0o755, uid=owner.uid, gid=owner.gid)
    fd, made = open_directory_beneath(root, path, 0o755)
    if owner != Owner(0, 0):
        for each in made:
            new = open_beneath(root, each, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.setxattr(new, OWNER, b"%d:%d" % (owner.uid, owner.gid))
            finally:
                os.close(new)
    return fd, made


def _check_name(entry: Entry, name: str) -> None:
    if name.startswith(_REMOVES):
        raise ReservedName(
            f"`{entry.rooted}` cannot be copied to `{name}`: in an image that name means a removal",
            hint=f"rename it: names that begin with `{_REMOVES}` mark removed files",
        )


def copy_bytes(source: int, target: int, stop: Callable[[], bool] = lambda: False) -> None:
    """Copy everything between two regular files, in the kernel; holes stay holes.

    stop: asked now and then; when it is true, the rest is left out
    """
    size = os.fstat(source).st_size
    blocks = os.fstat(source).st_blocks
    if blocks * 512 < size:
        _copy_sparse(source, target, size, stop)
        return
    while not stop():
        try:
            if not os.copy_file_range(source, target, _CHUNK):
                return
        except OSError as error:
            # Across file systems on kernels before 5.19, and where there is no such operation.
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            while not stop() and os.sendfile(target, source, None, _CHUNK):
                pass
            return


def _copy_sparse(source: int, target: int, size: int, stop: Callable[[], bool]) -> None:
    at = 0
    while at < size and not stop():
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        at = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(target, start, os.SEEK_SET)
        left = at - start
        while left > 0 and not stop():
            done = os.sendfile(target, source, None, min(left, _CHUNK))
            if not done:
                break
            left -= done
    os.ftruncate(target, size)
