"""Further programs in containers: what `exec` and health checks start."""

from __future__ import annotations

from collections.abc import Callable

from buildkit_py.core.errors import BuildkitError
from buildkit_py.engine.supervisor.loop import Loop
from buildkit_py.runtime.process import Exit, Process

Ended = Callable[[Exit | None, BuildkitError | None], None]
"""Called once: how it ended, or why it could not be started."""


class Program:
    """One of them. Owns its process.

    container: the first process of the container that it is in
    ready: called when it is set up; its terminal is open then
    """

    def __init__(
        self,
        loop: Loop,
        container: Process,
        process: Process,
        *,
        done: Ended,
        ready: Callable[[Program], None],
        gone: Callable[[Program], None],
    ) -> None:
        self.container = container
        self.process = process
        self._loop = loop
        self._done: Ended | None = done
        self._ready: Callable[[Program], None] | None = ready
        self._gone = gone
        loop.watch(process.fileno(), self._on_channel)
        process.begin()

    def kill(self, number: int = 9) -> None:
        self.process.kill(number)

    def _on_channel(self, _: int) -> None:
        self.process.advance()
        if self.process.is_set_up and self._ready is not None:
            ready, self._ready = self._ready, None
            ready(self)
        if self.process.exit is not None:
            self.close()

    def finish(self) -> None:
        """Take its end in, which has come or comes at once: its container is gone."""
        while self._done is not None:
            self._on_channel(0)

    def close(self) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        self._loop.forget(self.process.fileno())
        end, failure = self.process.exit, self.process.failure
        self.process.close()
        self._gone(self)
        done(end, failure)
