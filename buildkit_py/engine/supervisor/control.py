"""What clients ask a supervisor, over a socket of messages; see engine/client.py for their side.

A request is a JSON object with `do`, and perhaps descriptors. Each is answered by one or more
objects; the last one has `done`, or `error`. A client that does not read is dropped: nobody can
hold the containers up.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
from collections.abc import Callable
from typing import Any

from buildkit_py.core.errors import Bug, BuildkitError, HostError
from buildkit_py.engine import errors_over_sockets, network_records
from buildkit_py.engine.containers import ContainerIsRunning, NotRunning, State
from buildkit_py.engine.processes import processes_of
from buildkit_py.engine.supervisor.programs import Program
from buildkit_py.runtime.process import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.engine.supervisor.main import Supervisor
    from buildkit_py.engine.supervisor.member import Member

MOST_BYTES = 1 << 17
_CREDENTIALS = struct.Struct("3i")


class Refused(HostError):
    code = "engine/refused"


class Client:
    """One connection. Owns its socket."""

    def __init__(self, home: Supervisor, connection: socket.socket) -> None:
        self.home = home
        self.connection = connection
        self.closing: list[Callable[[], None]] = []
        self.program: Program | None = None
        self.subject: Member | None = None
        connection.setblocking(False)
        home.loop.watch(connection.fileno(), self._on_events)

    def _on_events(self, events: int) -> None:
        if not events & select.EPOLLIN:
            self.close()
            return
        try:
            data, fds, _, _ = socket.recv_fds(self.connection, MOST_BYTES, 8)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self.close()
            return
        try:
            request = _read(data)
            handler = _HANDLERS.get(str(request.get("do")))
            if handler is None:
                raise Bug(f"the supervisor does not know the request {request.get('do')!r:.40}")
            handler(self, request, fds)
        except BuildkitError as error:
            self.fail(error)
        except OSError as error:  # no descriptor, no process, no room: of one request only
            self.fail(Refused(f"the system refused a request: {error}"))
        finally:
            for fd in fds:
                os.close(fd)

    def answer(self, **values: Any) -> None:
        self.send({"done": True, **values})

    def fail(self, error: BuildkitError) -> None:
        self.send({"error": errors_over_sockets.to_data(error)})

    def send(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        if self.connection.fileno() < 0:
            return
        try:
            data = json.dumps(message).encode()
            if fds:
                socket.send_fds(self.connection, [data], list(fds))
            else:
                self.connection.send(data)
        except OSError:  # it is gone, or does not read
            self.close()

    def close(self) -> None:
        if self.connection.fileno() < 0:
            return
        self.home.loop.forget(self.connection.fileno())
        self.connection.close()
        for each in self.closing:
            each()
        self.closing = []
        self.home.disconnected(self)

    # Requests

    def hold(self, request: dict[str, Any], fds: list[int]) -> None:
        """Keep the supervisor while this connection lasts, containers or not."""
        self.answer(pid=os.getpid())

    def start(self, request: dict[str, Any], fds: list[int]) -> None:
        member = self.home.member(request["id"])

        def done(error: BuildkitError | None) -> None:
            if error is None:
                self.answer()
            else:
                self.fail(error)

        member.start(done)

    def run(self, request: dict[str, Any], fds: list[int]) -> None:
        """Start a container with the client's streams; the last answer has its exit code."""
        if len(fds) != 3:
            raise Bug("a container needs three descriptors")
        member = self.home.member(request["id"])

        def done(error: BuildkitError | None) -> None:
            if error is not None:
                self.fail(error)
                return
            self.send({"started": True})
            member.waiting.append(self._ended)

        def on_terminal(fd: int) -> None:
            self.send({"terminal": True}, (fd,))

        self.subject = member
        member.run((fds[0], fds[1], fds[2]), done=done, on_terminal=on_terminal)

    def stop(self, request: dict[str, Any], fds: list[int]) -> None:
        member = self.home.member(request["id"])
        seconds = request.get("seconds")
        member.stop(
            request.get("signal") or member.spec.stop_signal,
            member.spec.stop_seconds if seconds is None else float(seconds),
            self._ended,
        )

    def _ended(self, state: State) -> None:
        self.answer(code=state.exit_code)

    def kill(self, request: dict[str, Any], fds: list[int]) -> None:
        self.home.member(request["id"]).kill(int(request["signal"]))
        self.answer()

    def wait(self, request: dict[str, Any], fds: list[int]) -> None:
        member = self.home.member(request["id"])
        if not member.is_alive:
            self._ended(member.state)
            return
        member.waiting.append(self._ended)
        self.send({"waiting": True})

    def execute(self, request: dict[str, Any], fds: list[int]) -> None:
        if len(fds) != 3:
            raise Bug("a program needs three descriptors")
        terminal = bool(request.get("terminal"))
        self.program = self.home.execute(
            self.home.member(request["id"]),
            request["args"],
            stdio=(fds[0], fds[1], fds[2]),
            env=request.get("env") or [],
            cwd=request.get("cwd") or "",
            user=request.get("user"),
            terminal=terminal,
            done=self._program_ended,
            ready=self._program_ready,
        )
        if not request.get("detach"):
            # Nobody could see or end it any more.
            self.closing.append(self.program.kill)

    def _program_ready(self, program: Program) -> None:
        fd = program.process.terminal
        self.send({"pid": program.process.pid}, (fd,) if fd >= 0 else ())

    def _program_ended(self, end: Exit | None, error: BuildkitError | None) -> None:
        if error is not None:
            self.fail(error)
        else:
            assert end is not None
            self.answer(code=end.code, message=end.message)

    def resize(self, request: dict[str, Any], fds: list[int]) -> None:
        process = self.program.process if self.program is not None else None
        if self.subject is not None:
            process = self.subject.process
        if process is not None:
            process.resize(int(request["rows"]), int(request["columns"]))

    def signal(self, request: dict[str, Any], fds: list[int]) -> None:
        number = int(request["signal"])
        if self.program is not None:
            self.program.kill(number)
        elif self.subject is not None and self.subject.process is not None:
            self.subject.kill(number)

    def processes(self, request: dict[str, Any], fds: list[int]) -> None:
        """Tell the processes of a container, in a file of memory: they may be many."""
        member = self.home.member(request["id"])
        if member.process is None:
            raise NotRunning(member.spec.id)
        fd = os.memfd_create("processes", os.MFD_CLOEXEC)
        with open(fd, "w+", encoding="utf-8") as file:
            json.dump(processes_of(member.process.pid), file)
            file.flush()
            file.seek(0)
            self.send({"done": True}, (fd,))

    def follow(self, request: dict[str, Any], fds: list[int]) -> None:
        """Tell whenever a log grew or its container's state changed, until it ends for good.

        One word that has not been read is enough: the reader then reads all there is.
        """
        member = self.home.member(request["id"])

        def nudge() -> None:
            alive = member.is_alive
            try:
                self.connection.send(b'{"grown":true}' if alive else b'{"done":true}')
            except BlockingIOError:
                if not alive:
                    self.close()  # which tells it, too
            except OSError:
                self.close()

        member.followers.add(nudge)
        self.closing.append(lambda: member.followers.discard(nudge))
        nudge()

    def events(self, request: dict[str, Any], fds: list[int]) -> None:
        self.home.watchers.add(self)
        self.closing.append(lambda: self.home.watchers.discard(self))
        self.send({"watching": True})

    def forget(self, request: dict[str, Any], fds: list[int]) -> None:
        """Let go of a container that is to be removed, by force also when it runs.

        It cannot be started while this connection lasts.
        """
        id = request["id"]
        member = self.home.members.get(id)
        if member is not None and member.is_alive and not request["force"]:
            raise ContainerIsRunning(member.spec.name)
        self.home.doomed.append(id)
        self.closing.append(lambda: self.home.doomed.remove(id))

        def gone(state: State | None = None) -> None:
            self.home.forget(id)
            self.answer()

        if member is None:
            gone()
        else:
            member.stop(signal.SIGKILL, 0, gone)

    def remove_network(self, request: dict[str, Any], fds: list[int]) -> None:
        """Remove a network that nobody is in, and what is remembered of it."""
        name = request["name"]
        inside = [m.spec for m in self.home.members.values() if name in m.plugged.networks]
        if inside:
            raise network_records.in_use(name, inside)
        if name in self.home.switch:
            self.home.switch.remove(name)
        network_records.remove(self.home.root, name)
        self.answer()

    def leave(self, request: dict[str, Any], fds: list[int]) -> None:
        """End, if nothing else keeps the supervisor; this connection ends with it, or says so."""
        self.home.clients.discard(self)
        self.home.parting.add(self)
        self.home.leave_if_idle()

    def stays(self) -> None:
        """Tell that the supervisor does not end."""
        self.home.parting.discard(self)
        self.home.clients.add(self)
        self.answer()


_HANDLERS: dict[str, Callable[[Client, dict[str, Any], list[int]], None]] = {
    "events": Client.events,
    "execute": Client.execute,
    "follow": Client.follow,
    "forget": Client.forget,
    "hold": Client.hold,
    "kill": Client.kill,
    "leave": Client.leave,
    "remove-network": Client.remove_network,
    "processes": Client.processes,
    "resize": Client.resize,
    "run": Client.run,
    "signal": Client.signal,
    "start": Client.start,
    "stop": Client.stop,
    "wait": Client.wait,
}


def _read(data: bytes) -> dict[str, Any]:
    """Read a request. Raises Bug: a client's mistake ends no container."""
    try:
        request = json.loads(data)
    except ValueError:
        request = None
    if not isinstance(request, dict):
        raise Bug(f"a request of {len(data)} bytes cannot be read")
    return request


def is_ours(connection: socket.socket) -> bool:
    """Tell whether the other end is of our own user, as this namespace sees it."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(data)
    return bool(uid == os.geteuid())
