"""What is done to a project's resources as a table on a terminal, as docker compose draws it.

    [+] Running 2/3
     ✔ Network shop_default   Created                 0.1s
     ✔ Container shop-db-1    Healthy                 1.2s
     ⠋ Container shop-web-1   Starting                0.3s

Drawn anew at most ten times a second. What else is printed meanwhile goes through `say`, above
the table; what is drawn last stays.
"""

from __future__ import annotations

import os
import threading
import time

from buildkit_py.cli.paint import is_coloured
from buildkit_py.core.data import dataclass
from buildkit_py.core.draw import printable
from buildkit_py.core.threads import start_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from buildkit_py.compose.carry_out import Told

PERIOD_SECONDS = 0.1
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SIGNS = {"done": "✔", "error": "✘", "warning": "!"}
_COLOURS = {"working": "33", "done": "32", "error": "31", "warning": "33"}
_TIME_COLOUR = "34"
_FEWEST_ROWS = 3


@dataclass(slots=True)
class _Row:
    """One resource. Times are the clock's; ended: None while it is worked on."""

    name: str
    word: str
    state: str
    began: float
    ended: float | None = None


class Table:
    """The table while it is on the terminal. `tell` and `say` may be called from several threads.

    clock: seconds that only grow
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._is_coloured = is_coloured(stream)
        self._rows: dict[str, _Row] = {}
        self._drawn = 0
        self._turns = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def tell(self, told: Told) -> bool:
        """Take in what is done to a resource; False after the table was closed."""
        now = self._clock()
        name = f"{told.resource} {printable(told.name)}".replace("\n", " ")
        with self._lock:
            if self._over.is_set():
                return False
            row = self._rows.get(name)
            if row is None:
                row = self._rows[name] = _Row(name, told.word, told.state, now)
            row.word, row.state = told.word, told.state
            row.ended = None if told.state == "working" else now
            if self._thread is None:
                self._draw()
                self._thread = start_thread(self._turn, "table")
            return True

    def say(self, text: str) -> None:
        """Print lines above the table, or after it when it was closed."""
        with self._lock:
            if self._over.is_set():
                print(text, file=self._stream, flush=True)
                return
            self._erase()
            self._stream.write(f"{text}\n")
            self._draw()
            self._stream.flush()

    def close(self) -> None:
        """Draw it a last time, and let it stay."""
        with self._lock:
            if self._over.is_set():
                return
            self._over.set()
            self._draw()
        if self._thread is not None:
            self._thread.join()

    def _turn(self) -> None:
        while not self._over.wait(PERIOD_SECONDS):
            with self._lock:
                if not self._over.is_set():
                    self._turns += 1
                    self._draw()

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\r\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        if not self._rows:
            return
        columns, lines = self._size()
        shown = self._shown(max(lines - 2, _FEWEST_ROWS))
        ended = sum(row.ended is not None for row in self._rows.values())
        head = f"[+] Running {ended}/{len(self._rows)}"
        width = max(len(row.name) for row in shown)
        text = [self._painted(head, _TIME_COLOUR) if ended == len(self._rows) else head]
        text += [self._line(row, width, columns) for row in shown]
        self._erase()
        self._stream.write("".join(f"{line}\n" for line in text))
        self._stream.flush()
        self._drawn = len(text)

    def _shown(self, most: int) -> list[_Row]:
        """Return the rows that there is room for: what has ended gives way first."""
        rows = list(self._rows.values())
        surplus = len(rows) - most
        if surplus <= 0:
            return rows
        hidden = {row.name for row in sorted(rows, key=lambda row: row.ended is None)[:surplus]}
        return [row for row in rows if row.name not in hidden]

    def _line(self, row: _Row, width: int, columns: int) -> str:
        sign = _SIGNS.get(row.state) or _SPINNER[self._turns % len(_SPINNER)]
        now = self._clock() if row.ended is None else row.ended
        seconds = f"{now - row.began:.1f}s "
        room = max(columns - len(seconds) - 4, 0)  # a blank, the sign, a blank; one is left free
        left = f"{row.name:<{width}}  "[:room]
        word = row.word[: room - len(left)]
        gap = " " * (room - len(left) - len(word))
        colour = _COLOURS[row.state]
        painted = word if row.state == "working" else self._painted(word, colour)
        end = self._painted(seconds, _TIME_COLOUR)
        return f" {self._painted(sign, colour)} {left}{painted}{gap}{end}"

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._is_coloured else text

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except OSError:
            return 80, 24
        return size.columns or 80, size.lines or 24
