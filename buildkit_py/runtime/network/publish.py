"""Published ports: what `-p` says, and the host's side of each port.

A port is bound and listened on *before* its container starts, so that a conflict is known in
time and nobody takes it meanwhile. A proxy then carries connections into the network: a process
of its own (proxy.py), which lives in the network's namespace and dies with this one.

The container sees its gateway as the source of every connection, as with docker's own proxy.
Forms and messages: docker/go-connections nat/parse.go, moby daemon/libnetwork/portallocator.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import os
import socket
import sys
import threading
from collections.abc import Iterable, Sequence
from types import TracebackType

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.runtime.network.uplink import Zygote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Protocol = Literal["tcp", "udp"]

ANY = "0.0.0.0"
BACKLOG = 4096  # the kernel cuts it to net.core.somaxconn
ANSWER_SECONDS = 30
_EPHEMERAL_TRIES = 16


class InvalidPort(InputError):
    code = "network/invalid-port"


class PortTaken(HostError):
    """Another program, or another container, has the port."""

    code = "network/port-taken"


class PortRefused(HostError):
    """The kernel does not let us have the port or the address."""

    code = "network/port-refused"


@dataclass(frozen=True, slots=True)
class Port:
    """One published port.

    host_ip: "" is every address of the host, IPv4 and IPv6
    host_port: 0 takes a free one; with last_host_port > host_port, the first free one of the range
    """

    container_port: int
    host_port: int = 0
    host_ip: str = ""
    protocol: Protocol = "tcp"
    last_host_port: int = 0

    @property
    def candidates(self) -> range:
        return range(self.host_port, max(self.host_port, self.last_host_port) + 1)


def parse(text: str) -> tuple[Port, ...]:
    """Read `[IP:][HOST:]CONTAINER[/tcp|udp]`, with ranges `8000-8010`. Raises InvalidPort.

    Two equally long ranges pair up; a range before one container port means "the first free one".
    """
    spec, _, protocol = text.partition("/")
    if protocol.lower() not in ("", "tcp", "udp"):
        raise InvalidPort(f"invalid protocol `{protocol}` in the port `{text}`", hint="tcp or udp")
    address, host, container = _split(spec)
    if not container:
        raise InvalidPort(f"no container port in `{text}`")
    if address:
        try:
            address = str(ipaddress.ip_address(address))
        except ValueError as error:
            raise InvalidPort(f"invalid IP address `{address}` in the port `{text}`") from error
    first, last = _range(container, text, "container", lowest=1)
    host_first, host_last = _range(host, text, "host", lowest=0) if host else (0, 0)
    kind: Protocol = "udp" if protocol.lower() == "udp" else "tcp"
    if first == last:
        return (Port(first, host_first, address, kind, host_last),)
    if host and host_last - host_first != last - first:
        raise InvalidPort(f"the ranges of host and container in `{text}` are not equally long")
    return tuple(
        Port(first + i, host_first + i if host else 0, address, kind, host_first + i if host else 0)
        for i in range(last - first + 1)
    )


def _split(spec: str) -> tuple[str, str, str]:
    """Return address, host port and container port; an IPv6 address may stand in brackets."""
    rest, _, container = spec.rpartition(":")
    address, colon, host = rest.rpartition(":")
    if not colon:
        return "", rest, container
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    return address, host, container


def _range(words: str, text: str, side: str, *, lowest: int) -> tuple[int, int]:
    first, dash, last = words.partition("-")
    found = []
    for word in (first, last) if dash else (first, first):
        # Leading zeros are fine; int() refuses thousands of digits.
        number = word.lstrip("0") if word.isascii() and word.isdigit() else "?"
        if len(number) > 5 or number == "?" or not lowest <= int(number or "0") <= 65535:
            raise InvalidPort(f"invalid {side} port `{words}` in `{text}`")
        found.append(int(number or "0"))
    if found[0] > found[1]:
        raise InvalidPort(f"invalid {side} port `{words}` in `{text}`")
    return found[0], found[1]


@dataclass(frozen=True, slots=True)
class Bound:
    """A port that is ours: the sockets, one for each family, and the number it got."""

    port: Port
    host_port: int
    sockets: tuple[socket.socket, ...]

    def close(self) -> None:
        for each in self.sockets:
            each.close()


def bind(ports: Iterable[Port]) -> list[Bound]:
    """Take the ports on this host, all of them or none. Raises PortTaken or PortRefused."""
    done: list[Bound] = []
    try:
        for port in ports:
            bound = _bind(port)
            done.append(bound)
    except BaseException:
        for bound in done:
            bound.close()
        raise
    return done


def _bind(port: Port) -> Bound:
    candidates: Sequence[int] = port.candidates
    if port.host_port == 0 and port.last_host_port == 0:
        # The number that IPv4 got may be taken for IPv6.
        candidates = [0] * _EPHEMERAL_TRIES
    for number in candidates:
        try:
            return _bind_one(port, number)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and number != candidates[-1]:
                continue
            raise _complaint(port, number, error) from error
    raise AssertionError("a range of ports is never empty")


def _bind_one(port: Port, number: int) -> Bound:
    made: list[socket.socket] = []
    try:
        if port.host_ip:
            made.append(_listen(port.host_ip, number, port.protocol))
        else:
            made.append(_listen(ANY, number, port.protocol))
            number = made[0].getsockname()[1]
            try:
                made.append(_listen("::", number, port.protocol))
            except OSError as error:
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise  # otherwise the host has no IPv6
    except BaseException:
        for each in made:
            each.close()
        raise
    return Bound(port, made[0].getsockname()[1], tuple(made))


def _listen(address: str, number: int, protocol: Protocol) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    listener = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            # Connections of a service that has just ended do not keep its port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, number))
        if protocol == "tcp":
            listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _complaint(port: Port, number: int, error: OSError) -> HostError:
    where = f"{port.host_ip or ANY}:{number}"
    if ":" in port.host_ip:
        where = f"[{port.host_ip}]:{number}"
    if error.errno == errno.EADDRINUSE:
        return PortTaken(f"Bind for {where} failed: port is already allocated")
    if error.errno in (errno.EACCES, errno.EPERM):
        return PortRefused(
            f"cannot publish `{where}`: {error.strerror}",
            hint="take a port from 1024 on, or lower `sysctl net.ipv4.ip_unprivileged_port_start`",
        )
    return PortRefused(f"cannot publish `{where}`: {error.strerror or error}")


class Proxy:
    """The process that carries connections from bound ports into one network. Thread-safe.

    It is started by the first `carry`, ends with `close`, and dies with this process.
    """

    def __init__(self, zygote: Zygote, netns_fd: int = -1) -> None:
        """netns_fd: the namespace that it makes its connections in; -1 is the host's."""
        self._zygote = zygote
        self._netns_fd = netns_fd
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._pidfd = -1
        self._count = 0

    def carry(self, bound: Bound, address: str) -> int:
        """Carry what comes to the port to the container at `address`; the sockets become ours.

        Returns the number under which `stop` knows it. Raises HostError.
        """
        with self._lock:
            channel = self._channel or self._start()
            self._count += 1
            order: dict[str, object] = {
                "number": self._count,
                "protocol": bound.port.protocol,
                "target": [address, bound.port.container_port],
            }
            self._say(channel, order, [each.fileno() for each in bound.sockets])
            bound.close()
            return self._count

    def stop(self, number: int) -> None:
        """Give the port back. Connections that are open go on.

        A proxy that was killed has given back all of its ports already.
        """
        with self._lock:
            if self._channel is not None:
                with contextlib.suppress(HostError):
                    self._say(self._channel, {"stop": number}, [])

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        # Isolated and without site: nothing of the user's is imported, and it starts in 20 ms.
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
        start = (
            f"import sys; sys.path.insert(0, {root!r}); "
            "from buildkit_py.runtime.network.proxy import main; main(3)"
        )
        try:
            self._pidfd = self._zygote.spawn_helper(
                [sys.executable, "-I", "-S", "-c", start],
                [null, null, null, theirs.fileno()],
                netns_fd=self._netns_fd,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(null)
            theirs.close()
        ours.settimeout(ANSWER_SECONDS)
        self._channel = ours
        return ours

    def _say(self, channel: socket.socket, order: dict[str, object], fds: list[int]) -> None:
        try:
            socket.send_fds(channel, [json.dumps(order).encode()], fds)
            answer = channel.recv(4096).decode()
            is_there = bool(answer)
        except OSError as error:
            answer, is_there = error.strerror or str(error), False
        if not is_there:
            self._forget()  # it was killed: the next port gets a new one
        if answer != "ok":
            raise HostError(
                f"the proxy of published ports failed: {answer or 'it ended'}",
                code="network/proxy-failed",
            )

    def close(self) -> None:
        """End the proxy and its connections. Safe to call twice."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._channel is not None:
            self._channel.close()  # it ends when it sees that
            self._channel = None
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
