"""A snapshot's changes into a layer: the same changes always give the same bytes.

Rules of containerd's ChangeWriter, measured on BuildKit: whiteouts are empty files of mode 0, of
root and of 1970; hard links among the changed files are kept; parents of what changed are in;
sockets are not. Holes are written as zeros, since not every reader knows tar's sparse formats.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from buildkit_py.core.digest import Digest, hasher
from buildkit_py.core.errors import BuildFailed
from buildkit_py.oci.image import LAYER_GZIP, Descriptor
from buildkit_py.store.content import Blob, Content, Writer
from buildkit_py.store.layers.diff import Change
from buildkit_py.store.layers.marks import WHITEOUT_PREFIX
from buildkit_py.store.layers.merged import owner_of, xattrs_of
from buildkit_py.store.layers.record import Layer
from buildkit_py.store.layers.tar_write import END, header, padding

if TYPE_CHECKING:
    from buildkit_py.store.snapshots import SnapshotId, Snapshots

CHUNK = 1 << 18
_LEVEL = 2  # isal's: about gzip -3 in size at six times its speed
_ZLIB_LEVEL = 6


class ReservedName(BuildFailed):
    """A step left a file whose name means a removal in a layer."""

    code = "store/reserved-name"


class PathTooLong(BuildFailed):
    """A step left a path that no program can name in one piece (PATH_MAX), so nor can a layer."""

    code = "store/path-too-long"


def pack(
    snapshots: Snapshots,
    content: Content,
    id: SnapshotId,
    *,
    check: Callable[[], None] = lambda: None,
) -> Layer:
    """Return the layer of a snapshot, made now or remembered from before.

    check: called often; what it raises ends the work, and nothing is kept
    Cost: about 1 ms for a small change, and no more than reading a note the second time.
    """
    layer = snapshots.layer(id)
    if layer is None:
        try:
            layer = write_layer(
                snapshots.changes(id), content, single_id=snapshots.single_id, check=check
            )
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise PathTooLong(
                "a step left directories too deep for a layer: a path is longer than 4096 bytes"
            ) from None
        snapshots.remember_layer(id, layer)
    return layer


def write_layer(
    changes: Iterable[Change],
    content: Content,
    *,
    single_id: bool,
    check: Callable[[], None] = lambda: None,
) -> Layer:
    """Write changes, sorted and with their parents, as a gzip layer into the store.

    Memory does not grow with files' sizes; it grows by one entry for each hard-linked file.
    Raises ReservedName for a file `.wh.*`: every reader would take it for a removal.
    """
    with content.writer() as writer:
        sink = LayerSink(writer, check)
        linked: dict[tuple[int, int], bytes] = {}
        for change in changes:
            check()
            _write_change(change, sink, linked, single_id)
        sink.write(END)
        sink.close()
        blob = writer.commit()
    return Layer(sink.descriptor(blob), sink.diff_id)


class LayerSink:
    """Takes a tar, and writes it compressed; both digests are taken on the way.

    The compressor is fed pieces of one size whatever sizes come in: its output depends on them.
    """

    def __init__(self, writer: Writer, check: Callable[[], None] = lambda: None) -> None:
        self._writer = writer
        self._check = check
        self._pending = bytearray()
        self._hash = hasher()
        self._compressor = _compressor()
        self.size = 0

    def write(self, data: bytes) -> None:
        pending = self._pending
        pending += data
        if len(pending) < CHUNK:
            return
        whole = len(pending) - len(pending) % CHUNK
        with memoryview(pending) as view:
            for start in range(0, whole, CHUNK):
                self._take(view[start : start + CHUNK])
        del pending[:whole]

    def close(self) -> None:
        """Write what is left, and the end of the compressed stream."""
        self._take(bytes(self._pending))
        self._pending.clear()
        self._writer.write(self._compressor.flush())

    @property
    def diff_id(self) -> Digest:
        return Digest("sha256:" + self._hash.hexdigest())

    @staticmethod
    def descriptor(blob: Blob) -> Descriptor:
        """Return the descriptor of a layer that was written and committed."""
        return Descriptor(LAYER_GZIP, blob.digest, blob.size)

    def _take(self, piece: bytes | memoryview) -> None:
        self._check()
        self.size += len(piece)
        self._hash.update(piece)
        data = self._compressor.compress(piece)
        if data:
            self._writer.write(data)


def _compressor() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return zlib.compressobj(_ZLIB_LEVEL, zlib.DEFLATED, 31)
    return isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, 31)


def _write_change(
    change: Change, sink: LayerSink, linked: dict[tuple[int, int], bytes], single_id: bool
) -> None:
    folder, _, base = change.name.rpartition(b"/")
    if base.startswith(WHITEOUT_PREFIX):
        raise ReservedName(
            f"a file named `{change.name.decode(errors='backslashreplace')}` cannot be in a layer",
            hint="names that begin with `.wh.` mean removed files; remove it, or rename it",
        )
    state = change.state
    if state is None:
        name = (folder + b"/" if folder else b"") + WHITEOUT_PREFIX + base
        sink.write(header(name, b"0"))
        return
    uid, gid = owner_of(change.path, state, single_id=single_id)
    name = change.name
    kind = stat.S_IFMT(state.st_mode)
    link = b""
    size = 0
    if kind == stat.S_IFDIR:
        flag = b"5"
        name += b"/"
    elif kind == stat.S_IFREG:
        flag = b"0"
        size = state.st_size
    elif kind == stat.S_IFLNK:
        flag = b"2"
        link = os.readlink(change.path)
    elif kind == stat.S_IFIFO:
        flag = b"6"
    else:
        flag = b"3" if kind == stat.S_IFCHR else b"4"
    is_device = flag in (b"3", b"4")
    if state.st_nlink > 1 and kind != stat.S_IFDIR:
        first = linked.setdefault((state.st_dev, state.st_ino), name)
        if first is not name:
            flag, link, size = b"1", first, 0
    sink.write(
        header(
            name,
            flag,
            mode=stat.S_IMODE(state.st_mode),
            uid=uid,
            gid=gid,
            size=size,
            mtime=state.st_mtime_ns // 1_000_000_000,
            link=link,
            major=os.major(state.st_rdev) if is_device else 0,
            minor=os.minor(state.st_rdev) if is_device else 0,
            xattrs=xattrs_of(change.path, state),
        )
    )
    if size:
        _write_content(change, size, sink)


def _write_content(change: Change, size: int, sink: LayerSink) -> None:
    fd = os.open(change.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        left = size
        while left:
            data = os.read(fd, min(left, CHUNK))
            if not data:
                raise BuildFailed(
                    f"`{change.name.decode(errors='backslashreplace')}` became shorter while it"
                    " was packed",
                    code="store/changed-while-packing",
                )
            sink.write(data)
            left -= len(data)
    finally:
        os.close(fd)
    sink.write(padding(size))
