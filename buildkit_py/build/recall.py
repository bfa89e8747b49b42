"""The no-op build, answered before anything is parsed.

After a build that ran from a directory, a record is kept of all it looked at: the bytes of the
Dockerfile and of the ignore file, the stat of every context file that a step read, the names in
each directory it listed, the images it started from, and where subordinate ids come from. When the
same request comes again and all of that still stands, the answer is the image of then. Anything
doubtful is no answer, and the build goes the long way (where every step is most likely cached).

Nothing heavy is imported here, and no SQLite is opened: docs/startup.md has the figures.

Why the stat of a file is enough: any write changes its ctime, which a program cannot set. Only a
write within the clock tick of the first look could go unseen, so a record is not kept while
anything in it is younger than the build (`is_settled`).
"""

from __future__ import annotations

import marshal
import os
import sys

from buildkit_py import __version__
from buildkit_py.core.digest import sha256
from buildkit_py.store.signature import index_signature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from buildkit_py.build.request import BuildRequest
    from buildkit_py.build.tree import Entry, Filter

    Signature = tuple[int, ...]
    Folder = tuple[dict[str, Signature], set[str]]

_FORMAT = f"2 {__version__} {sys.version_info[0]}.{sys.version_info[1]}"
"""A record of another release, or of another Python (marshal), is no record."""

_ID_FILES = ("/etc/subuid", "/etc/subgid", "/usr/bin/newuidmap", "/usr/bin/newgidmap")
"""What decides which owners a rootless build can give to files."""

_S_IFMT = 0o170000
_S_IFDIR = 0o040000
_S_IFREG = 0o100000


class Answer:
    """What a no-op build is answered with.

    image: config digest; manifest: manifest digest; size: the manifest's, in bytes
    steps: names of all steps, in the order in which they were announced
    warnings: drawn, to be shown again
    """

    __slots__ = ("image", "manifest", "size", "steps", "warnings")

    def __init__(
        self, image: str, manifest: str, size: int, steps: Sequence[str], warnings: Sequence[str]
    ) -> None:
        self.image = image
        self.manifest = manifest
        self.size = size
        self.steps = list(steps)
        self.warnings = list(warnings)


