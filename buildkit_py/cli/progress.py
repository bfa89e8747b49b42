"""Progress for people and programs: plain lines, a live terminal, JSON lines, nothing.

`plain` is BuildKit's: `#N [stage i/n] INSTRUCTION`, `#N 0.103 output`, `#N CACHED`,
`#N DONE 0.1s`. On the no-op path: nothing heavy is imported.
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock  # `threading` takes 2 ms to import

from buildkit_py.cli.paint import is_coloured, is_live
from buildkit_py.core.events import (
    Event,
    Sink,
    StepEnded,
    StepOutput,
    StepStarted,
    StepStatus,
    Warned,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


def make_sink(kind: str, stream: TextIO) -> Sink:
    """Return the sink for `--progress`; `auto` is live on a terminal and plain elsewhere."""
    if kind == "auto":
        kind = "tty" if is_live(stream) else "plain"
    if kind == "plain":
        return Plain(stream)
    if kind == "tty":
        return Live(stream)
    if kind == "rawjson":
        return RawJson(stream)
    from buildkit_py.core.events import Silent

    return Silent()


class Lines:
    """Turns parts of lines into whole lines, per step and stream."""

    def __init__(self) -> None:
        self.parts: dict[tuple[int, int], bytes] = {}

    def add(self, event: StepOutput) -> list[str]:
        key = (event.number, event.stream)
        *whole, rest = (self.parts.get(key, b"") + event.data).split(b"\n")
        if len(rest) > 65536:  # a line without end must not eat the memory
            whole.append(rest)
            rest = b""
        self.parts[key] = rest
        return [shown(line) for line in whole]

    def end(self, number: int) -> list[str]:
        rests = [self.parts.pop((number, stream), b"") for stream in (1, 2)]
        return [shown(rest) for rest in rests if rest]


_COLOUR = "\x1b\\[[0-9;:]*m"
"""Select Graphic Rendition (ECMA-48, 8.3.117): no title, no cursor, no answer-back."""


def shown(line: bytes) -> str:
    """Return a program's line as it may be printed: only the last of what `\\r` overwrote.

    Colours stay, and end with the line. Whatever else could command a terminal does not.
    """
    text = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
    if text.isprintable():
        return text
    import re

    pieces = re.split(f"({_COLOUR})", text)
    harmless = [each if at % 2 else safe(each) for at, each in enumerate(pieces)]
    return "".join([*harmless, "\x1b[0m"] if len(pieces) > 1 else harmless)


def bare(line: str) -> str:
    """Return a line of `shown` without its colours: it can be measured and cut."""
    if "\x1b" not in line:
        return line
    import re

    return re.sub(_COLOUR, "", line)


def safe(text: str) -> str:
    """Return one line of text without anything that could command a terminal."""
    text = text.partition("\n")[0]
    if text.isprintable():
        return text
    return text.translate(_HARMLESS)


class _Harmless(dict[int, str]):
    """Characters to themselves, or to a sign for what is not printed; learnt one by one."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = shown = character if character.isprintable() or code == 9 else "�"
        return shown


_HARMLESS = _Harmless()


