"""A process that obeys orders over a socket: a stand-in for the zygote, and for a container.

Run as `python inhabitant.py FD`. An order is one JSON object; the answer is one JSON object,
with descriptors where the order makes some. Orders: `make` (a network namespace with sockets in
it), `enter` (a network namespace of this process's own), `configure`, `connect`, `serve`, `ask`.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import socket
import sys
import threading
from typing import Any

from buildkit_py.runtime.kernel import syscalls
from buildkit_py.runtime.network import interface
from buildkit_py.runtime.spec import Interface

UNSHARE = syscalls.Call("unshare", ctypes.c_int)
NETNS = "/proc/self/ns/net"


def make(channel: socket.socket, specs: list[list[int]]) -> dict[str, Any]:
    """Make a namespace in a child, which ends at once: only descriptors keep it."""
    child = os.fork()
    if child == 0:
        UNSHARE(syscalls.CLONE_NEWNET)
        made = [socket.socket(*spec) for spec in specs]
        here = os.open(NETNS, os.O_RDONLY)
        socket.send_fds(channel, [b"{}"], [here, *(each.fileno() for each in made)])
        os._exit(0)
    os.waitpid(child, 0)
    return {}


def serve(port: int, text: str, kind: str) -> None:
    listener = socket.socket(socket.AF_INET, getattr(socket, kind))
    listener.bind(("0.0.0.0", port))
    if kind == "SOCK_STREAM":
        listener.listen(16)
        while True:
            connection, peer = listener.accept()
            connection.recv(1)
            connection.sendall(f"{text} {peer[0]}".encode())
            connection.close()
    while True:
        data, peer = listener.recvfrom(65536)
        listener.sendto(text.encode() + b" " + data, peer)


def ask(server: str, name: str) -> list[str]:
    """Ask a nameserver for the IPv4 addresses of `name`."""
    number = random.randrange(1 << 16).to_bytes(2, "big")
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = number + b"\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        for _ in range(3):
            asking.sendto(question, (server, 53))
            try:
                answer = asking.recv(4096)
                break
            except TimeoutError:
                continue
        else:
            raise TimeoutError(f"{server} does not answer")
    assert answer[:2] == number
    found = []
    at = len(question)
    for _ in range(int.from_bytes(answer[6:8], "big")):
        at += 2 if answer[at] >= 0xC0 else answer.index(b"\0", at) + 1 - at
        length = int.from_bytes(answer[at + 8 : at + 10], "big")
        if answer[at : at + 2] == b"\0\1":
            found.append(socket.inet_ntoa(answer[at + 10 : at + 14]))
        at += 10 + length
    return found


def connect(address: str, port: int, seconds: float, source: str) -> str:
    """Connect over TCP and return what the other side says first, at most 100 bytes."""
    with socket.socket() as connection:
        if source:
            connection.bind((source, 0))
        connection.settimeout(seconds)
        connection.connect((address, port))
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.recv(100).decode(errors="replace")


def obey(channel: socket.socket, order: dict[str, Any]) -> dict[str, Any]:
    match order.pop("do"):
        case "make":
            return make(channel, **order)
        case "enter":
            UNSHARE(syscalls.CLONE_NEWNET)
            here = os.open(NETNS, os.O_RDONLY)
            socket.send_fds(channel, [b"{}"], [here])
            os.close(here)
            return {}
        case "configure":
            interface.configure(Interface(**order))
            answer: dict[str, Any] = {}
        case "connect":
            answer = {"said": connect(**order)}
        case "ask":
            answer = {"addresses": ask(**order)}
        case "serve":
            threading.Thread(target=serve, kwargs=order, daemon=True).start()
            answer = {}
        case other:
            raise ValueError(other)
    channel.send(json.dumps(answer).encode())
    return answer


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    while data := channel.recv(65536):
        try:
            obey(channel, json.loads(data))
        except Exception as error:
            channel.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())


if __name__ == "__main__":
    main()
