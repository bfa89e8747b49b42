"""What the containers of some services write, as it comes, and how they end. By events.

One thread hears the supervisor's events; one more for each container reads its log. A container
that starts later, by a restart or by somebody else's `up`, is joined when it does.
"""

from __future__ import annotations

import threading

from buildkit_py.compose.observe import containers_of, is_oneoff, service_of
from buildkit_py.compose.request import LABEL
from buildkit_py.core.threads import start_thread
from buildkit_py.engine.connection import SupervisorGone
from buildkit_py.engine.containers import UnknownContainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Protocol

    from buildkit_py.engine.client import Engine, Group
    from buildkit_py.engine.connection import Connection
    from buildkit_py.engine.containers import Known

    class Listener(Protocol):
        """Who is told; from several threads."""

        def line(self, known: Known, text: str, time: str, stream: str) -> None: ...
        def ended(self, known: Known, code: int, *, restarts: bool) -> None: ...


class Attached:
    """The containers of some services while they are listened to.

    services: that are waited for; shown: those of them whose lines are told
    changed: called after each end and when the supervisor is gone
    """

    def __init__(
        self,
        engine: Engine,
        group: Group,
        services: Collection[str],
        shown: Collection[str],
        listener: Listener,
        changed: Callable[[], None],
    ) -> None:
        self.engine = engine
        self.group = group
        self.services = frozenset(services)
        self.shown = frozenset(shown)
        self.listener = listener
        self.changed = changed
        self.codes: dict[str, int] = {}
        """Exit codes of containers that ended for good, by id, in the order of their ends."""
        self.alive: set[str] = set()
        self.seen: set[str] = set()
        """Whose start was heard of."""
        self.broken: BaseException | None = None
        self.is_gone = False
        self._lock = threading.Lock()
        self._starts: dict[str, int] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._events: Connection | None = None

    def open(self) -> None:
        """Begin to listen. What was written before is not told."""
        for known in self._mine():
            self._starts[known.spec.id] = self.engine.log_size(known)
        self._events = self.group.watch()
        self._events.receive()  # from here on nothing is missed
        for known in self._mine():
            if known.running:
                self._join(known)
        start_thread(self._hear, "events")

    def close(self) -> None:
        """Hear no more events; logs are read to the end of their containers."""
        if self._events is not None:
            self._events.close()

    def is_behind(self, started: Collection[str]) -> bool:
        """Say whether the start of a container that was started has still to be heard of."""
        return any(
            service_of(known) in self.services
            for known in self._mine()
            if known.spec.id in started and known.spec.id not in self.seen
        )

    def finish(self, seconds: float) -> None:
        """Wait for the threads that read logs of containers which ended."""
        for id, thread in list(self._threads.items()):
            if id not in self.alive:
                thread.join(seconds)

    def _mine(self) -> list[Known]:
        found = containers_of(self.engine, self.group.name)
        return [known for known in found if service_of(known) in self.services]

    def _hear(self) -> None:
        assert self._events is not None
        try:
            for answer in self._events.answers():
                event = answer.get("event")
                if event:
                    self._take(event)
        except OSError:
            return  # closed by us
        except BaseException as error:
            self.broken = error
            self.changed()
            return
        with self._lock:
            self.is_gone = True
        self.changed()

    def _take(self, event: dict[str, str]) -> None:
        kind, id = event.get("event"), event.get("id", "")
        if kind not in ("start", "die", "stop"):
            return
        try:
            known = self.engine.find(id)
        except UnknownContainer:
            with self._lock:
                self.alive.discard(id)
            self.changed()
            return
        labels = known.spec.labels
        if labels.get(f"{LABEL}project") != self.group.name or is_oneoff(known):
            return
        if service_of(known) not in self.services:
            return
        if kind == "start":
            self._join(known)
            self.changed()
        elif kind == "stop":
            # Its end was told, unless it was waiting to be started again.
            if id in self.alive:
                self._ended(known, known.state.exit_code)
        elif event.get("restarting") == "yes":
            self.listener.ended(known, int(event["exit_code"]), restarts=True)
        else:
            self._ended(known, int(event["exit_code"]))

    def _join(self, known: Known) -> None:
        id = known.spec.id
        with self._lock:
            self.seen.add(id)
            self.alive.add(id)
            self.codes.pop(id, None)
            thread = self._threads.get(id)
            if (thread is not None and thread.is_alive()) or service_of(known) not in self.shown:
                return
            self._threads[id] = start_thread(lambda: self._read(known), f"log-{known.spec.name}")

    def _read(self, known: Known) -> None:
        from buildkit_py.compose.lines import whole

        start = self._starts.get(known.spec.id, 0)
        try:
            for text, time, stream in whole(self.engine.logs(known, go_on=True, start=start)):
                self.listener.line(known, text, time, stream)
        except SupervisorGone:
            return  # the thread that hears events says so
        except BaseException as error:
            self.broken = error
            self.changed()
            return
        # Started again by hand, it goes on where it was.
        self._starts[known.spec.id] = self.engine.log_size(known)

    def _ended(self, known: Known, code: int) -> None:
        id = known.spec.id
        thread = self._threads.get(id)
        if thread is not None:
            thread.join()  # its last lines come before its end is told
        self.listener.ended(known, code, restarts=False)
        with self._lock:
            self.alive.discard(id)
            self.codes.pop(id, None)
            self.codes[id] = code
        self.changed()
