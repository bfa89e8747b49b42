"""The life of one container under its supervisor: start, end, restart, stop.

    created ── start ──> running ── end ──> exited
                            ^                  │ restart policy
                            └── restarting <───┘

Nothing here waits: a start goes on when the container's channel says so, a stop when a timer
fires or the program ends. Whoever wants to know gives a function to be called.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable

from buildkit_py.core.data import replace
from buildkit_py.core.errors import BuildkitError, HostError, InputError
from buildkit_py.core.files import Lock
from buildkit_py.engine import containers
from buildkit_py.engine.clock import now
from buildkit_py.engine.containers import CannotStart, ContainerSpec, NotRunning, State
from buildkit_py.engine.supervisor.health import Monitor
from buildkit_py.engine.supervisor.loop import Timer
from buildkit_py.engine.supervisor.output import Carrier, Log
from buildkit_py.engine.supervisor.plugged import Plugged
from buildkit_py.runtime.kernel.cgroups import start_time
from buildkit_py.runtime.process import Exit, Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.engine.supervisor.main import Supervisor

Done = Callable[[BuildkitError | None], None]
"""Called when something is done, with what went wrong."""

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 60.0
STEADY_SECONDS = 10.0
"""A run as long as this counts as a success: delays begin anew. moby restartmanager."""
KILL_PATIENCE_SECONDS = 10.0
REWRITE_SECONDS = 1.0


class AlreadyRuns(InputError):
    code = "engine/already-runs"


class Member:
    """One container. Owns its lock, its process, its log and its place in the networks."""

    def __init__(self, home: Supervisor, directory: str, spec: ContainerSpec) -> None:
        self.home = home
        self.directory = directory
        self.spec = spec
        self.state = State()
        self.process: Process | None = None
        self.plugged = Plugged(home, spec)
        self.followers: set[Callable[[], None]] = set()
        self.waiting: list[Callable[[State], None]] = []
        self._lock = Lock(os.path.join(directory, "lock"))
        self._log: Log | None = None
        self._carriers: list[Carrier] = []
        self._stdin = -1
        self._starting: Done | None = None
        self._streams: tuple[int, int, int] | None = None
        self._attached = False
        self._on_terminal: Callable[[int], None] = lambda fd: None
        self._delay = FIRST_DELAY_SECONDS
        self._since = 0.0
        self._restart: Timer | None = None
        self._kill: Timer | None = None
        self._monitor: Monitor | None = None
        self._rewrite: Timer | None = None
        self._unwritten = False

    @property
    def is_alive(self) -> bool:
        """Whether it runs, is being started, or will be started again by itself."""
        return self.process is not None or self._restart is not None

    def run(
        self,
        streams: tuple[int, int, int],
        *,
        done: Done,
        on_terminal: Callable[[int], None],
    ) -> None:
        """Start the container with somebody's streams instead of its log; those stay the caller's.

        on_terminal: called with the near end of its terminal, where it has one
        """
        if self.is_alive:
            raise AlreadyRuns(f"container {self.spec.id} is running")
        self._streams, self._on_terminal = streams, on_terminal
        try:
            self.start(done)
        finally:
            self._streams = None

    def start(self, done: Done) -> None:
        """Start the container; one that runs is left in peace. Raises UnknownContainer."""
        if self.spec.id in self.home.doomed:
            raise containers.UnknownContainer(self.spec.id)
        if (first := self._starting) is not None:
            # Somebody else's start is on its way, and there can be one process only.
            def both(error: BuildkitError | None) -> None:
                first(error)
                done(error)

            self._starting = both
            return
        if self._restart is not None:
            self._cancel_restart()
        elif self.process is not None:
            done(None)
            return
        if self._lock.fd < 0:
            self._lock.acquire()
        before = containers.read_state(self.directory)
        self.state = replace(before, restarts=0, stopped=False, error="", health=None)
        self._delay = FIRST_DELAY_SECONDS
        self._starting = done
        try:
            # A container whose state nobody can see could not be looked after.
            containers.write_state(self.directory, self.state)
        except OSError as error:
            text = f"start: the state cannot be written: {error.strerror}"
            self._fail(HostError(text, code="engine/start"), 128)
            return
        self._launch()

    def stop(self, number: int, seconds: float, done: Callable[[State], None]) -> None:
        """Send the signal, and SIGKILL after some seconds; negative ones mean never.

        Of several who want it to end the least patient one decides.
        """
        if not self.is_alive:
            done(self.state)
            return
        self.state = replace(self.state, stopped=True)
        if self.process is None:
            self._cancel_restart()
            self._settle()
            done(self.state)
            return
        self.waiting.append(done)
        self.process.kill(number)
        if seconds < 0:
            return
        if self._kill is not None:
            if self._kill.at <= time.monotonic() + seconds:
                return
            self._kill.cancel()
        self._kill = self.home.loop.later(seconds, self._kill_now)

    def kill(self, number: int) -> None:
        """Send a signal. Raises NotRunning. One that is meant to end it ends restarts, too."""
        if self.process is None:
            if self._restart is not None:
                self.stop(number, 0, lambda state: None)
                return
            raise NotRunning(self.spec.id)
        if number in (signal.SIGKILL, self.spec.stop_signal):
            self.state = replace(self.state, stopped=True)
        self.process.kill(number)

    def close(self) -> None:
        """Let go of a container that does not run."""
        if self._rewrite is not None:
            self._rewrite.cancel()
            self._rewrite = None
        if self._log is not None:
            self._log.close()
            self._log = None
        self._lock.release()

    def grown(self) -> None:
        for each in tuple(self.followers):
            each()

    # Starting

    def _launch(self) -> None:
        """Begin a start; how it goes on is told by the channel."""
        try:
            self._create()
        except BuildkitError as error:
            self._fail(error, 128)
        except OSError as error:
            self._fail(HostError(f"start: {error}", code="engine/start"), 128)

    def _create(self) -> None:
        if self._log is None:
            self._log = Log(
                os.path.join(self.directory, "log.json"),
                bounds=self.spec.log,
                grown=self.grown,
                complain=lambda text: self.home.tell("error", self.spec, text=text),
            )
        container = self.plugged.prepare()
        ours: list[tuple[int, str]] = []
        theirs: list[int] = []
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            streams = [nothing, nothing, nothing]
            if self._streams is not None:
                streams = list(self._streams)
            elif not container.terminal:
                for number, name in ((1, "stdout"), (2, "stderr")):
                    read, write = os.pipe2(os.O_CLOEXEC)
                    ours.append((read, name))
                    theirs.append(write)
                    streams[number] = write
                if self.spec.stdin_open:
                    read, self._stdin = os.pipe2(os.O_CLOEXEC)
                    theirs.append(read)
                    streams[0] = read
            process = self.home.zygote.create(
                container, stdin=streams[0], stdout=streams[1], stderr=streams[2]
            )
        except BaseException:
            for fd, _ in ours:
                os.close(fd)
            raise
        finally:
            for fd in (nothing, *theirs):
                os.close(fd)
        self.process = process
        self._attached = self._streams is not None
        self._carriers = [Carrier(self.home.loop, fd, name, self._log) for fd, name in ours]
        self.home.loop.watch(process.fileno(), self._on_channel)
        self.plugged.plug(process)
        self.home.loop.watch(process.executed, self._on_executed)
        process.begin()

    def _on_channel(self, _: int) -> None:
        process = self.process
        assert process is not None
        had_terminal = process.terminal >= 0
        process.advance()
        if process.terminal >= 0 and not had_terminal:
            self._take_terminal(process)
        if process.sockets:
            self.plugged.serve_names(process.sockets)
            process.sockets = []
        if process.exit is not None:
            self._ended(process, process.exit)

    def _take_terminal(self, process: Process) -> None:
        if self._attached:
            self._on_terminal(process.terminal)
        elif self._log is not None:
            fd = os.dup(process.terminal)
            self._carriers.append(Carrier(self.home.loop, fd, "stdout", self._log))

    def _on_executed(self, _: int) -> None:
        """The program runs, or it could not be run, and then the channel says so already."""
        process = self.process
        assert process is not None
        self.home.loop.forget(process.executed)
        while self.process is process and _is_readable(process.fileno()):
            self._on_channel(select.EPOLLIN)
        if self.process is process and process.is_set_up and not process.message:
            self._runs(process)

    def _runs(self, process: Process) -> None:
        self._since = time.monotonic()
        try:
            born = start_time(process.pid)
        except (FileNotFoundError, ProcessLookupError):
            born = 0  # its end is on its way
        self.state = replace(
            self.state,
            status="running",
            pid=process.pid,
            pid_start=born,
            started=now(),
            finished="",
            exit_code=0,
            oom=False,
            error="",
            health=containers.Health() if self.spec.healthcheck else None,
            endpoints=self.plugged.endpoints,
            ports=self.plugged.published,
        )
        self.write_state()
        self.plugged.announce()
        self.home.tell("start", self.spec)
        for text in process.warnings:
            self.home.tell("warning", self.spec, text=text)
        if self.spec.healthcheck is not None:
            self._monitor = Monitor(self, self.spec.healthcheck)
        self._answer(None)

    def _answer(self, error: BuildkitError | None) -> None:
        done, self._starting = self._starting, None
        if done is not None:
            done(error)

    def _fail(self, error: BuildkitError, code: int) -> None:
        """A start did not succeed; in a loop of restarts that ends the loop."""
        status: containers.Status = "exited" if self.state.started else "created"
        self.state = replace(self.state, status=status, exit_code=code, error=error.message)
        self._settle()
        self._answer(error)

    # Ending

    def _ended(self, process: Process, end: Exit) -> None:
        was_running = self.state.status == "running" and self.state.pid == process.pid
        if not was_running and process.is_set_up and not process.message:
            # It ran, so briefly that its end came first.
            self._runs(process)
            was_running = True
        self._clean_up(process)
        if not was_running:
            failure = process.failure
            if failure is None and self.spec.id in self.home.doomed:
                failure = containers.UnknownContainer(self.spec.id)
            if failure is None:
                early = "was stopped" if self.state.stopped else "ended"
                text = process.message or f"the container {early} before it started"
                failure = CannotStart(text, code_of_program=end.code)
            code = end.code if process.message else 128
            self._fail(failure, code)
            return
        self.state = replace(
            self.state,
            status="exited",
            pid=0,
            pid_start=0,
            finished=now(),
            exit_code=end.code,
            oom=end.oom,
            error=process.failure.message if process.failure is not None else "",
        )
        again = self._wants_restart()
        if again:
            self.state = replace(self.state, status="restarting")
        # Whom an event wakes reads the state, and may not be woken again: it must be there before.
        self.write_state()
        if end.oom:
            self.home.tell("oom", self.spec)
        self.home.tell(
            "die", self.spec, exit_code=str(end.code), restarting="yes" if again else "no"
        )
        if again:
            self._restart_later()
        else:
            self._settle()

    def _clean_up(self, process: Process) -> None:
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if self._kill is not None:
            self._kill.cancel()
            self._kill = None
        self.home.loop.forget(process.fileno())
        self.home.loop.forget(process.executed)
        for each in self._carriers:
            each.finish()
        self._carriers = []
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1
        self.plugged.withdraw()
        self.home.end_programs_of(process)
        process.close()
        self.process = None

    def _wants_restart(self) -> bool:
        policy, state = self.spec.restart, self.state
        if state.stopped or self.home.is_ending:
            return False
        if policy.name == "on-failure":
            return state.exit_code != 0 and (not policy.most or state.restarts < policy.most)
        return policy.name in ("always", "unless-stopped")

    def _restart_later(self) -> None:
        if time.monotonic() - self._since >= STEADY_SECONDS:
            self._delay = FIRST_DELAY_SECONDS
        self.state = replace(self.state, status="restarting")
        self.write_state()
        self._restart = self.home.loop.later(self._delay, self._restart_now)
        self._delay = min(self._delay * 2, LONGEST_DELAY_SECONDS)

    def _restart_now(self) -> None:
        self._restart = None
        self.state = replace(self.state, restarts=self.state.restarts + 1, health=None)
        self._launch()

    def _cancel_restart(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
            self.state = replace(self.state, status="exited")

    def _settle(self) -> None:
        """It does not run and will not by itself: give everything back, and tell."""
        self.plugged.release()
        self.state = replace(self.state, pid=0, pid_start=0, endpoints=(), ports=())
        self.write_state()
        waiting, self.waiting = self.waiting, []
        self.grown()
        self.home.settled(self)
        for each in waiting:
            each(self.state)

    def _kill_now(self) -> None:
        self._kill = None
        if self.process is not None:
            self.process.kill()

    def write_state(self) -> None:
        """Let others see the state. A disk that is full stops no container: it is tried again."""
        if self._rewrite is not None:
            self._rewrite.cancel()
            self._rewrite = None
        try:
            containers.write_state(self.directory, self.state)
        except OSError as error:
            if not self._unwritten:
                self._unwritten = True
                text = f"the state cannot be written: {error.strerror}"
                self.home.tell("error", self.spec, text=text)
            self._rewrite = self.home.loop.later(REWRITE_SECONDS, self.write_state)
        else:
            self._unwritten = False


def _is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
