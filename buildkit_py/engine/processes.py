"""The processes of a container, read from /proc: what `top` shows."""

from __future__ import annotations

import os
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_MOST_WORDS = 4096
"""Bytes of a command line that are told; a program can make its own megabytes long."""


def processes_of(first: int) -> list[dict[str, Any]]:
    """Return pid, ppid, uid, start, seconds and args of each process in a process namespace.

    first: pid of its first process, as we see it; so are the pids and the uids that are told
    start: seconds since the machine started; seconds: of processor time
    """
    try:
        namespace = os.stat(f"/proc/{first}/ns/pid").st_ino
    except (FileNotFoundError, ProcessLookupError):
        return []
    rows = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.stat(f"/proc/{name}/ns/pid").st_ino == namespace:
                rows.append(_row(name))
        except OSError:
            continue  # gone, or nobody of ours
    return sorted(rows, key=lambda row: int(row["pid"]))


def _row(pid: str) -> dict[str, Any]:
    with open(f"/proc/{pid}/stat", "rb") as file:
        head, _, tail = file.read().rpartition(b")")
    fields = tail.split()
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read(_MOST_WORDS).rstrip(b"\0").replace(b"\0", b" ")
    return {
        "pid": int(pid),
        "ppid": int(fields[1]),
        "uid": os.stat(f"/proc/{pid}").st_uid,
        "start": int(fields[19]) / _TICKS,
        "seconds": (int(fields[11]) + int(fields[12])) / _TICKS,
        "args": (words or b"[" + head.partition(b"(")[2] + b"]").decode("utf-8", "replace"),
    }
