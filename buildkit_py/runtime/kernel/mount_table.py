"""The mounts that this process sees, from /proc/self/mountinfo; proc_pid_mountinfo(5)."""

from __future__ import annotations

import os

from buildkit_py.core.data import dataclass

_ESCAPED = ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\"))


@dataclass(frozen=True, slots=True)
class Row:
    """One mount. place: where, from our root; kind: of file system; spread: `shared:1` and such"""

    id: int
    place: str
    kind: str
    spread: tuple[str, ...]


def read() -> list[Row]:
    """Return all mounts, those on top of others at the same place after them."""
    with open("/proc/self/mountinfo", "rb") as file:
        return [_row(line) for line in file]


def _row(line: bytes) -> Row:
    words = line.split(b" ")
    dash = words.index(b"-", 6)
    place = words[4]
    for text, byte in _ESCAPED:
        place = place.replace(text, byte)
    spread = tuple(word.decode() for word in words[6:dash])
    return Row(int(words[0]), os.fsdecode(place), words[dash + 1].decode(), spread)


def holder(path: str) -> Row:
    """Return the mount that a path is on."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{fd}") as file:
            number = next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))
    finally:
        os.close(fd)
    return next(row for row in read() if row.id == number)
