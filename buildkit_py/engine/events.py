"""What happened to a group's containers: ROOT/events/GROUP.jsonl, a JSON object a line.

Only the group's supervisor appends, and what it wrote survives it, until the last container of the
group is removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from buildkit_py.engine.clock import now

MOST_BYTES = 1 << 20
"""A journal as long as this becomes `GROUP.jsonl.1`, in place of the one before."""


def path_of(root: str, group: str) -> str:
    return os.path.join(root, "events", f"{group}.jsonl")


class Journal:
    """The journal of one group, for its supervisor."""

    def __init__(self, root: str, group: str) -> None:
        self._path = path_of(root, group)
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)

    def write(self, event: str, attributes: Mapping[str, str]) -> dict[str, str]:
        """Append an event and return it as it was written."""
        data = {"time": now(), "event": event, **attributes}
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(self._path, flags, 0o640)
        except OSError:
            return data  # a disk that is full stops no container
        try:
            if (
                os.write(fd, json.dumps(data).encode() + b"\n")
                and os.fstat(fd).st_size > MOST_BYTES
            ):
                os.replace(self._path, f"{self._path}.1")
        except OSError:
            return data
        finally:
            os.close(fd)
        return data


def read(root: str, group: str) -> Iterator[dict[str, Any]]:
    """Give the events of a group, the oldest first; a torn last line is left out."""
    for path in (f"{path_of(root, group)}.1", path_of(root, group)):
        try:
            with open(path, "rb") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                continue
