"""Content by digest: the blobs of an OCI layout.

A blob appears under its name complete and verified, by one rename, and never changes (0444).
Whoever holds an open file keeps reading it, even when the blob is removed meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from types import TracebackType
from typing import BinaryIO

from buildkit_py.core.data import dataclass
from buildkit_py.core.digest import Digest, hasher, is_digest
from buildkit_py.core.errors import HostError, RemoteError, StateError
from buildkit_py.core.files import sync_folder
from buildkit_py.oci.image import MOST_METADATA_BYTES
from buildkit_py.store.session import Session


class DigestMismatch(RemoteError):
    """Bytes are not those that their descriptor promised."""

    code = "store/digest-mismatch"


class DamagedBlob(StateError):
    """Stored bytes are not those of their digest any more."""

    code = "store/damaged-blob"

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"the stored content `{digest}` is damaged",
            hint="`pyengine rmi` the image, and pull or build it again",
        )
        self.digest = digest


class MissingBlob(StateError):
    """A digest is referred to and not there."""

    code = "store/missing-blob"

    def __init__(self, digest: str) -> None:
        super().__init__(
            f"the store has no content `{digest}`", hint="pull or build the image again"
        )
        self.digest = digest


@dataclass(frozen=True, slots=True)
class Blob:
    """What was stored: its digest and its size in bytes."""

    digest: Digest
    size: int


class Content:
    """The blobs of one state root."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.directory = os.path.join(session.root, "content")
        self._blobs = os.path.join(self.directory, "blobs", "sha256")

    def path(self, digest: Digest) -> str:
        """Return where the blob is, or would be; raise StateError for a malformed digest."""
        if not is_digest(digest):
            raise StateError(f"`{digest}` is no sha256 digest", code="store/bad-digest")
        return os.path.join(self._blobs, digest[7:])

    def has(self, digest: Digest) -> bool:
        return os.path.exists(self.path(digest))

    def size(self, digest: Digest) -> int:
        """Return the size in bytes; raise MissingBlob."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise MissingBlob(digest) from None

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading; raise MissingBlob. What is read is not verified again."""
        try:
            return open(self.path(digest), "rb")
        except FileNotFoundError:
            raise MissingBlob(digest) from None

    def read(self, digest: Digest) -> bytes:
        """Return a manifest or config, verified; raise MissingBlob or DamagedBlob.

        Refuses what is larger than metadata may be: layers are streamed with `open`.
        """
        with self.open(digest) as file:
            data = file.read(MOST_METADATA_BYTES + 1)
        if len(data) > MOST_METADATA_BYTES:
            raise StateError(
                f"`{digest}` is too large for a manifest or config", code="store/too-large"
            )
        running = hasher()
        running.update(data)
        if "sha256:" + running.hexdigest() != digest:
            raise DamagedBlob(digest)
        return data

    def verify(self, digest: Digest) -> None:
        """Read a whole blob; raise MissingBlob or DamagedBlob."""
        running = hasher()
        with self.open(digest) as file:
            while data := file.read(1 << 20):
                running.update(data)
        if "sha256:" + running.hexdigest() != digest:
            raise DamagedBlob(digest)

    def put(self, data: bytes) -> Blob:
        """Store bytes and return what to call them."""
        with self.writer() as writer:
            writer.write(data)
            return writer.commit()

    def writer(self) -> Writer:
        """Return a context manager that takes a blob's bytes; without `commit` they vanish."""
        return Writer(self, self._session.temporary("blob-"))

    def digests(self) -> list[Digest]:
        """Return the digests of all blobs, sorted."""
        return [Digest(f"sha256:{name}") for name in sorted(os.listdir(self._blobs))]

    def remove(self, digest: Digest) -> None:
        """Remove a blob. Only whoever is alone in the store may do that (`Session.alone`)."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(digest))

    def sync(self) -> None:
        """Make the names of blobs survive a loss of power: done before a name leads to them."""
        sync_folder(self._blobs)


class Writer:
    """A blob on its way in. Digest and size are taken while the bytes pass."""

    def __init__(self, content: Content, path: str) -> None:
        self._content = content
        self._path = path
        self._file: BinaryIO | None = None
        self._hash = hasher()
        self.size = 0

    def __enter__(self) -> Writer:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(fd, "wb", buffering=0)
        return self

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self._file is not None
        self._hash.update(data)
        self.size += len(data)
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise HostError(
                f"cannot write to the store: {error.strerror}",
                code="store/cannot-write",
                hint="free some space, or choose another state root with `--root`",
            ) from error

    def commit(self, expected: Digest | None = None, size: int | None = None) -> Blob:
        """Give the blob its name, and return it; raise DigestMismatch and store nothing.

        A blob that is there already is kept, and these bytes are dropped.
        """
        assert self._file is not None
        digest = Digest("sha256:" + self._hash.hexdigest())
        if size is not None and size != self.size:
            raise DigestMismatch(
                f"expected {size} bytes of `{expected or digest}`, got {self.size}"
            )
        if expected is not None and expected != digest:
            raise DigestMismatch(f"expected content `{expected}`, got `{digest}`")
        target = self._content.path(digest)
        if not _same_size(target, self.size):
            os.fchmod(self._file.fileno(), 0o444)
            os.fsync(self._file.fileno())
            os.rename(self._path, target)
        return Blob(digest, self.size)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


def _same_size(path: str, size: int) -> bool:
    """Tell whether a blob is there whole; one that lost its bytes is to be replaced."""
    try:
        return os.stat(path).st_size == size
    except FileNotFoundError:
        return False
