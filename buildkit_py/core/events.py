"""What happens during a build, as records: the counterpart of BuildKit's progress stream.

A `Sink` receives events in order, possibly from several threads (each sink has its own lock).
Steps are numbered from 1 in the order in which they are announced. On the no-op path: written
without dataclasses, whose import costs more than the rest of a no-op build's own code.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class _Record:
    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({values})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


class StepStarted(_Record):
    """A step was announced; `name` is what people see, such as `[build 2/5] RUN make`."""

    __slots__ = __match_args__ = ("number", "name")

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name


class StepOutput(_Record):
    """A step's program wrote. `data` may hold parts of lines; `stream` is 1 or 2.

    seconds: since the step began
    """

    __slots__ = __match_args__ = ("number", "data", "stream", "seconds")

    def __init__(self, number: int, data: bytes, stream: int = 1, seconds: float = 0.0) -> None:
        self.number = number
        self.data = data
        self.stream = stream
        self.seconds = seconds


class StepStatus(_Record):
    """Something measurable inside a step, such as a layer: `current` of `total` bytes."""

    __slots__ = __match_args__ = ("number", "name", "current", "total", "done")

    def __init__(
        self, number: int, name: str, current: int = 0, total: int = 0, done: bool = False
    ) -> None:
        self.number = number
        self.name = name
        self.current = current
        self.total = total
        self.done = done


class StepEnded(_Record):
    """A step ended: from the cache, done, cancelled, or with an error's message."""

    __slots__ = __match_args__ = ("number", "cached", "cancelled", "error", "seconds")

    def __init__(
        self,
        number: int,
        cached: bool = False,
        cancelled: bool = False,
        error: str | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.number = number
        self.cached = cached
        self.cancelled = cancelled
        self.error = error
        self.seconds = seconds


class Warned(_Record):
    """Something the user should know; `text` is drawn already (see core.draw)."""

    __slots__ = __match_args__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


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
