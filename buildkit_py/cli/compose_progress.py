"""Progress of several services' builds in one stream."""

from __future__ import annotations

from _thread import allocate_lock

from buildkit_py.core.events import (
    Event,
    Sink,
    StepEnded,
    StepOutput,
    StepStarted,
    StepStatus,
    Warned,
)


class Several:
    """Shares one sink between builds: steps are numbered together, and name their service.

    Names are as `docker compose build` has them: `[web 2/3] RUN make`, `[web build 1/2] FROM …`.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._lock = allocate_lock()
        self._last = 0

    def of(self, service: str) -> Sink:
        """Return the sink of a service's build."""
        return _Part(self, service)

    def next_number(self) -> int:
        with self._lock:
            self._last += 1
            return self._last


class _Part:
    def __init__(self, whole: Several, service: str) -> None:
        self._whole = whole
        self._service = service
        self._numbers: dict[int, int] = {}

    def emit(self, event: Event) -> None:
        self._whole.sink.emit(self._renamed(event))

    def _renamed(self, event: Event) -> Event:
        if isinstance(event, Warned):
            return event
        if isinstance(event, StepStarted):
            number = self._numbers[event.number] = self._whole.next_number()
            is_bracketed = event.name.startswith("[")
            inside = event.name[1:] if is_bracketed else f"] {event.name}"
            return StepStarted(number, f"[{self._service}{' ' if is_bracketed else ''}{inside}")
        number = self._numbers[event.number]
        match event:
            case StepOutput(_, data, stream, seconds):
                return StepOutput(number, data, stream, seconds)
            case StepStatus(_, name, current, total, done):
                return StepStatus(number, name, current, total, done)
            case StepEnded(_, cached, cancelled, error, seconds):
                return StepEnded(number, cached, cancelled, error, seconds)
