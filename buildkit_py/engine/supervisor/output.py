"""What a container writes, carried from its pipes into its log, line by line.

A log is a file of JSON objects, one a line, as docker's json-file has it: a line is cut at
16 KiB, and its parts have the time of the first. Nobody who reads the log can hold the
container up: readers follow the file and are only told that it grew.
"""

from __future__ import annotations

import errno
import json
import os
import select
from collections.abc import Callable

from buildkit_py.engine.clock import now
from buildkit_py.engine.supervisor.loop import Loop

MOST_LINE_BYTES = 16 << 10
_CHUNK = 1 << 16


class Log:
    """The log of a container, open for appending.

    grown: called after something was written; complain: called once when nothing more can be
    """

    def __init__(
        self, path: str, *, grown: Callable[[], None], complain: Callable[[str], None]
    ) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o640)
        self._grown = grown
        self._complain = complain
        self._failed = False

    def write(self, stream: str, lines: list[tuple[bytes, str]]) -> None:
        """Append lines, each with its time. A full disk loses lines; it stops no container."""
        rows = [
            json.dumps(
                {"log": line.decode("utf-8", "replace"), "stream": stream, "time": time},
                ensure_ascii=False,
                separators=(",", ":"),
            )
            for line, time in lines
        ]
        data = ("\n".join(rows) + "\n").encode()
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            self._failed = False
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._complain(f"the log cannot be written: {error.strerror}")
        self._grown()

    def close(self) -> None:
        os.close(self._fd)


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
