"""What a container writes, carried from its pipes into its log, line by line.

A log is a file of JSON objects, one a line, as docker's json-file has it: a line is cut at
16 KiB, and its parts have the time of the first. Nobody who reads the log can hold the
container up: readers follow the file and are only told that it grew.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
from collections.abc import Callable, Iterator

from buildkit_py.engine.clock import now
from buildkit_py.engine.log_bounds import LogBounds
from buildkit_py.engine.logs import turned_over
from buildkit_py.engine.supervisor.loop import Loop

MOST_LINE_BYTES = 16 << 10
_CHUNK = 1 << 16


class Log:
    """The log of a container, open for appending. It is turned over when a file is full.

    bounds: how large it may become; a line more than that where one alone is larger
    grown: called after something was written; complain: called once when nothing more can be
    """

    def __init__(
        self,
        path: str,
        *,
        grown: Callable[[], None],
        complain: Callable[[str], None],
        bounds: LogBounds | None = None,
    ) -> None:
        self._path = path
        self._bounds = bounds or LogBounds()
        self._numbers = turned_over(os.path.dirname(path))
        self._fd = -1
        self._size = 0
        self._grown = grown
        self._complain = complain
        self._failed = False
        self._open()

    def write(self, stream: str, lines: list[tuple[bytes, str]]) -> None:
        """Append lines, each with its time. A full disk loses lines; it stops no container."""
        try:
            for data in self._files_of([_row(stream, line, time) for line, time in lines]):
                while data:
                    written = os.write(self._fd, data)
                    self._size += written
                    data = data[written:]
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._complain(f"the log cannot be written: {error.strerror}")
        self._grown()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size

    def _files_of(self, rows: list[bytes]) -> Iterator[bytes]:
        """Give rows that fit into the file together, and turn the log over in between."""
        if self._fd < 0:
            self._open()  # the last time it could not be
        batch: list[bytes] = []
        size = 0
        for row in rows:
            if self._size + size and self._size + size + len(row) > self._bounds.bytes:
                yield b"".join(batch)
                batch, size = [], 0
                self._turn_over()
            batch.append(row)
            size += len(row)
        yield b"".join(batch)

    def _turn_over(self) -> None:
        """Begin a new file; see engine/logs.py for their names. The newest name always stays."""
        self.close()
        number = (self._numbers[-1] if self._numbers else 0) + 1
        os.rename(self._path, f"{self._path}.{number}")
        self._numbers.append(number)
        keep = self._bounds.files - 1
        if not keep:
            # Its name counts, its lines must go. Whoever reads it has it open.
            empty = f"{self._path}.new"
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(empty, flags, 0o640))
            os.rename(empty, f"{self._path}.{number}")
        while len(self._numbers) > max(keep, 1):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._path}.{self._numbers[0]}")
            del self._numbers[0]
        self._open()


def _row(stream: str, line: bytes, time: str) -> bytes:
    data = {"log": line.decode("utf-8", "replace"), "stream": stream, "time": time}
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class Carrier:
    """Reads one stream of a container until it ends. Owns `fd`, which does not block."""

    def __init__(self, loop: Loop, fd: int, stream: str, log: Log) -> None:
        self._loop = loop
        self._fd = fd
        self._stream = stream
        self._log = log
        self._rest = b""
        self._since = ""
        os.set_blocking(fd, False)
        loop.watch(fd, self._on_events)

    def _on_events(self, events: int) -> None:
        if events & select.EPOLLIN:
            self._read()
        elif events:
            self.finish()

    def _read(self) -> bool:
        """Take a piece; False when there is none now, or none any more."""
        if self._fd < 0:
            return False
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal that nobody has open any more
                raise
            data = b""
        if not data:
            self._close()
            return False
        self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        time = now()
        lines: list[tuple[bytes, str]] = []
        for piece in _split(data):
            if not self._rest:
                self._since = time
            self._rest += piece
            while len(self._rest) > MOST_LINE_BYTES:
                lines.append((self._rest[:MOST_LINE_BYTES], self._since))
                self._rest = self._rest[MOST_LINE_BYTES:]
            if self._rest.endswith(b"\n"):
                lines.append((self._rest, self._since))
                self._rest = b""
        if lines:
            self._log.write(self._stream, lines)

    def _close(self) -> None:
        if self._rest:
            self._log.write(self._stream, [(self._rest, self._since)])
            self._rest = b""
        self._loop.forget(self._fd)
        os.close(self._fd)
        self._fd = -1

    def finish(self) -> None:
        """Take what is left, now that nobody writes any more, and close."""
        while self._read():
            continue
        if self._fd >= 0:
            self._close()


def _split(data: bytes) -> list[bytes]:
    """Split after newlines only: bytes.splitlines takes carriage returns for ends of lines."""
    pieces = [each + b"\n" for each in data.split(b"\n")]
    pieces[-1] = pieces[-1][:-1]
    return [each for each in pieces if each]
