"""Health checks, as moby's daemon/health.go has them: a probe, some time, the next probe."""

from __future__ import annotations

import os
import time

from buildkit_py.core.data import replace
from buildkit_py.core.errors import BuildkitError
from buildkit_py.engine.clock import now
from buildkit_py.engine.containers import Health, Probe
from buildkit_py.engine.supervisor.loop import Timer
from buildkit_py.oci.image import Healthcheck
from buildkit_py.runtime.process import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.engine.supervisor.member import Member
    from buildkit_py.engine.supervisor.programs import Program

INTERVAL_SECONDS = TIMEOUT_SECONDS = 30.0
START_INTERVAL_SECONDS = 5.0
RETRIES = 3
MOST_OUTPUT_BYTES = 4096
MOST_PROBES = 5


class Monitor:
    """Probes one container while it runs."""

    def __init__(self, member: Member, check: Healthcheck) -> None:
        self._member = member
        self._interval = check.interval / 1e9 or INTERVAL_SECONDS
        self._timeout = check.timeout / 1e9 or TIMEOUT_SECONDS
        self._start_period = check.start_period / 1e9
        self._start_interval = check.start_interval / 1e9 or START_INTERVAL_SECONDS
        self._retries = check.retries or RETRIES
        kind, *words = check.test
        self._args = ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words
        self._since = time.monotonic()
        self._program: Program | None = None
        self._output = -1
        self._text = b""
        self._begun = ""
        self._late: Timer | None = None
        self._timer: Timer | None = member.home.loop.later(self._pause(), self._probe)

    def close(self) -> None:
        """Stop probing; the container is gone, or going."""
        for timer in (self._timer, self._late):
            if timer is not None:
                timer.cancel()
        self._timer = self._late = None
        self._program = None
        self._forget_output()

    def _pause(self) -> float:
        health = self._member.state.health or Health()
        early = time.monotonic() - self._since < self._start_period
        return self._start_interval if early and health.status == "starting" else self._interval

    def _probe(self) -> None:
        self._timer = None
        self._begun, self._text = now(), b""
        member = self._member
        try:
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:  # of descriptors there are only so many
            self._record(-1, f"the probe cannot be started: {error.strerror}")
            return
        try:
            reader, writer = os.pipe2(os.O_CLOEXEC)
        except OSError as error:
            os.close(nothing)
            self._record(-1, f"the probe cannot be started: {error.strerror}")
            return
        os.set_blocking(reader, False)
        self._output = reader
        member.home.loop.watch(reader, self._on_output)
        try:
            self._program = member.home.execute(
                member, self._args, stdio=(nothing, writer, writer), done=self._ended
            )
        except (BuildkitError, OSError) as error:
            self._record(-1, str(error))
            return
        finally:
            os.close(nothing)
            os.close(writer)
        self._late = member.home.loop.later(self._timeout, self._too_late)

    def _on_output(self, _: int) -> None:
        self._read_output()

    def _read_output(self) -> None:
        while self._output >= 0:
            try:
                data = os.read(self._output, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                self._forget_output()
            self._text = (self._text + data)[: MOST_OUTPUT_BYTES + 1]

    def _forget_output(self) -> None:
        if self._output >= 0:
            self._member.home.loop.forget(self._output)
            os.close(self._output)
            self._output = -1

    def _too_late(self) -> None:
        self._late = None
        program, self._program = self._program, None
        if program is not None:
            program.kill()
            self._read_output()
            seconds = f"{self._timeout:g}s"
            said = self._text.decode("utf-8", "replace")
            self._record(-1, f"Health check exceeded timeout ({seconds}): {said}")

    def _ended(self, end: Exit | None, error: BuildkitError | None) -> None:
        if self._program is None:
            return  # it came too late
        self._program = None
        if self._late is not None:
            self._late.cancel()
            self._late = None
        self._read_output()
        if error is not None or end is None:
            self._record(-1, error.message if error is not None else "")
        else:
            text = self._text[:MOST_OUTPUT_BYTES].decode("utf-8", "replace")
            self._record(end.code, end.message or text)

    def _record(self, code: int, output: str) -> None:
        self._forget_output()
        member = self._member
        before = member.state.health or Health()
        probe = Probe(self._begun, now(), code, output)
        health = replace(before, log=(*before.log, probe)[-MOST_PROBES:])
        if code == 0:
            health = replace(health, status="healthy", streak=0)
        elif before.status == "starting" and time.monotonic() - self._since < self._start_period:
            pass  # failures of the start period do not count
        else:
            health = replace(health, streak=before.streak + 1)
            if health.streak >= self._retries:
                health = replace(health, status="unhealthy")
        member.state = replace(member.state, health=health)
        member.write_state()
        if health.status != before.status:
            member.home.tell("health_status", member.spec, status=health.status)
        self._timer = member.home.loop.later(self._pause(), self._probe)
