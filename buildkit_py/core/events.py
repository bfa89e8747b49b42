"""What happens during a build, as records: the counterpart of BuildKit's progress stream.

A `Sink` receives events in order, possibly from several threads (each sink has its own lock).
Steps are numbered from 1 in the order in which they are announced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step was announced; `name` is what people see, such as `[build 2/5] RUN make`."""

    number: int
    name: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StepOutput:
    """A step's program wrote. `data` may hold parts of lines; `stream` is 1 or 2."""

    number: int
    data: bytes = field(repr=False)
    stream: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StepStatus:
    """Something measurable inside a step, such as a layer: `current` of `total` bytes."""

    number: int
    name: str
    current: int = 0
    total: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A step ended: from the cache, done, cancelled, or with an error's message."""

    number: int
    cached: bool = False
    cancelled: bool = False
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the user should know; `text` is drawn already (see core.draw)."""

    text: str


Event = StepStarted | StepOutput | StepStatus | StepEnded | Warned


class Sink(Protocol):
    """Where events go: plain lines, a live terminal, JSON lines, nowhere."""

    def emit(self, event: Event) -> None: ...


class Silent:
    """The sink that keeps nothing."""

    def emit(self, event: Event) -> None:
        """Drop the event."""


class Collected:
    """The sink that keeps everything, for tests and tools."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)
