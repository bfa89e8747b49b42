"""What earlier builds made, by cache key, and digests of files by their stat: one SQLite file.

The only door to sqlite3. One connection serves all threads of a process under a lock; between
processes SQLite's own locks serve. Losing this file costs time, never an image: a file that
SQLite calls damaged is set aside and a new one begun.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from types import TracebackType

    from buildkit_py.core.errors import BuildkitError

VERSION = 2
"""Of the tables; a file of an older release gets what it lacks."""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS results (
    key TEXT PRIMARY KEY, identity TEXT NOT NULL, snapshot TEXT, created TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS results_by_snapshot ON results (snapshot);
CREATE TABLE IF NOT EXISTS contents (
    snapshot TEXT, selection TEXT, digest TEXT NOT NULL, PRIMARY KEY (snapshot, selection)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS warnings (
    snapshot TEXT, number INTEGER, code TEXT NOT NULL, message TEXT NOT NULL, hint TEXT,
    PRIMARY KEY (snapshot, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (stat BLOB PRIMARY KEY, digest BLOB NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""
MOST_FILES = 2_000_000
"""Rows of `files` at the most: about 100 MB. Beyond that the table is begun anew."""


class _Turn:
    """One thread's turn on the connection; what SQLite says becomes an error of ours."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lock.release()
        if error is not None:
            import sqlite3

            if isinstance(error, sqlite3.Error):
                raise _explained(self.path, error) from error


def _explained(path: str, error: sqlite3.Error) -> BuildkitError:
    """Return what to tell people: a full disk and the like are the machine's, a bad file is not."""
    from buildkit_py.core.errors import HostError, StateError

    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_MISMATCH")):
        return StateError(
            f"`{path}` is damaged: {error}",
            code="store/memory-damaged",
            hint="remove it: that costs time, no image",
        )
    return HostError(
        f"`{path}` cannot be used: {error}",
        code="store/memory-unusable",
        hint="is the disk full, or read-only?",
    )


class Database:
    """The open database of one state root.

        with Database(os.path.join(root, "memory.db")) as database:
            ...

    Raises StateError when the file is of a newer release.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.lock = _Turn(path)
        with self.lock:
            self.connection = self._open()

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        from buildkit_py.core.files import Lock

        # SQLite waits for nobody while it changes the journal's mode: of two processes that make
        # the file at the same time, one would be told that it is locked.
        with Lock(f"{self.path}.lock"):
            try:
                return self._connect()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                # Damaged, say by a loss of power: what was in it can be made again.
                os.replace(self.path, f"{self.path}.damaged")
                return self._connect()

    def _connect(self) -> sqlite3.Connection:
        import sqlite3

        from buildkit_py.core.errors import StateError

        connection = sqlite3.connect(
            self.path, timeout=60, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            connection.close()
            raise StateError(
                f"`{self.path}` was written by a newer release",
                code="state/newer",
                hint="upgrade buildkit_py, or use another state root (`--root`)",
            )
        if version < VERSION:
            connection.executescript(SCHEMA)
        return connection

    def find(self, key: str) -> tuple[str, str | None, str] | None:
        """Return identity, snapshot and time of a result."""
        query = "SELECT identity, snapshot, created FROM results WHERE key = ?"
        with self.lock:
            row: tuple[str, str | None, str] | None = self.connection.execute(
                query, (key,)
            ).fetchone()
        return row

    def remember(
        self,
        keys: Sequence[str],
        row: tuple[str, str | None, str],
        *,
        replace: bool,
        alive: Callable[[str | None], bool],
    ) -> tuple[str, str | None, str]:
        """Keep a row under all keys, unless another process kept a living one first.

        alive: tells whether a snapshot still exists
        Returns the row that stands afterwards under every key.
        """
        query = "SELECT identity, snapshot, created FROM results WHERE key = ?"
        with self.lock:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                if not replace:
                    for key in keys:
                        found = self.connection.execute(query, (key,)).fetchone()
                        if found is not None and alive(found[1]):
                            row = found
                            break
                self.connection.executemany(
                    "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)",
                    [(key, *row) for key in keys],
                )
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")
        return row

    def snapshots(self) -> set[str]:
        """Return the snapshots that results name."""
        query = "SELECT DISTINCT snapshot FROM results WHERE snapshot IS NOT NULL"
        with self.lock:
            return {row[0] for row in self.connection.execute(query)}

    def forget(self, snapshots: Iterable[str]) -> None:
        """Drop all that is known of the given snapshots."""
        rows = [(each,) for each in snapshots]
        with self.lock:
            self.connection.executemany("DELETE FROM results WHERE snapshot = ?", rows)
            self.connection.executemany("DELETE FROM contents WHERE snapshot = ?", rows)
            self.connection.executemany("DELETE FROM warnings WHERE snapshot = ?", rows)

    def find_warnings(self, snapshot: str) -> list[tuple[str, str, str | None]]:
        """Return code, message and hint of what was warned of when a snapshot was made."""
        query = "SELECT code, message, hint FROM warnings WHERE snapshot = ? ORDER BY number"
        with self.lock:
            return list(self.connection.execute(query, (snapshot,)))

    def keep_warnings(self, snapshot: str, warnings: Sequence[tuple[str, str, str | None]]) -> None:
        rows = [(snapshot, number, *row) for number, row in enumerate(warnings)]
        with self.lock:
            self.connection.executemany("INSERT OR REPLACE INTO warnings VALUES (?,?,?,?,?)", rows)

    def find_content(self, snapshot: str, selection: str) -> str | None:
        """Return the digest of selected files of a snapshot, which never change."""
        query = "SELECT digest FROM contents WHERE snapshot = ? AND selection = ?"
        with self.lock:
            row = self.connection.execute(query, (snapshot, selection)).fetchone()
        return None if row is None else str(row[0])

    def keep_content(self, snapshot: str, selection: str, digest: str) -> None:
        with self.lock:
            self.connection.execute(
                "INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", (snapshot, selection, digest)
            )

    def find_file(self, stat: bytes) -> bytes | None:
        """Return the raw SHA-256 of a file by its packed stat."""
        with self.lock:
            row = self.connection.execute(
                "SELECT digest FROM files WHERE stat = ?", (stat,)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def keep_files(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep digests of files by packed stat, in one transaction."""
        with self.lock:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                (count,) = self.connection.execute("SELECT count(*) FROM files").fetchone()
                if count > MOST_FILES:
                    self.connection.execute("DELETE FROM files")
                self.connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", rows)
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    def close(self) -> None:
        with self.lock:
            self.connection.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
