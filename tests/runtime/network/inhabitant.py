"""A process that obeys orders over a socket: a stand-in for the zygote, and for a container.

Run as `python inhabitant.py FD`. An order is one JSON object; the answer is one JSON object,
with descriptors where the order makes some.

Orders of a zygote: `own` (enter a user namespace), `make` (a network namespace with sockets in
it), `help` (start a helper program), `spawn` (another inhabitant beside this one). Orders of a
container: `enter` (a network namespace of its own), `configure`, `address` (one more),
`connect`, `ask`, `fetch`, `serve`.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import random
import signal
import socket
import sys
import threading
from typing import Any

from buildkit_py.runtime.kernel import netlink, processes, syscalls
from buildkit_py.runtime.network import interface
from buildkit_py.runtime.spec import Interface

PRCTL = syscalls.Call("prctl", ctypes.c_int, ctypes.c_ulong)
PR_SET_PDEATHSIG = 1
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


def fetch(address: str, host: str, path: str) -> dict[str, Any]:
    """Fetch a file over HTTP; return the status line and how many bytes came."""
    asked = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    size, first = 0, b""
    with socket.create_connection((address, 80), timeout=20) as connection:
        connection.sendall(asked.encode())
        while data := connection.recv(1 << 16):
            first = first or data
            size += len(data)
    return {"status": first.split(b"\r\n")[0].decode(), "size": size}


def spawn(channel: socket.socket, theirs: int) -> None:
    """Fork another inhabitant, which obeys over the descriptor that came with the order."""
    if os.fork() == 0:
        channel.close()
        PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)
        serve_orders(socket.socket(fileno=theirs))
        os._exit(0)
    os.close(theirs)


def start_helper(argv: list[str], inside: bool, descriptors: list[int]) -> int:
    """Start a program with exactly these descriptors, which dies with us; return its pidfd."""
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        # pasta of 2023 refuses to start where SIGPIPE is ignored, as Python leaves it.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        # Above all the numbers that are wanted, then down to them.
        if inside:
            processes.enter_network(descriptors.pop())
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in descriptors]
        for wanted, fd in enumerate(high):
            os.dup2(fd, wanted)
        os.closerange(len(descriptors), 1 << 16)
        os.execv(argv[0], argv)
    for fd in descriptors:
        os.close(fd)
    return os.pidfd_open(child)


def serve(port: int, text: str, kind: str) -> None:
    """Answer clients for ever: `text` and their address, `text` and their datagram, or an echo."""
    stream = kind != "SOCK_DGRAM"
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    listener.bind(("0.0.0.0", port))
    if not stream:
        threading.Thread(target=answer_datagrams, args=(listener, text), daemon=True).start()
        return
    listener.listen(256)
    threading.Thread(target=answer_streams, args=(listener, text, kind), daemon=True).start()


def answer_datagrams(listener: socket.socket, text: str) -> None:
    while True:
        data, peer = listener.recvfrom(65536)
        listener.sendto(text.encode() + b" " + data, peer)


def answer_streams(listener: socket.socket, text: str, kind: str) -> None:
    while True:
        connection, peer = listener.accept()
        with connection:
            if kind == "echo":
                while data := connection.recv(65536):
                    connection.sendall(data)
            elif connection.recv(1):
                connection.sendall(f"{text} {peer[0]}".encode())


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


def obey(channel: socket.socket, order: dict[str, Any], given: list[int]) -> dict[str, Any]:
    match order.pop("do"):
        case "make":
            return make(channel, **order)
        case "own":
            UNSHARE(syscalls.CLONE_NEWUSER)
            answer: dict[str, Any] = {"pid": os.getpid()}
        case "spawn":
            spawn(channel, *given)
            answer = {}
        case "help":
            pidfd = start_helper(order["argv"], order["inside"], given)
            socket.send_fds(channel, [b"{}"], [pidfd])
            os.close(pidfd)
            return {}
        case "enter":
            UNSHARE(syscalls.CLONE_NEWNET)
            here = os.open(NETNS, os.O_RDONLY)
            socket.send_fds(channel, [b"{}"], [here])
            os.close(here)
            return {}
        case "configure":
            interface.configure(Interface(**order))
            answer = {}
        case "address":
            with netlink.Netlink() as kernel:
                name, address = order["name"], order["address"]
                kernel.run(netlink.add_address(kernel.link(name).index, address, 32, what=name))
            answer = {}
        case "connect":
            answer = {"said": connect(**order)}
        case "fetch":
            answer = fetch(**order)
        case "ask":
            answer = {"addresses": ask(**order)}
        case "serve":
            serve(**order)
            answer = {}
        case other:
            raise ValueError(other)
    channel.send(json.dumps(answer).encode())
    return answer


def serve_orders(channel: socket.socket) -> None:
    while True:
        data, given, _, _ = socket.recv_fds(channel, 65536, 16)
        if not data:
            return
        try:
            obey(channel, json.loads(data), given)
        except Exception as error:
            channel.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())


if __name__ == "__main__":
    serve_orders(socket.socket(fileno=int(sys.argv[1])))
