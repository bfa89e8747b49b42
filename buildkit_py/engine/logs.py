"""Reading a container's log, all of it or its last lines, and going on with what comes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from buildkit_py.core.data import dataclass

_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Line:
    """text: with its newline, which a part of a long line lacks; time: RFC 3339"""

    text: str
    stream: str
    time: str


def read_log(directory: str, *, tail: int | None = None) -> Iterator[Line]:
    """Give the lines that are there. tail: only so many of the last ones."""
    file = _open(directory)
    if file is None:
        return
    with file:
        if tail is not None:
            _seek_last(file, tail)
        yield from _lines(file)


def follow(
    directory: str, nudges: Iterable[dict[str, Any]], *, tail: int | None = None, start: int = 0
) -> Iterator[Line]:
    """Give the lines that are there, and after each nudge those that came.

    nudges: words of a supervisor: the log grew, or it ended. Its file is read to the end after
    the last one, so nothing is lost.
    """
    file: BinaryIO | None = None
    try:
        for _ in nudges:
            if file is None:
                file = _open(directory)
                if file is not None and start:
                    file.seek(start)
                elif file is not None and tail is not None:
                    _seek_last(file, tail)
            if file is not None:
                yield from _lines(file)
        if file is None and (file := _open(directory)) is not None:
            file.seek(start)
        if file is not None:
            yield from _lines(file)
    finally:
        if file is not None:
            file.close()


def log_size(directory: str) -> int:
    """Return the length of a log, 0 where there is none."""
    try:
        return os.stat(os.path.join(directory, "log.json"), follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def _open(directory: str) -> BinaryIO | None:
    try:
        fd = os.open(
            os.path.join(directory, "log.json"), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        )
    except FileNotFoundError:
        return None
    return open(fd, "rb")


def _lines(file: BinaryIO) -> Iterator[Line]:
    """Give whole lines; a torn last one is left where it is, for the next time."""
    while True:
        at = file.tell()
        data = file.readline()
        if not data.endswith(b"\n"):
            file.seek(at)
            return
        try:
            row = json.loads(data)
            yield Line(row["log"], row["stream"], row["time"])
        except (ValueError, KeyError, TypeError):
            continue  # torn by a crash of the machine


def _seek_last(file: BinaryIO, count: int) -> None:
    """Go to the beginning of the last `count` lines."""
    end = at = file.seek(0, os.SEEK_END)
    found = 0
    if count <= 0:
        return
    while at > 0:
        start = max(at - _BLOCK, 0)
        file.seek(start)
        block = file.read(at - start)
        here = len(block)
        while (here := block.rfind(b"\n", 0, here)) >= 0:
            if start + here == end - 1:
                continue  # the end of the last line
            found += 1
            if found == count:
                file.seek(start + here + 1)
                return
        at = start
    file.seek(0)
