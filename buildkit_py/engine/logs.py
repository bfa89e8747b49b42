"""Reading a container's log, all of it or its last lines, and going on with what comes.

A log is `log.json`, and before it what was turned over: `log.json.1` is the oldest that there ever
was, and a file keeps its number. The file that is written has the next one. So a place in a log is
a number and an offset, and stays true however often the log is turned over.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from buildkit_py.core.data import dataclass

NAME = "log.json"
_BLOCK = 1 << 16
_OFFSET_BITS = 40
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Line:
    """text: with its newline, which a part of a long line lacks; time: RFC 3339"""

    text: str
    stream: str
    time: str


def read_log(directory: str, *, tail: int | None = None) -> Iterator[Line]:
    """Give the lines that are there. tail: only so many of the last ones."""
    end = _end(directory)
    with _Reader(directory) as reader:
        if tail is not None:
            reader.go_to_last(tail)
        yield from reader.lines(end)


def follow(
    directory: str, nudges: Iterable[dict[str, Any]], *, tail: int | None = None, start: int = 0
) -> Iterator[Line]:
    """Give the lines that are there, and after each nudge those that came.

    nudges: words of a supervisor: the log grew, or it ended. Its file is read to the end after
    the last one, so nothing is lost; a file that was turned over is read to its end, too.
    """
    with _Reader(directory) as reader:
        if start:
            reader.go_to(start >> _OFFSET_BITS, start & ((1 << _OFFSET_BITS) - 1))
        waits = tail is not None and not start
        for _ in nudges:
            if waits and tail is not None:
                reader.go_to_last(tail)
                waits = False
            yield from reader.lines()
        yield from reader.lines()


def log_size(directory: str) -> int:
    """Return where a log ends now, for `start` of `follow`: it grows with the log."""
    number, offset = _end(directory)
    return number << _OFFSET_BITS | offset


def turned_over(directory: str) -> list[int]:
    """Return the numbers of the files before the one that is written, the oldest first."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    ends = [name.removeprefix(f"{NAME}.") for name in names if name.startswith(f"{NAME}.")]
    return sorted(int(end) for end in ends if end.isascii() and end.isdigit())


def _end(directory: str) -> Place:
    while True:
        newest = max(turned_over(directory), default=0)
        try:
            size = os.stat(os.path.join(directory, NAME), follow_symlinks=False).st_size
        except FileNotFoundError:
            size = 0
        if newest == max(turned_over(directory), default=0):
            return newest + 1, size


class _Reader:
    """A place in a log. The file it stands in stays open, whatever becomes of its name."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._number = 0
        self._offset = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def go_to(self, number: int, offset: int) -> None:
        """Stand at a place; at the oldest line that there is when it is gone."""
        self._close()
        self._number, self._offset = number, offset

    def go_to_last(self, count: int) -> None:
        """Stand at the beginning of the last `count` lines."""
        numbers = turned_over(self._directory)
        number = (numbers[-1] if numbers else 0) + 1
        place = number, 0
        for each in (number, *reversed(numbers)):
            file = self._open(each)
            if file is not None:
                with file:
                    found = _seek_last(file, count)
                    place = each, file.tell()
                count -= found
            if count <= 0:
                break
        self.go_to(*place)

    def lines(self, end: Place = (sys.maxsize, 0)) -> Iterator[Line]:
        """Give the lines from here on, as far as they go now, or to a place."""
        while self._enter():
            assert self._file is not None
            yield from self._rest(end)
            if self._is_written() or self._number >= end[0]:
                return
            # It was turned over: nobody writes it any more, and now it is read to its end.
            yield from self._rest(end)
            self.go_to(self._number + 1, 0)

    def _rest(self, end: Place) -> Iterator[Line]:
        assert self._file is not None
        return _lines(self._file, end[1] if self._number == end[0] else sys.maxsize)

    def _enter(self) -> bool:
        """Open the file of our place, or the oldest after it; False when there is none yet."""
        if self._file is not None:
            return True
        while True:
            newest = self._newest()
            numbers = [each for each in turned_over(self._directory) if each >= self._number]
            for number in (*numbers, max(newest + 1, self._number)):
                if (file := self._open(number)) is not None:
                    file.seek(self._offset if number == self._number else 0)
                    self._number, self._file = number, file
                    return True
            if newest == self._newest():
                return False

    def _newest(self) -> int:
        return max(turned_over(self._directory), default=0)

    def _is_written(self) -> bool:
        """Tell whether our file still is the one that is written. Its inode cannot be another's."""
        assert self._file is not None
        try:
            state = os.stat(os.path.join(self._directory, NAME), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(state, os.fstat(self._file.fileno()))

    def _open(self, number: int) -> BinaryIO | None:
        """Open a file by its number, which is written or was turned over, maybe just now."""
        while True:
            newest = self._newest()
            if number <= newest:
                return _open(os.path.join(self._directory, f"{NAME}.{number}"))
            file = _open(os.path.join(self._directory, NAME)) if number == newest + 1 else None
            if newest == self._newest():
                return file
            if file is not None:
                file.close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _open(path: str) -> BinaryIO | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    return open(fd, "rb")


def _lines(file: BinaryIO, end: int) -> Iterator[Line]:
    """Give whole lines up to an offset; a torn last one is left where it is, for the next time."""
    while (at := file.tell()) < end:
        data = file.readline()
        if not data.endswith(b"\n"):
            file.seek(at)
            return
        try:
            row = json.loads(data)
            yield Line(row["log"], row["stream"], row["time"])
        except (ValueError, KeyError, TypeError):
            continue  # torn by a crash of the machine


def _seek_last(file: BinaryIO, count: int) -> int:
    """Go to the beginning of the last `count` lines; return how many there are from there on."""
    end = at = file.seek(0, os.SEEK_END)
    found = 0
    if count <= 0 or end == 0:
        return 0
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
                return found
        at = start
    file.seek(0)
    return found + 1
