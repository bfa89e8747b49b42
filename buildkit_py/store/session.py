"""The state root on disk, and what a running process owns in it.

    ROOT/content/    an OCI layout: oci-layout, index.json, blobs/sha256/
    ROOT/snapshots/  finished snapshots, one directory each
    ROOT/chains/     chain id -> snapshot of an unpacked layer (symbolic links)
    ROOT/tmp/        one directory per session: whatever is not finished yet
    ROOT/locks/      use (shared by every session), index, sessions

Unfinished things live in the session's directory, on which the session holds a lock. Finishing
is one rename. A session that died, however it died, lost its lock: the next `open_session` of
anybody removes what it left.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterator

from buildkit_py.core.errors import HostError
from buildkit_py.core.files import Lock, sync_folder, write_atomically
from buildkit_py.store.trees import remove_tree

_FOLDERS = (
    ("content/blobs/sha256", 0o755),
    # Snapshots hold set-uid programs of images, old ones too: no other user may reach them.
    ("snapshots", 0o700),
    ("chains", 0o755),
    ("tmp", 0o700),
    ("locks", 0o700),
)


class UnusableRoot(HostError):
    """The state root cannot be made, or is somebody else's: they could change what we trust."""

    code = "store/unusable-root"


class Session:
    """What one process has open in a state root. Make it with `open_session`."""

    def __init__(self, root: str, directory: str, own: Lock, use: Lock) -> None:
        self.root = root
        self.directory = directory
        self._own = own
        self._use = use
        self._numbers = itertools.count()

    def temporary(self, prefix: str) -> str:
        """Return a path in the session's directory that nobody else uses; nothing is there."""
        return os.path.join(self.directory, f"{prefix}{next(self._numbers)}")

    def replace(self, path: str, data: bytes) -> None:
        """Replace a file of the root whole; what a crash leaves of it lies in the session."""
        temporary = self.temporary("file-")
        write_atomically(temporary, data, sync=False)
        fd = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
        sync_folder(os.path.dirname(path))

    def lock(self, name: str) -> Lock:
        """Return the lock `name` of the whole root, not yet taken."""
        return Lock(os.path.join(self.root, "locks", name))

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Give True when no other session uses the root, and keep new ones waiting meanwhile.

        Nothing that a session could still want may be removed otherwise.
        """
        try:
            fcntl.flock(self._use.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A failed conversion may lose the lock that was held (flock(2)): take it again.
            fcntl.flock(self._use.fd, fcntl.LOCK_SH)
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(self._use.fd, fcntl.LOCK_SH)

    def close(self) -> None:
        """Remove what was not finished, and let go of the root."""
        if self._own.fd >= 0:
            _remove_directory(self.root, self.directory)
            self._own.release()
            self._use.release()


def open_session(root: str) -> Session:
    """Make the state root where it is missing, sweep what the dead left, and begin a session.

    Raises UnusableRoot.
    """
    make_layout(root)
    use = Lock(os.path.join(root, "locks", "use"), shared=True)
    use.acquire()
    try:
        with Lock(os.path.join(root, "locks", "sessions")):
            name = f"{os.getpid()}-{os.urandom(4).hex()}"
            directory = os.path.join(root, "tmp", name)
            os.mkdir(directory, 0o700)
            own = Lock(os.path.join(directory, "lock"))
            own.acquire()
            dead = _dead_sessions(root, name)
        try:
            for path, lock in dead:
                _remove_directory(root, path)
                lock.release()
        except BaseException:
            own.release()
            raise
    except BaseException:
        use.release()
        raise
    session = Session(root, directory, own, use)
    _complete_layout(session)
    return session


def _complete_layout(session: Session) -> None:
    content = os.path.join(session.root, "content")
    if os.path.exists(os.path.join(content, "index.json")):
        return
    with session.lock("index"):
        if not os.path.exists(os.path.join(content, "index.json")):
            from buildkit_py.store.layout import OCI_LAYOUT, index_bytes

            session.replace(os.path.join(content, "oci-layout"), OCI_LAYOUT)
            session.replace(os.path.join(content, "index.json"), index_bytes([]))


def _remove_directory(root: str, directory: str) -> None:
    """Remove a session's directory, whose lock the caller holds.

    The lock file goes last, and under the lock in which sweepers look for it: they would make it
    anew and believe that they own what we are removing.
    """
    for name in os.listdir(directory):
        if name != "lock":
            remove_tree(os.path.join(directory, name))
    with Lock(os.path.join(root, "locks", "sessions")):
        os.unlink(os.path.join(directory, "lock"))
        os.rmdir(directory)


def _dead_sessions(root: str, own_name: str) -> list[tuple[str, Lock]]:
    """Return directories of sessions that hold no lock any more, each locked by us now."""
    dead: list[tuple[str, Lock]] = []
    for name in sorted(os.listdir(os.path.join(root, "tmp"))):
        if name == own_name:
            continue
        path = os.path.join(root, "tmp", name)
        lock = Lock(os.path.join(path, "lock"))
        try:
            if lock.acquire(wait=False):
                dead.append((path, lock))
        except FileNotFoundError:
            continue  # its owner is removing it just now
        except NotADirectoryError:
            os.unlink(path)
    return dead


def make_layout(root: str) -> None:
    """Make the directories of a state root where they are missing; index.json comes after them.

    Raises UnusableRoot.
    """
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        _refuse_foreign(root)
        for name, mode in _FOLDERS:
            path = os.path.join(root, name)
            if not os.path.isdir(path):
                os.makedirs(path, exist_ok=True)
                os.chmod(path, mode)
    except OSError as error:
        raise UnusableRoot(
            f"`{root}` cannot be the state root: {error.strerror}",
            hint="choose another one with `--root`",
        ) from None


def _refuse_foreign(root: str) -> None:
    """Snapshots become programs that root runs: who owns the root owns whoever builds in it."""
    if os.stat(root).st_uid != os.geteuid():
        raise UnusableRoot(
            f"the state root `{root}` belongs to somebody else",
            hint="choose one of your own with `--root`",
        )
