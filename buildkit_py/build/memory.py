"""The solver's memory on the store's database: a result counts while its snapshot exists."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_py.graph.keys import CacheKey
from buildkit_py.graph.solve import Result
from buildkit_py.store.memory import Database
from buildkit_py.store.snapshots import SnapshotId, Snapshots


class Remembered:
    def __init__(self, database: Database, snapshots: Snapshots) -> None:
        self.database = database
        self.snapshots = snapshots

    def find(self, key: CacheKey) -> Result | None:
        row = self.database.find(key)
        return Result(*row) if row is not None and self._alive(row[1]) else None

    def remember(
        self, keys: Sequence[CacheKey], result: Result, *, replace: bool = False
    ) -> Result:
        row = (result.identity, result.snapshot, result.created)
        kept = self.database.remember(keys, row, replace=replace, alive=self._alive)
        return Result(*kept)

    def _alive(self, snapshot: str | None) -> bool:
        return snapshot is None or self.snapshots.exists(SnapshotId(snapshot))
