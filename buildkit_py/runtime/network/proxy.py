"""The proxy of published ports: a small process that lives inside the network's namespace.

It gets listening sockets of the host over a channel, makes its own connections where it lives,
and copies between them. One thread, one epoll. When the channel closes it ends: so it dies with
the process that started it. It holds no capability once it is in the namespace.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import resource
import select
import socket
import time
from collections.abc import Callable

from buildkit_py.runtime.kernel import capabilities, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Address = tuple[Any, ...]

CHUNK_BYTES = 1 << 16
UDP_IDLE_SECONDS = 90.0  # as docker-proxy has it
_NOT_NOW = frozenset({errno.EAGAIN, errno.EINPROGRESS, errno.EINTR})
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Loop:
    """Descriptors, what each waits for, and what to do then."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[int], None]] = {}
        self.paused: list[tuple[int, Callable[[int], None]]] = []
        self.closing: list[socket.socket] = []

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        if fd in self.handlers:
            self.epoll.modify(fd, events)
        else:
            self.epoll.register(fd, events)
        self.handlers[fd] = handler

    def forget(self, fd: int) -> None:
        if self.handlers.pop(fd, None) is not None:
            self.epoll.unregister(fd)

    def close(self, handle: socket.socket) -> None:
        """Close after this round: its number, used again at once, would get others' events."""
        self.forget(handle.fileno())
        self.closing.append(handle)

    def sweep(self) -> None:
        """Close what was given to `close`; descriptors are free again."""
        if self.closing:
            for each in self.closing:
                each.close()
            self.closing.clear()
            self._resume()

    def pause(self, fd: int) -> None:
        """Leave a listener alone until something was closed: there is no descriptor left."""
        self.paused.append((fd, self.handlers[fd]))
        self.forget(fd)

    def _resume(self) -> None:
        paused, self.paused = self.paused, []
        for fd, handler in paused:
            self.watch(fd, select.EPOLLIN, handler)


