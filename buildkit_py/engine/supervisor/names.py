"""The nameserver of a group: names of its containers, and questions handed on to the host's.

Each container asks at 127.0.0.11, at sockets that were made inside of it (runtime's
`open_nameserver`), so what it may know follows from who it is: it finds the names in its own
networks. What we do not know is asked of the host's nameservers, from the host; a container that
is in internal networks only gets no answer from there.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import random
import select
import socket
import struct
from collections.abc import Callable

from buildkit_py.engine.supervisor.loop import Loop, Timer
from buildkit_py.runtime.network import questions
from buildkit_py.runtime.network.questions import Question

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.engine.supervisor.plugged import Plugged

DNS_PORT = 53
PATIENCE_SECONDS = 4.0
MOST_SERVERS = 3
MOST_WAITING = 1024
MOST_BYTES = 1 << 16
IDLE_SECONDS = 10.0
Reply = Callable[[bytes], None]
_HOST_NAMES = ("host.docker.internal", "host.containers.internal")


class Names:
    """Who is called what in which network, and the sockets at which that is asked.

    servers: the host's nameservers
    """

    def __init__(self, loop: Loop, servers: tuple[str, ...]) -> None:
        self.loop = loop
        self.servers = tuple(_usable(servers))[:MOST_SERVERS]
        self.host_address = ""
        self._names: dict[tuple[str, str], list[tuple[Plugged, str]]] = {}
        self._addresses: dict[tuple[str, str], str] = {}
        self._subnets: dict[str, ipaddress.IPv4Network] = {}
        self._doors: dict[Plugged, list[socket.socket]] = {}
        self._streams: dict[Plugged, set[_Stream]] = {}
        self.waiting = 0

    def add(self, who: Plugged, network: str, names: tuple[str, ...], address: str) -> None:
        for name in names:
            self._names.setdefault((network, name.lower()), []).append((who, address))
        self._addresses[network, address] = f"{names[0]}.{network}"

    def know_subnet(self, network: str, subnet: str) -> None:
        """Let no question about an address of a network of ours leave the house."""
        self._subnets[network] = ipaddress.IPv4Network(subnet)

    def forget(self, who: Plugged) -> None:
        """Forget its names, and close its sockets."""
        for key, rows in list(self._names.items()):
            left = [row for row in rows if row[0] is not who]
            for _, address in (row for row in rows if row[0] is who):
                self._addresses.pop((key[0], address), None)
            if left:
                self._names[key] = left
            else:
                del self._names[key]
        for door in self._doors.pop(who, []):
            self.loop.forget(door.fileno())
            door.close()
        for stream in self._streams.pop(who, set()):
            stream.close()

    def serve(self, who: Plugged, sockets: list[socket.socket], *, internal: bool) -> None:
        """Answer what comes to the sockets of a container; they are ours from now on."""
        self._doors.setdefault(who, []).extend(sockets)
        for door in sockets:
            datagrams = door.type == socket.SOCK_DGRAM
            handler = self._on_datagram if datagrams else self._on_connection
            self.loop.watch(door.fileno(), functools.partial(handler, who, door, internal))

    def look_up(self, who: Plugged, question: Question) -> bytes | None:
        """Return the answer to a question of a container, None where others must be asked."""
        networks = who.networks
        if address := question.address:
            for network in networks:
                name = self._addresses.get((network, address))
                if name is not None:
                    return questions.answer(question, name=name)
            number = ipaddress.IPv4Address(address)
            if any(number in subnet for subnet in self._subnets.values()):
                return questions.answer(question, code=questions.NXDOMAIN)
            return None
        found = self._find(networks, question.name)
        if not found and question.name in _HOST_NAMES and self.host_address:
            found = [self.host_address]
        if not found:
            return None
        if question.kind != questions.A:
            return questions.answer(question)
        random.shuffle(found)
        return questions.answer(question, found)

    def _find(self, networks: list[str], name: str) -> list[str]:
        """Return all addresses of a name, or of `name.network`, in any of the networks."""
        for network in networks:
            for each in (name, name.removesuffix(f".{network.lower()}")):
                rows = self._names.get((network, each))
                if rows:
                    return list(dict.fromkeys(address for _, address in rows))
        return []

    def _on_datagram(self, who: Plugged, door: socket.socket, internal: bool, _: int) -> None:
        try:
            data, peer = door.recvfrom(MOST_BYTES)
        except OSError:
            return

        def reply(message: bytes) -> None:
            if door.fileno() < 0:
                return
            try:
                door.sendto(message, peer)
            except OSError:
                return  # it does not wait any more

        self.ask(who, data, reply, internal=internal, stream=False)

    def _on_connection(self, who: Plugged, door: socket.socket, internal: bool, _: int) -> None:
        try:
            connection, _ = door.accept()
        except OSError:
            return
        streams = self._streams.setdefault(who, set())
        if len(streams) >= MOST_WAITING:
            connection.close()
            return
        streams.add(_Stream(self, who, connection, streams, internal=internal))

    def ask(self, who: Plugged, data: bytes, reply: Reply, *, internal: bool, stream: bool) -> None:
        """Answer a question now, or when a server has answered it."""
        try:
            question = questions.read(data)
        except questions.BadQuestion:
            return
        if stream:
            question = questions.without_limit(question)
        known = self.look_up(who, question)
        if known is not None:
            reply(known)
        elif internal or not self.servers:
            reply(questions.answer(question, code=questions.SERVFAIL))
        elif self.waiting >= MOST_WAITING:
            reply(questions.answer(question, code=questions.REFUSED))
        else:
            Forward(self, question, data, reply, stream=stream)


class Forward:
    """One question on its way to the host's nameservers, one after the other."""

    def __init__(
        self, names: Names, question: Question, data: bytes, reply: Reply, *, stream: bool
    ) -> None:
        self._names = names
        self._question = question
        self._data = data
        self._reply = reply
        self._stream = stream
        self._servers = list(names.servers)
        self._socket: socket.socket | None = None
        self._timer: Timer | None = None
        self._received = b""
        self._number = b""
        names.waiting += 1
        self._next()

    def _next(self) -> None:
        self._close()
        if not self._servers:
            self._names.waiting -= 1
            self._reply(questions.answer(self._question, code=questions.SERVFAIL))
            return
        server = self._servers.pop(0)
        # A number of its own and a port of its own: nobody can guess both.
        self._number = os.urandom(2)
        self._received = b""
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        kind = socket.SOCK_STREAM if self._stream else socket.SOCK_DGRAM
        self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        self._timer = self._names.loop.later(PATIENCE_SECONDS, self._next)
        message = self._number + self._data[2:]
        try:
            if self._stream:
                self._socket.connect_ex((server, DNS_PORT))
                self._names.loop.watch(self._socket.fileno(), self._on_stream, select.EPOLLOUT)
            else:
                self._socket.connect((server, DNS_PORT))
                self._socket.send(message)
                self._names.loop.watch(self._socket.fileno(), self._on_datagram)
        except OSError:
            self._next()

    def _on_datagram(self, _: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._next()
            return
        self._take(data)

    def _on_stream(self, events: int) -> None:
        assert self._socket is not None
        try:
            if events & select.EPOLLOUT:
                message = self._number + self._data[2:]
                self._socket.send(struct.pack(">H", len(message)) + message)
                self._names.loop.forget(self._socket.fileno())
                self._names.loop.watch(self._socket.fileno(), self._on_stream)
                return
            data = self._socket.recv(MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._next()
            return
        self._received += data
        if len(self._received) >= 2:
            (length,) = struct.unpack_from(">H", self._received)
            if len(self._received) >= 2 + length:
                self._take(self._received[2 : 2 + length])

    def _take(self, data: bytes) -> None:
        """Hand an answer back, if it is one to our question."""
        raw = self._question.raw
        same = data[12 : 12 + len(raw)].lower() == raw.lower()
        if len(data) < 12 or data[:2] != self._number or not same:
            return  # somebody guesses: wait for the right one
        if data[3] & 0x0F in (questions.SERVFAIL, questions.REFUSED) and self._servers:
            self._next()
            return
        self._close()
        self._names.waiting -= 1
        self._reply(self._data[:2] + data[2:])

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._names.loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None


class _Stream:
    """A connection of a container over which it asks, one question after the other."""

    def __init__(
        self,
        names: Names,
        who: Plugged,
        connection: socket.socket,
        others: set[_Stream],
        *,
        internal: bool,
    ) -> None:
        self._names = names
        self._who = who
        self._connection = connection
        self._others = others
        self._internal = internal
        self._received = b""
        connection.setblocking(False)
        names.loop.watch(connection.fileno(), self._on_events)
        self._timer = names.loop.later(IDLE_SECONDS, self.close)

    def _on_events(self, _: int) -> None:
        try:
            data = self._connection.recv(MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._received += data
        while len(self._received) >= 2:
            (length,) = struct.unpack_from(">H", self._received)
            if len(self._received) < 2 + length:
                return
            message, self._received = self._received[2 : 2 + length], self._received[2 + length :]
            self._names.ask(self._who, message, self._reply, internal=self._internal, stream=True)

    def _reply(self, message: bytes) -> None:
        if self._connection.fileno() < 0:
            return
        try:
            self._connection.send(struct.pack(">H", len(message)) + message)
        except OSError:
            self.close()

    def close(self) -> None:
        self._timer.cancel()
        if self._connection.fileno() >= 0:
            self._names.loop.forget(self._connection.fileno())
            self._connection.close()
        self._others.discard(self)


def _usable(servers: tuple[str, ...]) -> list[str]:
    """Return the servers that can be asked: addresses, and none of them our own place."""
    found = []
    for text in servers:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if text != "127.0.0.11" and not address.is_unspecified:
            found.append(text)
    return found
