"""What happened to a group's containers: ROOT/events/GROUP.jsonl, a JSON object a line.

Only the group's supervisor appends, and what it wrote survives it, until the last container of the
group is removed.
"""

from __future__ import annotations

import json
import os
import threading
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


class News:
    """What people should know of what a group's supervisor writes from now on. Thread-safe.

    Notices are about this machine, warnings and errors about a container.
    """

    def __init__(self, root: str, group: str) -> None:
        self._path = path_of(root, group)
        self._lock = threading.Lock()
        self._seen = 0
        self.take()

    def take(self) -> list[str]:
        """Return what came since the last time, each a sentence."""
        with self._lock:
            lines = self._since_last()
        events = (json.loads(line) for line in lines)
        return [text for event in events if (text := _sentence(event))]

    def _since_last(self) -> list[bytes]:
        try:
            with open(self._path, "rb") as file:
                is_new = os.fstat(file.fileno()).st_size < self._seen
                rest = _rest(f"{self._path}.1", self._seen) if is_new else b""
                file.seek(0 if is_new else self._seen)
                data = file.read()
                whole = data[: data.rfind(b"\n") + 1]
                self._seen = (0 if is_new else self._seen) + len(whole)
        except FileNotFoundError:
            self._seen = 0
            return []
        return [*rest.splitlines(), *whole.splitlines()]


def _rest(path: str, start: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read()
    except FileNotFoundError:
        return b""


def _sentence(event: Mapping[str, str]) -> str:
    kind = event.get("event")
    if kind == "notice":
        return event["text"]
    return f"{event['name']}: {event['text']}" if kind in ("warning", "error") else ""
