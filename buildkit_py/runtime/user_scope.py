"""Asking a user's systemd for a cgroup that is the user's own.

The cgroup of a login session, by ssh for example, belongs to the machine's systemd. The manager
that runs beside it for each user owns cgroups, and moves a process that asks into a *scope* there.
Spoken is D-Bus, on the socket that `systemctl --user` uses: no bus needs to run.
Source: dbus.freedesktop.org/doc/dbus-specification.html, org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE_SECONDS = 10.0
_MANAGER = "org.freedesktop.systemd1.Manager"
_OBJECT = "/org/freedesktop/systemd1"
_METHOD_CALL, _METHOD_RETURN, _ERROR, _SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _SIGNATURE = 1, 2, 3, 8
_MOST_BYTES = 1 << 20


def enter(runtime_dir: str) -> bool:
    """Move this process into a scope of the user's manager; False where none does it.

    runtime_dir: XDG_RUNTIME_DIR
    """
    name = f"buildkit-py-{os.getpid()}-{os.urandom(4).hex()}.scope"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as manager:
            manager.settimeout(_PATIENCE_SECONDS)
            manager.connect(os.path.join(runtime_dir, "systemd", "private"))
            _authenticate(manager)
            manager.sendall(start_scope(name, os.getpid()))
            return _is_done(manager)
    except (OSError, ValueError):
        return False


def _authenticate(manager: socket.socket) -> None:
    """Say who we are, which the kernel confirms."""
    uid = str(os.geteuid()).encode().hex()
    manager.sendall(f"\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n"):
        # One at a time: what follows the line is messages.
        byte = manager.recv(1)
        if not byte or len(answer) > 1000:
            raise ValueError("no line")
        answer += byte
    if not answer.startswith(b"OK "):
        raise ValueError("refused")


def _is_done(manager: socket.socket) -> bool:
    """Wait for the answer, which names a job, and for the end of that job."""
    job = b""
    ended: list[bytes] = []
    for kind, fields, body in _messages(manager):
        if kind == _ERROR:
            return False
        if kind == _METHOD_RETURN:
            job = body[4:].rstrip(b"\0")
        elif kind == _SIGNAL and b"\0JobRemoved\0" in fields:
            ended.append(body)  # perhaps before the answer
        for each in ended if job else ():
            if job + b"\0" in each:
                return each.endswith(b"\x04\0\0\0done\0")
    return False


def _messages(manager: socket.socket) -> Iterator[tuple[int, bytes, bytes]]:
    """Give kind, header fields and body of each message."""
    with manager.makefile("rb") as stream:
        while len(head := stream.read(16)) == 16:
            order = "<" if head[:1] == b"l" else ">"
            body_size, _, fields_size = struct.unpack(f"{order}III", head[4:])
            size = fields_size + -fields_size % 8 + body_size
            if size > _MOST_BYTES:
                raise ValueError("too long")
            rest = stream.read(size)
            if len(rest) < size:
                return
            yield head[1], rest[:fields_size], rest[size - body_size :]


def start_scope(name: str, pid: int) -> bytes:
    """Return the call `StartTransientUnit` for a scope with a process in it. Pure."""
    body = _Writer()
    body.text(name)
    body.text("fail")
    with_size = body.array(8)
    for key, signature, value in (("PIDs", "au", [pid]), ("Delegate", "b", 1)):
        body.align(8)
        body.text(key)
        body.signature(signature)
        if isinstance(value, list):
            end = body.array(4)
            for each in value:
                body.number(each)
            end()
        else:
            body.number(value)
    with_size()
    body.array(8)()  # no units beside it
    return _call("StartTransientUnit", "ssa(sv)a(sa(sv))", bytes(body.data))


def _call(member: str, signature: str, body: bytes) -> bytes:
    message = _Writer()
    message.data += struct.pack("<cBBBII", b"l", _METHOD_CALL, 0, 1, len(body), 1)
    end = message.array(8)
    texts = ((_PATH, "o", _OBJECT), (_INTERFACE, "s", _MANAGER), (_MEMBER, "s", member))
    for code, kind, text in texts:
        message.align(8)
        message.data.append(code)
        message.signature(kind)
        message.text(text)
    message.align(8)
    message.data.append(_SIGNATURE)
    message.signature("g")
    message.signature(signature)
    end()
    message.align(8)
    return bytes(message.data) + body


class _Writer:
    """Bytes in D-Bus's format, little-endian: each value stands at a multiple of its size."""

    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, size: int) -> None:
        self.data += bytes(-len(self.data) % size)

    def number(self, value: int) -> None:
        self.align(4)
        self.data += struct.pack("<I", value)

    def text(self, text: str) -> None:
        self.number(len(text.encode()))
        self.data += text.encode() + b"\0"

    def signature(self, text: str) -> None:
        self.data.append(len(text))
        self.data += text.encode() + b"\0"

    def array(self, alignment: int) -> _End:
        """Begin an array; what is returned is called at its end and writes its size in front."""
        self.number(0)
        place = len(self.data) - 4
        self.align(alignment)
        return _End(self, place, len(self.data))


class _End:
    def __init__(self, writer: _Writer, place: int, begin: int) -> None:
        self.writer, self.place, self.begin = writer, place, begin

    def __call__(self) -> None:
        struct.pack_into("<I", self.writer.data, self.place, len(self.writer.data) - self.begin)
