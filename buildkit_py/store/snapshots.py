"""Snapshots: file systems, being written (`Active`) or finished.

A finished snapshot is a directory of ROOT/snapshots that nobody changes:

    fs/         its files: with overlay only what it changed, as a copy all of them
    meta.json   its parent and its chain id, where it is an unpacked layer
    layer.json  which layer it is, once somebody asked

An active one lies in the session's directory; `commit` is one rename. All methods may be called
from several threads.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import NewType

from buildkit_py.core.data import dataclass
from buildkit_py.core.digest import Digest, is_digest
from buildkit_py.core.errors import StateError
from buildkit_py.oci.image import ImageConfig, Manifest, to_json
from buildkit_py.store.content import Content
from buildkit_py.store.layers.diff import Change, copy_changes, overlay_changes, with_parents
from buildkit_py.store.layers.marks import Overlay
from buildkit_py.store.layers.merged import Merged
from buildkit_py.store.layers.record import Layer, layer_from_bytes, layer_to_bytes
from buildkit_py.store.session import Session
from buildkit_py.store.trees import disk_usage, remove_tree

SnapshotId = NewType("SnapshotId", str)

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 6  # short, so that the options of an overlay with many layers stay short


class MissingSnapshot(StateError):
    """A snapshot is referred to and not there."""

    code = "store/missing-snapshot"

    def __init__(self, id: str) -> None:
        super().__init__(f"the store has no snapshot `{id}`", hint="build again with `--no-cache`")


@dataclass(frozen=True, slots=True)
class _Meta:
    """What meta.json says.

    hides_all: nothing of the parent is visible (a layer with an opaque root)
    since_ns: for a copy, when copying had ended: what did not change since then is as it was
    ids: the id mapping that its files' owners are written in, see `Snapshots.ids`
    """

    parent: SnapshotId | None = None
    hides_all: bool = False
    chain: Digest | None = None
    since_ns: int | None = None
    ids: str = ""


class Active:
    """A snapshot that is being written. Made by `Snapshots.prepare`.

    directory: all that belongs to it, while it is not committed
    upper: directory of its own files: with overlay only the changes
    work: overlay's scratch directory, "" for a copy
    lower: directories below, topmost first; () for a copy or without a parent
    """

    def __init__(
        self, snapshots: Snapshots, directory: str, parent: SnapshotId | None, meta: _Meta
    ) -> None:
        self._snapshots = snapshots
        self.directory = directory
        self._meta = meta
        self.id = new_id()
        self.parent = parent
        self.upper = os.path.join(directory, "fs")
        self.work = os.path.join(directory, "work") if meta.since_ns is None else ""
        self.lower: tuple[str, ...] = ()
        if snapshots.overlay != "copy" and parent is not None:
            self.lower = snapshots.stack(parent)

    @contextlib.contextmanager
    def mount(self, *, volatile: bool = True) -> Iterator[int]:
        """Give an O_PATH descriptor of the whole file system, writable.

        With overlay it is a detached mount, gone when the block ends; without a parent, and for
        a copy, it is the directory itself.
        volatile: the kernel need not write to disk what is written here
        """
        if not self.lower:
            with _opened_directory(self.upper) as fd:
                yield fd
            return
        from buildkit_py.runtime.kernel import mounts

        userxattr = self._snapshots.overlay == "userxattr"
        fd = mounts.overlay(
            self.lower, self.upper, self.work, userxattr=userxattr, volatile=volatile
        )
        try:
            yield fd
        finally:
            os.close(fd)

    def commit(self, *, chain: Digest | None = None, hides_all: bool = False) -> SnapshotId:
        """Finish the snapshot, and return its id. It must not be mounted any more.

        chain: the chain id, when this is an unpacked layer
        """
        meta = _Meta(self.parent, hides_all, chain, self._meta.since_ns, self._snapshots.ids)
        if self.work:
            remove_tree(self.work)
        with open(os.path.join(self.directory, "meta.json"), "xb") as file:
            file.write(_meta_to_bytes(meta))
        while True:
            try:
                os.rename(self.directory, self._snapshots.directory(self.id))
                return self.id
            except OSError:
                # Taken: a rename replaces empty directories only, and snapshots are not empty.
                if not os.path.exists(self._snapshots.directory(self.id)):
                    raise
                self.id = new_id()

    def keep(self, path: str) -> None:
        """Move it out of the session to `path`, ROOT/containers/ID/layer, where it stays.

        What it stands on is not pruned while it is there. It must not be mounted; afterwards it
        is in `path`/fs, with overlay's scratch directory in `path`/work.
        """
        if self.parent is not None:
            with open(os.path.join(self.directory, "parent"), "x", encoding="ascii") as file:
                file.write(self.parent)
        if self.work:
            # A volatile mount leaves a mark in there, and the kernel then refuses all others: it
            # cannot know that no crash came in between. We do.
            remove_tree(self.work)
            os.mkdir(self.work, 0o700)
        os.rename(self.directory, path)

    def discard(self) -> None:
        """Throw the snapshot away; what was committed already is not touched."""
        remove_tree(self.directory)


class Snapshots:
    """The snapshots of one state root."""

    def __init__(
        self, session: Session, content: Content, *, overlay: Overlay, single_id: bool
    ) -> None:
        self.session = session
        self.content = content
        self.overlay: Overlay = overlay
        self.single_id = single_id
        self._base = os.path.join(session.root, "snapshots")
        self._chains = os.path.join(session.root, "chains")
        self._metas: dict[str, _Meta] = {}
        self._stacks: dict[str, tuple[str, ...]] = {}
        self._ids: str | None = None

    @property
    def ids(self) -> str:
        """How owners are written here: "" as they are, else in the user namespace's mapping.

        What another mapping wrote has other owners in ours, or none: it counts as not there, and
        is made again. That happens when a user gets subordinate ids, or loses or changes them.
        """
        if self._ids is None:
            maps = []
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/self/{name}", encoding="ascii") as file:
                    maps.append(";".join(",".join(line.split()) for line in file))
            self._ids = "" if maps == ["0,0,4294967295"] * 2 else " ".join(maps)
        return self._ids

    def directory(self, id: SnapshotId) -> str:
        if not id or id.strip(_LETTERS):
            raise StateError(f"`{id}` is no snapshot id", code="store/bad-snapshot-id")
        return os.path.join(self._base, id)

    def prepare(self, parent: SnapshotId | None) -> Active:
        """Begin a snapshot on top of a finished one, or an empty one; raise MissingSnapshot.

        With overlay that takes about 0.1 ms; a copy takes as long as copying the files does.
        """
        if parent is not None:
            self._meta(parent)
        directory = self.session.temporary("s")
        files = os.path.join(directory, "fs")
        os.mkdir(directory, 0o700)
        os.mkdir(files, 0o755)
        os.chmod(files, 0o755)  # whatever the umask is
        if self.overlay == "copy":
            if parent is not None:
                from buildkit_py.store.copying import copy_tree

                copy_tree(os.path.join(self.directory(parent), "fs"), files)
            mark = os.path.join(directory, "copied")
            with open(mark, "xb"):
                since_ns = os.stat(mark).st_ctime_ns
            os.unlink(mark)
            return Active(self, directory, parent, _Meta(parent, since_ns=since_ns))
        os.mkdir(os.path.join(directory, "work"), 0o700)
        if parent is not None:
            # An upper directory's own attributes are those that its overlay shows for `/`.
            from buildkit_py.store.copying import copy_attributes

            below = os.fsencode(os.path.join(self.directory(parent), "fs"))
            copy_attributes(below, os.fsencode(files), os.lstat(below))
        return Active(self, directory, parent, _Meta(parent))

    @contextlib.contextmanager
    def view(self, id: SnapshotId) -> Iterator[int]:
        """Give an O_PATH descriptor of the whole file system, read-only where it is a mount."""
        stack = self.stack(id)
        if self.overlay == "copy":
            with _opened_directory(stack[0]) as fd:
                yield fd
            return
        from buildkit_py.runtime.kernel import mounts

        fd = mounts.overlay(stack, None, None, userxattr=self.overlay == "userxattr")
        try:
            yield fd
        finally:
            os.close(fd)

    def stack(self, id: SnapshotId) -> tuple[str, ...]:
        """Return the directories that together are the snapshot, topmost first."""
        known = self._stacks.get(id)
        if known is not None:
            return known
        stack: list[str] = []
        current: SnapshotId | None = id
        while current is not None:
            meta = self._meta(current)
            stack.append(self.directory(current) + "/fs")
            current = None if meta.hides_all or self.overlay == "copy" else meta.parent
            below = self._stacks.get(current) if current is not None else None
            if below is not None:
                stack += below
                break
        self._stacks[id] = tuple(stack)
        return self._stacks[id]

    def parent(self, id: SnapshotId) -> SnapshotId | None:
        return self._meta(id).parent

    def exists(self, id: SnapshotId) -> bool:
        """Tell whether a snapshot and all those below it are there, with owners that we read."""
        current: SnapshotId | None = id
        try:
            while current is not None:
                if not os.path.isdir(os.path.join(self.directory(current), "fs")):
                    return False
                meta = self._meta(current)
                if meta.ids != self.ids:
                    return False
                current = meta.parent
        except MissingSnapshot:
            return False
        return True

    def list(self) -> list[SnapshotId]:
        """Return all finished snapshots, sorted by id."""
        return [SnapshotId(name) for name in sorted(os.listdir(self._base))]

    def usage(self, id: SnapshotId) -> int:
        """Return the bytes of disk that a snapshot occupies, without those below it."""
        self._meta(id)
        return disk_usage(os.path.join(self.directory(id), "fs"))

    def changes(self, id: SnapshotId) -> Iterator[Change]:
        """Give what a snapshot changed, with the directories that lead there."""
        meta = self._meta(id)
        own = os.path.join(self.directory(id), "fs")
        if self.overlay == "copy":
            below = self.stack(meta.parent)[0] if meta.parent is not None else None
            return with_parents(
                copy_changes(own, below, single_id=self.single_id, since_ns=meta.since_ns)
            )
        lower = Merged(self.stack(meta.parent) if meta.parent is not None else (), self.overlay)
        return with_parents(overlay_changes(own, lower, self.overlay, single_id=self.single_id))

    def layer(self, id: SnapshotId) -> Layer | None:
        """Return the layer that a snapshot is known to be, while the store has its content."""
        try:
            with open(os.path.join(self.directory(id), "layer.json"), "rb") as file:
                layer = layer_from_bytes(file.read())
        except (FileNotFoundError, StateError):
            return None  # a note that a crash cut off is made again
        return layer if self.content.has(layer.descriptor.digest) else None

    def remember_layer(self, id: SnapshotId, layer: Layer) -> None:
        """Note which layer a snapshot is."""
        temporary = self.session.temporary("layer-")
        with open(temporary, "xb") as file:
            file.write(layer_to_bytes(layer))
        os.replace(temporary, os.path.join(self.directory(id), "layer.json"))

    def unpacked(self, chain: Digest) -> SnapshotId | None:
        """Return the snapshot that a chain id was unpacked to, or None."""
        try:
            id = SnapshotId(os.readlink(self._chain_path(chain)))
        except FileNotFoundError:
            return None
        return id if self.exists(id) else None

    def remember_chain(self, chain: Digest, id: SnapshotId) -> SnapshotId:
        """Note that a snapshot is a chain id's, and return the one that is: the first wins."""
        path = self._chain_path(chain)
        try:
            os.symlink(id, path)
        except FileExistsError:
            other = self.unpacked(chain)
            if other is not None:
                return other
            temporary = self.session.temporary("chain-")
            os.symlink(id, temporary)
            os.replace(temporary, path)
        return id

    def unpack_image(
        self,
        manifest: Manifest,
        config: ImageConfig,
        progress: Callable[[int, int], None] | None = None,
        *,
        notice: Callable[[str], None] | None = None,
        most_bytes: int | None = None,
    ) -> SnapshotId | None:
        """Unpack the layers that are not unpacked yet, and return the topmost snapshot.

        progress: called with (number of the layer from 0, bytes of it read so far)
        notice: called with what could not be made here and why, such as a device node
        most_bytes: of each layer uncompressed
        Returns None for an image without layers. Raises BadLayer, DigestMismatch, MissingBlob.
        """
        from buildkit_py.store.unpacking import unpack_image

        return unpack_image(self, manifest, config, progress, notice=notice, most_bytes=most_bytes)

    def remove(self, id: SnapshotId) -> None:
        """Remove a snapshot; those on top of it must be gone, and nobody may use it."""
        meta = self._meta(id)
        if meta.chain is not None:
            path = self._chain_path(meta.chain)
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(path) == id:
                    os.unlink(path)
        doomed = self.session.temporary("gone-")
        os.rename(self.directory(id), doomed)
        self._metas.pop(id, None)
        self._stacks.pop(id, None)
        remove_tree(doomed)

    def kept_parents(self) -> set[SnapshotId]:
        """Return the snapshots that writable layers of containers stand on (see `Active.keep`)."""
        found = set()
        base = os.path.join(self.session.root, "containers")
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(base):
                with contextlib.suppress(FileNotFoundError):
                    path = os.path.join(base, name, "layer", "parent")
                    with open(path, encoding="ascii") as file:
                        found.add(SnapshotId(file.read()))
        return found

    def prune(self, keep: Iterable[SnapshotId]) -> tuple[SnapshotId, ...]:
        """Remove all snapshots but those of `keep`, of containers, and what they stand on.

        Returns those that were removed.

        Does nothing while another session uses the store: it may be building on any of them.
        """
        with self.session.alone() as alone:
            if not alone:
                return ()
            wanted: set[str] = set()
            for id in {*keep, *self.kept_parents()}:
                current: SnapshotId | None = id
                while current is not None and current not in wanted:
                    try:
                        parent = self._meta(current).parent
                    except MissingSnapshot:
                        break
                    wanted.add(current)
                    current = parent
            depths = {id: self._depth(id) for id in self.list() if id not in wanted}
            # The topmost first: a crash leaves no snapshot without its parent.
            doomed = tuple(sorted(depths, key=lambda each: (-depths[each], each)))
            for id in doomed:
                self.remove(id)
            self._remove_dangling_chains()
            return doomed

    def _remove_dangling_chains(self) -> None:
        for name in os.listdir(self._chains):
            path = os.path.join(self._chains, name)
            if not os.path.isdir(os.path.join(self._base, os.readlink(path))):
                os.unlink(path)

    def _depth(self, id: SnapshotId) -> int:
        depth = 0
        current: SnapshotId | None = id
        while current is not None:
            try:
                current = self._meta(current).parent
            except MissingSnapshot:
                break
            depth += 1
        return depth

    def _meta(self, id: SnapshotId) -> _Meta:
        known = self._metas.get(id)
        if known is None:
            try:
                with open(os.path.join(self.directory(id), "meta.json"), "rb") as file:
                    known = _meta_from_bytes(file.read(), id)
            except FileNotFoundError:
                raise MissingSnapshot(id) from None
            self._metas[id] = known
        return known

    def _chain_path(self, chain: Digest) -> str:
        if not is_digest(chain):
            raise StateError(f"`{chain}` is no chain id", code="store/bad-digest")
        return os.path.join(self._chains, chain[7:])


def new_id() -> SnapshotId:
    """Return a short id; whether it is free shows when the snapshot is committed."""
    number = int.from_bytes(os.urandom(5), "big")
    letters = []
    for _ in range(_ID_LENGTH):
        number, rest = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[rest])
    return SnapshotId("".join(letters))


@contextlib.contextmanager
def _opened_directory(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _meta_to_bytes(meta: _Meta) -> bytes:
    return to_json(
        {
            "parent": meta.parent,
            "hides_all": meta.hides_all,
            "chain": meta.chain,
            "since_ns": meta.since_ns,
            "ids": meta.ids,
        }
    )


def _meta_from_bytes(data: bytes, id: SnapshotId) -> _Meta:
    try:
        value = json.loads(data)
        parent, chain = value["parent"], value["chain"]
        return _Meta(
            SnapshotId(parent) if parent is not None else None,
            bool(value["hides_all"]),
            Digest(chain) if chain is not None else None,
            value["since_ns"],
            str(value.get("ids", "")),
        )
    except (ValueError, KeyError, TypeError):
        raise StateError(
            f"the notes of snapshot `{id}` are damaged", code="store/bad-snapshot"
        ) from None