class Connection:
    """Two sockets, and the bytes on their way from each to the other."""

    def __init__(self, loop: Loop, near: socket.socket, far: socket.socket) -> None:
        self.loop = loop
        self.sockets = (near, far)
        self.waiting = [b"", b""]  # read from that side, not written to the other yet
        self.ended = [False, False]  # that side sends no more
        self.connected = False
        for each in self.sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.watch()

    def watch(self) -> None:
        for side, each in enumerate(self.sockets):
            events = 0
            if self.connected:
                if not self.waiting[side] and not self.ended[side]:
                    events |= select.EPOLLIN
                if self.waiting[1 - side]:
                    events |= select.EPOLLOUT
            elif side == 1:
                events = select.EPOLLOUT
            idle = self.ended[side] and not self.ended[1 - side]
            if events or idle or not self.connected:
                # Watched for nothing, a reset is still told, and that is all we want to hear.
                self.loop.watch(each.fileno(), events, functools.partial(self.on, side))
            else:
                # Its last bytes wait for the other side; its hang-up would be told for ever.
                self.loop.forget(each.fileno())

    def on(self, side: int, seen: int) -> None:
        try:
            if not self.connected:
                refused = self.sockets[1].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if side == 0 or refused:
                    self.close()  # the client went away, or nobody listens
                    return
                self.connected = True
            else:
                if seen & select.EPOLLERR or (seen & select.EPOLLHUP and self.ended[side]):
                    self.close()
                    return
                if seen & (select.EPOLLIN | select.EPOLLHUP):
                    self.read(side)
                if seen & select.EPOLLOUT:
                    self.write(1 - side)
            if all(self.ended) and not any(self.waiting):
                self.close()
                return
            self.watch()
        except OSError:
            self.close()  # reset by one side: the other one learns it by our close

    def read(self, side: int) -> None:
        if self.waiting[side] or self.ended[side]:
            return
        try:
            data = self.sockets[side].recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        self.waiting[side] = data
        self.ended[side] = not data
        self.write(side)

    def write(self, side: int) -> None:
        """Write what came from `side` to the other, and its end once all is written."""
        other = self.sockets[1 - side]
        if self.waiting[side]:
            try:
                sent = other.send(self.waiting[side], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            self.waiting[side] = self.waiting[side][sent:]
        if self.ended[side] and not self.waiting[side]:
            other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for each in self.sockets:
            self.loop.close(each)


class Stream:
    """A listening TCP socket of the host."""

    def __init__(self, loop: Loop, listener: socket.socket, target: tuple[str, int]) -> None:
        self.loop = loop
        self.listener = listener
        self.target = target
        loop.watch(listener.fileno(), select.EPOLLIN, self.on)

    def on(self, _: int) -> None:
        try:
            near, _peer = self.listener.accept()
        except OSError as error:
            if error.errno in _FULL:
                self.loop.pause(self.listener.fileno())
            return  # else the client is gone already
        try:
            near.setblocking(False)
            far = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:
            near.close()
            return
        started = far.connect_ex(self.target)
        if started and started not in _NOT_NOW:
            near.close()
            far.close()
            return
        Connection(self.loop, near, far)

    def tidy(self, now: float) -> None:
        """Nothing grows old here."""

    def close(self) -> None:
        self.loop.paused = [p for p in self.loop.paused if p[0] != self.listener.fileno()]
        self.loop.close(self.listener)


class Datagrams:
    """A UDP socket of the host, with a socket of its own in the network for each client."""

    def __init__(self, loop: Loop, listener: socket.socket, target: tuple[str, int]) -> None:
        self.loop = loop
        self.listener = listener
        self.target = target
        self.clients: dict[Address, tuple[socket.socket, list[float]]] = {}
        loop.watch(listener.fileno(), select.EPOLLIN, self.on)

    def on(self, _: int) -> None:
        try:
            data, client = self.listener.recvfrom(CHUNK_BYTES)
            if client not in self.clients:
                far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                far.connect(self.target)
                self.clients[client] = far, [0.0]
                answer = functools.partial(self.answer, client)
                self.loop.watch(far.fileno(), select.EPOLLIN, answer)
            far, used = self.clients[client]
            used[0] = time.monotonic()
            far.send(data)
        except OSError:
            return  # a datagram may get lost: nobody listens, or a buffer is full

    def answer(self, client: Address, _: int) -> None:
        far, used = self.clients[client]
        used[0] = time.monotonic()
        try:
            self.listener.sendto(far.recv(CHUNK_BYTES), client)
        except OSError:
            return  # as above

    def tidy(self, now: float) -> None:
        """Forget clients that have been silent for long."""
        for client, (far, used) in list(self.clients.items()):
            if now - used[0] > UDP_IDLE_SECONDS:
                del self.clients[client]
                self.loop.close(far)

    def close(self) -> None:
        self.loop.close(self.listener)
        self.tidy(float("inf"))


class Orders:
    """What the starter asks for over the channel."""

    def __init__(self, loop: Loop, channel: socket.socket) -> None:
        self.loop = loop
        self.channel = channel
        self.unanswered = False
        self.doors: dict[int, list[Stream | Datagrams]] = {}
        loop.watch(channel.fileno(), select.EPOLLIN, self.on)

    def on(self, _: int) -> None:
        data, fds, _flags, _address = socket.recv_fds(self.channel, 4096, 8)
        if not data:
            os._exit(0)
        order = json.loads(data)
        if "stop" in order:
            for door in self.doors.pop(order["stop"], []):
                door.close()
        else:
            kind = Stream if order["protocol"] == "tcp" else Datagrams
            target = (str(order["target"][0]), int(order["target"][1]))
            self.doors[order["number"]] = [
                kind(self.loop, socket.socket(fileno=fd), target) for fd in fds
            ]
        self.unanswered = True

    def answer(self) -> None:
        """Answer an order once its round is over, and what it closed is really closed."""
        if self.unanswered:
            self.unanswered = False
            self.channel.send(b"ok")


def main(channel_fd: int) -> None:
    """Give every capability away, and carry until the channel closes."""
    processes.set_no_new_privileges()
    capabilities.set_capabilities(0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = Loop()
    orders = Orders(loop, socket.socket(fileno=channel_fd))
    while True:
        for fd, seen in loop.epoll.poll(UDP_IDLE_SECONDS / 3):
            handler = loop.handlers.get(fd)
            if handler is not None:  # else an earlier one of this round closed it
                handler(seen)
        loop.sweep()
        orders.answer()
        now = time.monotonic()
        for doors in orders.doors.values():
            for door in doors:
                door.tidy(now)
