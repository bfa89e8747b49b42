"""What the steps of one build share: store, sandbox, network, events, the order to stop."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from buildkit_py.core.data import dataclass, field
from buildkit_py.core.draw import draw, printable
from buildkit_py.core.errors import BuildkitError
from buildkit_py.core.events import Sink, Warned
from buildkit_py.graph.solve import Cancelled
from buildkit_py.runtime.host import Host
from buildkit_py.runtime.network.network import Network
from buildkit_py.runtime.network.resolve import Resolver
from buildkit_py.runtime.spec import Limits
from buildkit_py.runtime.zygote import Zygote
from buildkit_py.store.memory import Database
from buildkit_py.store.store import Store


@dataclass(slots=True)
class Services:
    """Shared by all threads of one build.

    stubs: directory of the session for mount points that images lack
    """

    store: Store
    database: Database
    host: Host
    zygote: Zygote
    network: Network
    sink: Sink
    stubs: str
    resolver: Resolver
    host_resolv_conf: str
    hostname: str = "buildkitsandbox"
    limits: Limits = field(default_factory=Limits)
    rlimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    shm_bytes: int = 0
    strict: bool = False
    epoch_ns: int | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _running: dict[int, Callable[[], None]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _noticed: set[str] = field(default_factory=set)
    _seen: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    def running(self, kill: Callable[[], None]) -> Callable[[], None]:
        """Have `kill` called when the build stops; call what is returned when it ended."""
        with self._lock:
            number = next(self._numbers)
            self._running[number] = kill

        def forget() -> None:
            with self._lock:
                self._running.pop(number, None)

        return forget

    def stopped(self) -> bool:
        return self._stop.is_set()

    def check(self) -> None:
        """Raise Cancelled when the build is to stop."""
        if self.stopped():
            raise Cancelled

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the build is to stop."""
        self._stop.wait(seconds)

    def stop(self) -> None:
        """Make every running step end soon."""
        self._stop.set()
        with self._lock:
            for kill in self._running.values():
                kill()

    def first(self, what: str) -> bool:
        """Tell whether this build asks for `what` for the first time."""
        with self._lock:
            seen = what in self._seen
            self._seen.add(what)
        return not seen

    def notice_once(self, text: str, *, hint: str | None = None) -> None:
        """Tell the user something about this machine, but only the first time."""
        with self._lock:
            if text in self._noticed:
                return
            self._noticed.add(text)
        # A notice may name files of a hostile archive.
        self.sink.emit(Warned(printable(f"notice: {text}" + (f"\nhint: {hint}" if hint else ""))))

    def warn(self, error: BuildkitError) -> None:
        """Draw a warning; it is shown again when the build is answered from the cache.

        Under `--strict` it is raised instead.
        """
        if self.strict:
            raise error
        text = draw(error, level="warning")
        with self._lock:
            self.warnings.append(text)
        self.sink.emit(Warned(text))

    @contextmanager
    def temporary(self, prefix: str) -> Iterator[str]:
        """Give a path of the store's session where nothing is; what is made there is removed."""
        from buildkit_py.store.trees import remove_tree

        path = self.store.session.temporary(prefix)
        try:
            yield path
        finally:
            remove_tree(path)
