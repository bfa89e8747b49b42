"""A layer's tar into a directory, by docker's and OCI's rules.

The tar is hostile until proven otherwise. Names are resolved beneath the directory's descriptor
(`beneath`), metadata is bounded (`tar_read`), marks of overlay cannot be smuggled in, and digest,
size and diff id are compared before the caller may use what came out.

A layer is unpacked by itself: what it removes from the layers below becomes marks (`marks`).
Rules: image-spec 1.1 layer.md; moby pkg/archive/diff.go; containerd pkg/archive/tar.go.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import BinaryIO

from buildkit_py.core.data import dataclass, field
from buildkit_py.core.digest import Digest
from buildkit_py.core.errors import HostError
from buildkit_py.store.layers.beneath import Beneath, Parts, clean, shown
from buildkit_py.store.layers.errors import BadLayer, LayerTooLarge
from buildkit_py.store.layers.marks import (
    OPAQUE_NAME,
    OWNER,
    WHITEOUT_PREFIX,
    Overlay,
    belongs_in_layer,
    is_whiteout,
    opaque_name,
)
from buildkit_py.store.layers.merged import Merged
from buildkit_py.store.layers.streams import CHUNK, Hashed, opened
from buildkit_py.store.layers.tar_read import Member, Readable, TarReader
from buildkit_py.store.trees import remove_beneath

_MOST_ID = 0xFFFFFFFE  # chown(2) takes 2^32-1 for "leave as it is"
_MOST_NOTES = 100
_HOLE = 4096
_UNKNOWN = Digest("")
_ZEROS = bytes(CHUNK)


@dataclass(frozen=True, slots=True)
class Rules:
    """How a layer is unpacked.

    overlay: which marks stand for what is gone; "copy" collects them in the result
    single_id: chown cannot work, owners are recorded in an attribute
    most_bytes: of the uncompressed tar, and of its files together, holes included
    most_entries: members of the tar
    """

    overlay: Overlay
    single_id: bool = False
    most_bytes: int | None = None
    most_entries: int | None = None


@dataclass(slots=True)
class Unpacked:
    """What came out. Sizes are bytes.

    skipped: what could not be made here and why, the first hundred
    hides_all: the layer has an opaque root: nothing below it is visible
    removed, opaque: with rules for copies, the names that are gone from below, and the
        directories that show nothing from below
    """

    diff_id: Digest = _UNKNOWN
    size: int = 0
    entries: int = 0
    skipped: list[str] = field(default_factory=list)
    hides_all: bool = False
    removed: list[Parts] = field(default_factory=list)
    opaque: list[Parts] = field(default_factory=list)


def unpack_layer(
    source: BinaryIO,
    directory: str,
    rules: Rules,
    *,
    lower: tuple[str, ...] = (),
    diff_id: Digest | None = None,
    digest: Digest | None = None,
    size: int | None = None,
) -> Unpacked:
    """Unpack a layer into an empty directory, and return what came out.

    source: the layer as it is in the store; gzip, bzip2, xz, zstd or plain
    lower: directories of the snapshots below, topmost first: parents that the tar does not name
        take their mode and owner from there, and a hard link may lead there
    diff_id, digest, size: what uncompressed and compressed bytes must be, where known
    Raises BadLayer, LayerTooLarge, DigestMismatch (the directory is of no use then), HostError.
    """
    outer = Hashed(source)
    inner = Hashed(opened(outer), most=rules.most_bytes)  # type: ignore[arg-type]
    stream = io.BufferedReader(inner, CHUNK)
    root_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _Unpacker(root_fd, rules, Merged(lower, rules.overlay)) as unpacker:
            unpacker.run(TarReader(stream))
            result = unpacker.result
    finally:
        os.close(root_fd)
    while stream.read(CHUNK):
        pass  # What follows the end of a tar belongs to the digests.
    while outer.read(CHUNK):
        pass
    outer.expect(digest, size, "layer")
    inner.expect(diff_id, None, "diff id")
    result.diff_id = inner.digest
    result.size = inner.size
    return result


class _Unpacker:
    def __init__(self, root_fd: int, rules: Rules, lower: Merged) -> None:
        self._root_fd = root_fd
        self._rules = rules
        self._lower = lower
        self._beneath = Beneath(root_fd, self._make_parent)
        self._directories: dict[Parts, int] = {}
        self._bytes = 0
        self.result = Unpacked()

    def __enter__(self) -> _Unpacker:
        return self

    def __exit__(self, *_: object) -> None:
        self._beneath.forget()

    def run(self, reader: TarReader) -> None:
        most = self._rules.most_entries
        for member in reader:
            self.result.entries += 1
            if most is not None and self.result.entries > most:
                raise LayerTooLarge(f"the layer has more than {most} entries")
            try:
                self._unpack(member, reader)
            except OSError as error:
                raise _explained(error, member) from error
        self._set_directory_times()

    def _unpack(self, member: Member, reader: TarReader) -> None:
        parts = clean(member.name)
        if not parts:
            if member.kind == b"d":
                self._finish(self._root_fd, member)
                self._directories[()] = member.mtime_ns
            return
        if any(part.startswith(b".wh..wh.") and part != OPAQUE_NAME for part in parts):
            return  # AUFS kept notes of its own under such names; docker skips them.
        name = parts[-1]
        if any(part.startswith(WHITEOUT_PREFIX) for part in parts[:-1]):
            raise BadLayer(f"`{shown(member.name)}` is beneath a whiteout")
        parent_fd, parent = self._beneath.directory(parts[:-1])
        if name == OPAQUE_NAME:
            self._make_opaque(parent_fd, b".", parent)
        elif name.startswith(WHITEOUT_PREFIX):
            self._white_out(parent_fd, parent, name[len(WHITEOUT_PREFIX) :])
        else:
            self._make(parent_fd, (*parent, name), member, reader)

    def _make(self, parent_fd: int, parts: Parts, member: Member, reader: Readable) -> None:
        name = parts[-1]
        match member.kind:
            case b"-":
                self._make_file(parent_fd, parts, member, reader)
            case b"d":
                self._make_directory(parent_fd, parts)
                fd = _open_directory(parent_fd, name)
                try:
                    self._finish(fd, member)
                finally:
                    os.close(fd)
                self._directories[parts] = member.mtime_ns
            case b"l":
                if not member.link or len(member.link) > 4095 or b"\0" in member.link:
                    raise BadLayer(f"the link `{shown(member.name)}` has no possible target")
                self._clear(parent_fd, parts)
                os.symlink(member.link, name, dir_fd=parent_fd)
                if not self._rules.single_id:
                    self._own(member, name, parent_fd)
                _set_time(name, member.mtime_ns, parent_fd)
            case b"h":
                self._make_link(parent_fd, parts, member)
            case _:
                self._make_node(parent_fd, parts, member)

    def _make_file(self, parent_fd: int, parts: Parts, member: Member, reader: Readable) -> None:
        self._bytes += member.size
        if self._rules.most_bytes is not None and self._bytes > self._rules.most_bytes:
            raise LayerTooLarge(f"the layer's files are larger than {self._rules.most_bytes} bytes")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(parts[-1], flags, 0o600, dir_fd=parent_fd)
        except FileExistsError:
            self._clear(parent_fd, parts)
            fd = os.open(parts[-1], flags, 0o600, dir_fd=parent_fd)
        try:
            if member.extents is not None or member.size > CHUNK:
                _write_large(fd, member, reader)
            elif member.size:
                _write_all(fd, reader.read(member.size))
            self._finish(fd, member)
            os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))
        finally:
            os.close(fd)

    def _make_directory(self, parent_fd: int, parts: Parts) -> None:
        """Make a directory where there is none; one that stands there keeps its content."""
        name = parts[-1]
        try:
            os.mkdir(name, 0o700, dir_fd=parent_fd)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(name, dir_fd=parent_fd).st_mode):
                return
            # What this layer had here before, a whiteout too, hid what is below.
            self._clear(parent_fd, parts)
            os.mkdir(name, 0o700, dir_fd=parent_fd)
            self._make_opaque(parent_fd, name, parts)

    def _make_parent(self, parent_fd: int, name: bytes, parts: Parts) -> None:
        """Make a directory that the tar leaves unnamed: like the one below, else 0755 root."""
        try:
            if not is_whiteout(os.lstat(name, dir_fd=parent_fd)):
                raise BadLayer(f"`{shown(b'/'.join(parts))}` is a file and a directory at once")
        except FileNotFoundError:
            pass
        self._make_directory(parent_fd, parts)
        below = self._lower.lookup(parts)
        member = Member(b"/".join(parts), b"d", 0o755, 0, 0, 0, 0)
        if below is not None and stat.S_ISDIR(below.state.st_mode):
            member.mode = stat.S_IMODE(below.state.st_mode)
            member.uid, member.gid = self._lower.owner(below, single_id=self._rules.single_id)
            member.mtime_ns = below.state.st_mtime_ns
            member.xattrs = self._lower.xattrs(below)
        fd = _open_directory(parent_fd, name)
        try:
            self._finish(fd, member)
        finally:
            os.close(fd)
        self._directories[parts] = member.mtime_ns

    def _make_link(self, parent_fd: int, parts: Parts, member: Member) -> None:
        target = clean(member.link)
        if not target:
            raise BadLayer(f"the hard link `{shown(member.name)}` has no target")
        if any(part.startswith(WHITEOUT_PREFIX) for part in target):
            raise BadLayer(f"the hard link `{shown(member.name)}` leads to a whiteout")
        # The descriptor of the parent may be closed while the target's is looked for.
        parent_fd = os.dup(parent_fd)
        try:
            target_parts = self._find(target)
            if target_parts == parts:
                return
            if target_parts is None:
                self._copy_from_below(parent_fd, parts, target, member)
                return
            self._clear(parent_fd, parts)
            try:
                target_fd, _ = self._beneath.directory(target_parts[:-1], create=False)
                os.link(
                    target_parts[-1],
                    parts[-1],
                    src_dir_fd=target_fd,
                    dst_dir_fd=parent_fd,
                    follow_symlinks=False,
                )
            except FileNotFoundError:
                raise BadLayer(f"`{shown(member.name)}` replaces its own target") from None
        finally:
            os.close(parent_fd)

    def _find(self, target: Parts) -> Parts | None:
        """Return the real parts of something this layer holds, that is no directory."""
        try:
            fd, real = self._beneath.directory(target[:-1], create=False)
            state = os.lstat(target[-1], dir_fd=fd)
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(state.st_mode):
            raise BadLayer(f"a hard link leads to the directory `{shown(b'/'.join(target))}`")
        return None if is_whiteout(state) else (*real, target[-1])

    def _copy_from_below(self, parent_fd: int, parts: Parts, target: Parts, member: Member) -> None:
        """Copy a file of a layer below: a hard link between layers cannot be made."""
        below = self._lower.lookup(target)
        if below is None or not stat.S_ISREG(below.state.st_mode):
            raise BadLayer(
                f"the hard link `{shown(member.name)}` leads to `{shown(member.link)}`,"
                " which is no file of this image"
            )
        uid, gid = self._lower.owner(below, single_id=self._rules.single_id)
        copy = Member(
            member.name,
            b"-",
            stat.S_IMODE(below.state.st_mode),
            uid,
            gid,
            below.state.st_size,
            below.state.st_mtime_ns,
            xattrs=self._lower.xattrs(below),
        )
        with open(below.path, "rb") as file:
            self._make_file(parent_fd, parts, copy, file)

    def _make_node(self, parent_fd: int, parts: Parts, member: Member) -> None:
        name = parts[-1]
        if member.kind == b"p":
            self._clear(parent_fd, parts)
            os.mkfifo(name, 0o600, dir_fd=parent_fd)
        else:
            if member.kind == b"c" and (member.major, member.minor) == (0, 0):
                raise BadLayer(f"`{shown(member.name)}` is a device 0:0, overlay's own whiteout")
            if not (0 <= member.major < 1 << 12 and 0 <= member.minor < 1 << 20):
                raise BadLayer(f"`{shown(member.name)}` has impossible device numbers")
            kind = stat.S_IFCHR if member.kind == b"c" else stat.S_IFBLK
            device = os.makedev(member.major, member.minor)
            self._clear(parent_fd, parts)
            try:
                os.mknod(name, kind | 0o600, device, dir_fd=parent_fd)
            except PermissionError:
                # No user namespace but the first may make devices, whatever its capabilities.
                self._note(f"device `{shown(member.name)}`: only root can make device nodes")
                return
        self._own(member, name, parent_fd)
        os.chmod(name, member.mode, dir_fd=parent_fd)  # made just now, so it is no link
        _set_time(name, member.mtime_ns, parent_fd)

    def _white_out(self, parent_fd: int, parent: Parts, name: bytes) -> None:
        """Hide `name` of the layers below; what this very layer brings under it stays."""
        if name in (b"", b".", b".."):
            raise BadLayer("a whiteout names no file")
        if self._rules.overlay == "copy":
            self.result.removed.append((*parent, name))
            return
        try:
            state = os.lstat(name, dir_fd=parent_fd)
        except FileNotFoundError:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent_fd)
            return
        if stat.S_ISDIR(state.st_mode):
            self._make_opaque(parent_fd, name, (*parent, name))

    def _make_opaque(self, at: int, name: bytes, parts: Parts) -> None:
        """Make the directory `name` in `at`, whose parts are given, hide everything below it."""
        if not parts:
            # Overlay never looks at a mark on its root: the snapshot gets no lower directories.
            self.result.hides_all = True
        elif self._rules.overlay == "copy":
            self.result.opaque.append(parts)
        else:
            # setxattr does not take O_PATH descriptors.
            real = _open_directory(at, name)
            try:
                os.setxattr(real, opaque_name(self._rules.overlay), b"y")
            finally:
                os.close(real)

    def _clear(self, parent_fd: int, parts: Parts) -> None:
        """Remove what this layer put there before: the last entry of a name counts."""
        try:
            state = os.lstat(parts[-1], dir_fd=parent_fd)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(state.st_mode) or stat.S_ISLNK(state.st_mode):
            self._beneath.forget(but=parent_fd)
        remove_beneath(parent_fd, parts[-1])

    def _finish(self, fd: int, member: Member) -> None:
        """Give a file or directory owner, mode and attributes. The order matters: chown(2) takes
        set-uid bits and capabilities away."""
        self._own(member, fd, None)
        os.fchmod(fd, member.mode)
        for name, value in member.xattrs.items():
            self._set_attribute(fd, name, value, member)

    def _own(self, member: Member, at: int | bytes, parent_fd: int | None) -> None:
        uid, gid = member.uid, member.gid
        if not (0 <= uid <= _MOST_ID and 0 <= gid <= _MOST_ID):
            raise BadLayer(f"`{shown(member.name)}` has an impossible owner")
        if not self._rules.single_id:
            if isinstance(at, int):
                os.fchown(at, uid, gid)
            else:
                os.chown(at, uid, gid, dir_fd=parent_fd, follow_symlinks=False)
        elif isinstance(at, int) and (uid or gid):
            os.setxattr(at, OWNER, b"%d:%d" % (uid, gid))

    def _set_attribute(self, fd: int, name: bytes, value: bytes, member: Member) -> None:
        if not belongs_in_layer(name):
            return
        if not name.isascii() or len(name) > 255 or len(value) > 65536:
            raise BadLayer(f"`{shown(member.name)}` has an impossible attribute")
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSPC, errno.E2BIG):
                raise
            self._note(f"attribute `{shown(name)}` of `{shown(member.name)}`: {error.strerror}")

    def _note(self, text: str) -> None:
        if len(self.result.skipped) < _MOST_NOTES:
            self.result.skipped.append(text)

    def _set_directory_times(self) -> None:
        """Times come last: whatever is put into a directory changes its time."""
        for parts, mtime_ns in self._directories.items():
            try:
                fd, real = self._beneath.directory(parts, create=False)
            except FileNotFoundError:
                continue  # replaced by a file later in the tar
            if real == parts:
                inner = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
                try:
                    os.utime(inner, ns=(mtime_ns, mtime_ns))
                finally:
                    os.close(inner)


def _open_directory(parent_fd: int, name: bytes) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, dir_fd=parent_fd)


def _set_time(name: bytes, mtime_ns: int, parent_fd: int) -> None:
    os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=parent_fd, follow_symlinks=False)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _write_large(fd: int, member: Member, reader: Readable) -> None:
    """Write a file piece by piece; pieces of zeros become holes, as the maps of sparse files."""
    extents = member.extents if member.extents is not None else ((0, member.size),)
    for start, size in extents:
        position, end = start, start + size
        while position < end:
            data = reader.read(min(CHUNK, end - position))
            if not data:
                raise BadLayer(f"`{shown(member.name)}` is cut off")
            if len(data) < _HOLE or data != _ZEROS[: len(data)]:
                os.lseek(fd, position, os.SEEK_SET)
                _write_all(fd, data)
            position += len(data)
    os.ftruncate(fd, member.size)


def _explained(error: OSError, member: Member) -> HostError:
    reason = error.strerror or str(error)
    hint = None
    if error.errno == errno.EINVAL:
        hint = (
            f"the owner {member.uid}:{member.gid} may be outside of this user's range of"
            " subordinate ids (/etc/subuid, /etc/subgid)"
        )
    elif error.errno == errno.ENOSPC:
        hint = "free some space, or choose another state root with `--root`"
    elif error.errno in (errno.EFBIG, errno.ENAMETOOLONG, errno.EOVERFLOW, errno.ERANGE):
        hint = "the layer asks for more than this file system can hold"
    return HostError(
        f"cannot unpack `{shown(member.name)}`: {reason}", code="store/cannot-unpack", hint=hint
    )