class Plain:
    """One line per event. A step's lines are set apart from another step's by an empty line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lock = allocate_lock()
        self.lines = Lines()
        self.last = 0
        self.names: dict[int, str] = {}

    def emit(self, event: Event) -> None:
        with self.lock:
            if isinstance(event, Warned):
                self.stream.write(f"\n{event.text}\n")
                self.last = 0
            else:
                for line in self._lines(event):
                    self._write(event.number, line)
            self.stream.flush()

    def _lines(self, event: StepStarted | StepOutput | StepStatus | StepEnded) -> list[str]:
        match event:
            case StepStarted(_, name):
                self.names[event.number] = safe(name)
                return [safe(name)]
            case StepOutput():
                return [f"{event.seconds:.3f} {line}" for line in self.lines.add(event)]
            case StepStatus(_, name, current, total, done):
                if done:
                    return [safe(f"{name} done")]
                return [safe(f"{name} {current}/{total}" if total else name)]
            case StepEnded():
                rest = [f"{event.seconds:.3f} {line}" for line in self.lines.end(event.number)]
                if event.cached:
                    return [*rest, "CACHED"]
                if event.cancelled:
                    return [*rest, "CANCELED"]
                if event.error is not None:
                    return [*rest, safe(f"ERROR: {event.error}")]
                return [*rest, f"DONE {event.seconds:.1f}s"]

    def _write(self, number: int, line: str) -> None:
        if self.last not in (0, number):
            # Another step comes in between: name it again, as BuildKit does.
            self.stream.write("\n")
            name = self.names.get(number, "")
            if line != name:
                self.stream.write(f"#{number} {name}\n")
        self.last = number
        self.stream.write(f"#{number} {line}\n")


class RawJson:
    """One JSON object per event, as buildx's `rawjson` has them in substance."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lock = allocate_lock()
        self.names: dict[int, str] = {}

    def emit(self, event: Event) -> None:
        import base64
        import json
        from datetime import UTC, datetime

        data: dict[str, object] = {}
        vertex: dict[str, object]
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        with self.lock:
            match event:
                case StepStarted(number, name):
                    self.names[number] = name
                    vertex = {"digest": f"step:{number}", "name": name, "started": now}
                    data = {"vertexes": [vertex]}
                case StepEnded(number):
                    name = self.names.get(number, "")
                    vertex = {"digest": f"step:{number}", "name": name, "completed": now}
                    extra = {"cached": True} if event.cached else {}
                    error = event.error or ("canceled" if event.cancelled else None)
                    data = {
                        "vertexes": [{**vertex, **extra, **({"error": error} if error else {})}]
                    }
                case StepOutput(number, output, stream):
                    encoded = base64.b64encode(output).decode()
                    log = {"vertex": f"step:{number}", "stream": stream, "data": encoded}
                    data = {"logs": [{**log, "timestamp": now}]}
                case StepStatus(number, name, current, total, done):
                    status = {"id": name, "vertex": f"step:{number}", "current": current}
                    whole = {**status, "total": total, "timestamp": now}
                    data = {"statuses": [{**whole, **({"completed": now} if done else {})}]}
                case Warned(text):
                    data = {"warnings": [{"short": base64.b64encode(text.encode()).decode()}]}
            self.stream.write(json.dumps(data) + "\n")
            self.stream.flush()


class Live:
    """A terminal: finished steps stay, running ones show their last lines and their time."""

    TAIL = 6
    PERIOD_SECONDS = 0.1

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.colour = is_coloured(stream)
        self.lock = allocate_lock()
        self.lines = Lines()
        self.running: dict[int, tuple[str, float, list[str]]] = {}
        self.drawn = 0
        self.next = 0.0

    def emit(self, event: Event) -> None:
        with self.lock:
            if isinstance(event, Warned):
                self._erase()
                self.stream.write(f"{event.text}\n\n")
                self._draw()
            elif isinstance(event, StepStarted):
                self.running[event.number] = (safe(event.name), time.monotonic(), [])
                self._redraw()
            elif isinstance(event, StepOutput):
                kept = self.running[event.number][2]
                kept += map(bare, self.lines.add(event))
                del kept[: -self.TAIL]
                self._redraw()
            elif isinstance(event, StepStatus):
                part = f" {event.current}/{event.total}" if event.total and not event.done else ""
                kept = self.running[event.number][2]
                kept.append(safe(f"{event.name}{part}{' done' if event.done else ''}"))
                del kept[: -self.TAIL]
                self._redraw()
            else:
                self._end(event)
            self.stream.flush()

    def _end(self, event: StepEnded) -> None:
        name, _, kept = self.running.pop(event.number)
        self._erase()
        title = f" => {name}" if name.startswith("[") else f" => [+] {name}"
        if event.cached:
            self._line(f" => CACHED{title[3:]}", "36")
        elif event.cancelled:
            self._line(title, "33", end="  CANCELED")
        elif event.error is not None:
            kept += map(bare, self.lines.end(event.number))
            self._line(title, "31", end="  ERROR")
            for line in kept:
                self._line(f" => => # {line}", "")
        else:
            self._line(title, "34", end=f"  {event.seconds:.1f}s")
        self.lines.end(event.number)
        self._draw()

    def _line(self, text: str, colour: str, *, end: str = "") -> None:
        """Write one line; what does not fit is cut from `text`, never from `end`."""
        most = max(self._width() - 1 - len(end), 0)
        cut = (text if len(text) <= most else f"{text[: max(most - 1, 0)]}…") + end
        painted = f"\x1b[{colour}m{cut}\x1b[0m" if colour and self.colour else cut
        self.stream.write(f"{painted}\n")

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except OSError:
            return 80

    def _erase(self) -> None:
        if self.drawn:
            self.stream.write(f"\x1b[{self.drawn}A\x1b[J")
            self.drawn = 0

    def _redraw(self) -> None:
        now = time.monotonic()
        if now >= self.next:
            self.next = now + self.PERIOD_SECONDS
            self._erase()
            self._draw()

    def _draw(self) -> None:
        now = time.monotonic()
        for name, started, kept in list(self.running.values())[:8]:
            self._line(f" => {name}", "", end=f"  {now - started:.1f}s")
            self.drawn += 1
            for line in kept:
                self._line(f" => => # {line}", "2")
                self.drawn += 1
