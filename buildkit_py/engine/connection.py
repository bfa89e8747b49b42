"""The way to a group's supervisor: connect to one that runs, or start one.

    RUN/engine/ROOTHASH-GROUPHASH        its socket; the names are hashes, a path has 107 bytes
    RUN/engine/ROOTHASH-GROUPHASH.log    what one that failed said
    RUN/engine/lock                      held while one is connected to, started, or leaves

The socket is made by whoever starts the supervisor, so one can connect to it at once, and a
request waits in it until the supervisor is ready.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from buildkit_py.core.digest import sha256
from buildkit_py.core.dirs import ensure_private
from buildkit_py.core.errors import Bug, BuildkitError, HostError, InputError
from buildkit_py.core.files import Lock
from buildkit_py.engine import errors_over_sockets

MOST_BYTES = 1 << 17
_TRIES = 5
_KEPT = ("PATH", "LD_LIBRARY_PATH", "TZ")
_LISTENER = 3


class SupervisorGone(HostError):
    """The supervisor ended before it answered; its containers ended with it."""

    code = "engine/supervisor-gone"


def place_of(root: str, run_dir: str, group: str) -> str:
    """Return the path of a supervisor's socket."""
    name = f"{sha256(os.fsencode(root))[7:19]}-{sha256(group.encode())[7:23]}"
    return os.path.join(run_dir, "engine", name)


def lock_of(place: str) -> Lock:
    """Return the lock of connecting, starting and leaving, not yet taken."""
    return Lock(os.path.join(os.path.dirname(place), "lock"))


class RequestTooLarge(InputError):
    code = "engine/request-too-large"


class Connection:
    """A connection to a supervisor; for one request at a time."""

    def __init__(self, handle: socket.socket, place: str) -> None:
        self._socket = handle
        self._place = place

    def fileno(self) -> int:
        return self._socket.fileno()

    def ask(self, do: str, fds: tuple[int, ...] = (), **values: Any) -> dict[str, Any]:
        """Send a request and return its last answer; an error in it is raised."""
        self.send(do, fds, **values)
        while True:
            answer, _ = self.receive()
            if "done" in answer:
                return answer

    def send(self, do: str, fds: tuple[int, ...] = (), **values: Any) -> None:
        data = json.dumps({"do": do, **values}).encode()
        if len(data) > MOST_BYTES:
            raise RequestTooLarge(
                f"the request `{do}` has {len(data)} bytes, and {MOST_BYTES} are the most",
                hint="are there arguments or variables that could be in a file?",
            )
        try:
            if fds:
                socket.send_fds(self._socket, [data], list(fds))
            else:
                self._socket.send(data)
        except OSError:
            raise self._gone() from None

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """Wait for an answer; an error in it is raised."""
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, MOST_BYTES, 4)
        except OSError:
            data, fds = b"", []
        if not data:
            raise self._gone()
        answer: dict[str, Any] = json.loads(data)
        if "error" in answer:
            raise errors_over_sockets.from_data(answer["error"])
        return answer, fds

    def answers(self) -> Iterator[dict[str, Any]]:
        """Give answers as they come, until the last one or the supervisor's end."""
        while True:
            try:
                answer, _ = self.receive()
            except SupervisorGone:
                return
            yield answer
            if "done" in answer:
                return

    def _gone(self) -> BuildkitError:
        """Return why the supervisor is no more."""
        try:
            with open(f"{self._place}.log", encoding="utf-8", errors="replace") as file:
                lines = file.read(1 << 16).splitlines()
        except FileNotFoundError:
            lines = []
        for line in lines:
            try:
                return errors_over_sockets.from_data(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue
        if lines:
            return Bug("the supervisor failed", code="bug/supervisor", notes=lines[-20:])
        return SupervisorGone(
            "the process that looks after the containers was killed, and they with it",
            hint="was it the kernel, for want of memory? see `dmesg`",
        )

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def connect(root: str, run_dir: str, group: str) -> Connection | None:
    """Return a connection to a supervisor that runs, or None."""
    place = place_of(root, run_dir, group)
    if not os.path.exists(place):
        return None
    with lock_of(place):
        return _try(place)


@contextlib.contextmanager
def alone(
    root: str, run_dir: str, group: str, *, killed: Callable[[], None]
) -> Iterator[Connection | None]:
    """Give a connection to a supervisor that runs; or None, and then none is started meanwhile.

    killed: called where one was killed, after what it left in its place was removed
    """
    place = place_of(root, run_dir, group)
    _make_folder(run_dir, place)
    with lock_of(place) as lock:
        found = _try(place)
        if found is None:
            if vacate(place):
                killed()
            yield None
            return
        lock.release()
        with found:
            yield found


def vacate(place: str) -> bool:
    """Remove what a supervisor has in its place, and tell whether something was there.

    The lock of starts is held.
    """
    there = False
    for path in (place, f"{place}.log"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            there = True
    return there


def connect_or_start(root: str, run_dir: str, group: str) -> Connection:
    """Return a connection to the group's supervisor, which is started where none runs."""
    place = place_of(root, run_dir, group)
    _make_folder(run_dir, place)
    with lock_of(place):
        found = _try(place)
        if found is None:
            _start(root, run_dir, group, place)
            found = _try(place)
        if found is None:
            raise SupervisorGone("the supervisor that was just started is gone")
        return found


def _make_folder(run_dir: str, place: str) -> None:
    ensure_private(run_dir)
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)


def _try(place: str) -> Connection | None:
    handle = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        handle.connect(place)
    except (FileNotFoundError, ConnectionRefusedError):
        handle.close()
        return None
    except BaseException:
        handle.close()
        raise
    return Connection(handle, place)


def _start(root: str, run_dir: str, group: str, place: str) -> None:
    """Make the socket, and the process that listens on it. The lock of starts is held."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place)  # of one that was killed
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(place)
        os.chmod(place, 0o600)
        listener.listen(128)
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        program = (
            "import sys; sys.path.append(sys.argv[1]); "
            "from buildkit_py.engine.supervisor.main import main; main(sys.argv[2:])"
        )
        command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", program, package]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        os.posix_spawn(
            sys.executable,
            [*command, root, run_dir, group, place],
            {name: os.environ[name] for name in _KEPT if name in os.environ},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
                (os.POSIX_SPAWN_OPEN, 2, f"{place}.log", flags, 0o600),
                (os.POSIX_SPAWN_DUP2, listener.fileno(), _LISTENER),
            ],
            setsid=True,  # Ctrl-C is for whoever asked; the containers go on
            setsigdef=(1, 2, 3, 15),
        )