def signature(state: os.stat_result) -> Signature:
    """Return what must not change: of a directory only mode and identity, of others all."""
    mode = state.st_mode
    if mode & _S_IFMT == _S_IFDIR:
        return (mode, state.st_ino)
    return (mode, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def record_path(request: BuildRequest) -> str:
    name = sha256(request.identity().encode("utf-8", "surrogateescape"))
    return os.path.join(request.root, "recall", name.removeprefix("sha256:"))


def blob_path(root: str, digest: str) -> str:
    return os.path.join(root, "content", "blobs", *digest.split(":", 1))


def keep(
    request: BuildRequest,
    answer: Answer,
    *,
    texts: Mapping[str, str],
    absent: Sequence[str],
    files: Mapping[str, Signature],
    folders: Mapping[str, Folder],
    names: Mapping[str, str],
    blobs: Mapping[str, int],
) -> None:
    """Keep a record for `recall`.

    texts: absolute path to digest, of Dockerfile and ignore file
    absent: absolute paths that must stay absent, such as a `.dockerignore` that is none
    files: absolute path to signature
    folders: absolute path of each listed directory to (signatures of the entries that count,
        names that do not)
    names: image name to manifest digest: bases, and the tags that the build gave
    blobs: digest to size, of all that the image is made of
    """
    data = {
        "format": _FORMAT,
        "answer": (answer.image, answer.manifest, answer.size, answer.steps, answer.warnings),
        "texts": dict(texts),
        "absent": list(absent),
        "files": dict(files),
        "folders": {path: (kept, frozenset(other)) for path, (kept, other) in folders.items()},
        "names": dict(names),
        "blobs": dict(blobs),
        "index": index_signature(request.root),
        "ids": _id_files(),
    }
    _write(record_path(request), data)


def _id_files() -> list[Signature | None]:
    found: list[Signature | None] = []
    for path in _ID_FILES:
        try:
            found.append(signature(os.stat(path)))
        except OSError:
            found.append(None)
    return found


def _write(path: str, data: dict[str, Any]) -> None:
    from buildkit_py.core.files import write_atomically

    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_atomically(path, marshal.dumps(data), mode=0o600, sync=False)


def forget(request: BuildRequest) -> None:
    """Drop the record: the request is about to be built anew."""
    try:
        os.unlink(record_path(request))
    except OSError:
        return


def recall(request: BuildRequest) -> Answer | None:
    """Return the answer of an earlier build when nothing changed since, else None."""
    if request.no_cache or request.no_cache_filter or request.pull or request.outputs:
        return None
    path = record_path(request)
    try:
        # `marshal` trusts what it reads: so must we, and that is only what we wrote ourselves.
        data = marshal.loads(_read(path, owner=os.geteuid()))
        if data["format"] != _FORMAT or data["ids"] != _id_files():
            return None
        return _check(request, path, data)
    except (OSError, ValueError, EOFError, TypeError, KeyError):
        # Unreadable, cut off or of another shape: as good as no record.
        return None


def _read(path: str, *, owner: int | None = None) -> bytes:
    """Return the bytes of a regular file: a FIFO in its place would make us wait for ever."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        state = os.fstat(fd)
        if state.st_mode & _S_IFMT != _S_IFREG or owner not in (None, state.st_uid):
            raise ValueError(path)
        return file.read(state.st_size)


def _check(request: BuildRequest, path: str, data: dict[str, Any]) -> Answer | None:
    image, manifest, size, steps, warnings = data["answer"]
    for digest, length in data["blobs"].items():
        if os.stat(blob_path(request.root, digest)).st_size != length:
            return None
    for file, digest in data["texts"].items():
        if sha256(_read(file)) != digest:
            return None
    if any(os.path.lexists(each) for each in data["absent"]):
        return None
    for file, expected in data["files"].items():
        if signature(os.lstat(file)) != expected:
            return None
    for folder, (kept, other) in data["folders"].items():
        if not _folder_stands(folder, kept, other):
            return None
    index = index_signature(request.root)
    if data["index"] != index:
        if not _names_stand(request.root, data["names"]):
            return None
        _write(path, {**data, "index": index})
    return Answer(image, manifest, size, steps, warnings)


def _folder_stands(folder: str, kept: dict[str, Signature], other: frozenset[str]) -> bool:
    """Tell whether a directory holds the same entries, apart from those that do not count."""
    seen = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            expected = kept.get(entry.name)
            if expected is not None:
                state = entry.stat(follow_symlinks=False)
                mode = state.st_mode
                if mode & _S_IFMT == _S_IFDIR:
                    if (mode, state.st_ino) != expected:
                        return False
                elif (
                    mode,
                    state.st_ino,
                    state.st_size,
                    state.st_mtime_ns,
                    state.st_ctime_ns,
                ) != expected:
                    return False
                seen += 1
            elif entry.name not in other:
                return False
    return seen == len(kept)


def _names_stand(root: str, names: Mapping[str, str]) -> bool:
    """Tell whether all image names still mean what they meant: other names have changed."""
    import json

    with open(os.path.join(root, "content", "index.json"), "rb") as file:
        index = json.load(file)
    standing: dict[str, str] = {}
    for entry in index.get("manifests", []):
        name = entry.get("annotations", {}).get("io.containerd.image.name")
        if name:
            standing[name] = entry["digest"]
    return all(standing.get(name) == digest for name, digest in names.items())


class Watch:
    """Collects what `keep` wants about the context, in a walk of its own.

    started_ns: when the build began; anything younger makes the whole record doubtful
    """

    def __init__(self, context: str, started_ns: int) -> None:
        self.context = context
        self.started_ns = started_ns
        self.files: dict[str, Signature] = {}
        self.folders: dict[str, Folder] = {}
        self.settled = True

    def look(
        self,
        root: int,
        sources: Sequence[str],
        *,
        filter: Filter,
        exclude: Filter,
        matches: Callable[[str, str], bool],
    ) -> None:
        """Note everything that the sources of one step name, and the directories it listed."""
        from buildkit_py.build import tree

        for source in sources:
            path = tree.clean(source)
            if tree.has_wildcard(path):
                self._note_wildcard(path.split("/"), "")
            for match in tree.find(root, source, filter, matches=matches):
                try:
                    self._note_way(match.path)
                    self._note_way(match.rooted)
                    for entry in tree.walk(match, root, filter, exclude):
                        self._note(entry)
                finally:
                    os.close(match.fd)

    def _note_wildcard(self, parts: list[str], at: str) -> None:
        """Every directory on a wildcard's way counts with all its names."""
        from buildkit_py.build.tree import has_wildcard

        folder = os.path.join(self.context, at)
        if not has_wildcard("/".join(parts)):
            return
        if has_wildcard(parts[0]):
            self._list(folder)
        if len(parts) > 1 and os.path.isdir(folder):
            for name in os.listdir(folder) if has_wildcard(parts[0]) else parts[:1]:
                below = os.path.join(at, name)
                if os.path.isdir(os.path.join(self.context, below)):
                    self._note_wildcard(parts[1:], below)

    def _list(self, folder: str) -> None:
        """All names of a directory count, none of their states (unless noted otherwise)."""
        if os.path.isdir(folder) and folder not in self.folders:
            self._age(os.lstat(folder))
            self.folders[folder] = ({}, set(os.listdir(folder)))

    def _note_way(self, path: str) -> None:
        """Note a source itself and each directory or link that leads to it."""
        at = self.context
        for part in path.split("/") if path else []:
            at = f"{at}/{part}"
            state = os.lstat(at)
            self._age(state)
            self.files[at] = signature(state)

    def _note(self, entry: Entry) -> None:
        path = f"{self.context}/{entry.rooted}" if entry.rooted else self.context
        if entry.path:
            folder = path.rpartition("/")[0]
            kept, other = self.folders[folder]
            name = entry.name
            other.discard(name)
            kept[name] = signature(entry.stat)
        if entry.is_directory:
            # Its own names count; which of them are kept is seen as the walk goes on.
            self._list(path)
            self._age(entry.stat)
        else:
            self._age(entry.stat)

    def _age(self, state: os.stat_result) -> None:
        from buildkit_py.build.content import is_settled

        if not is_settled(state, self.started_ns):
            self.settled = False
