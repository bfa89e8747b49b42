"""What is said to a user's systemd, and what its answers mean. tests/vm asks a real one."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from buildkit_py.runtime import user_scope

JOB = b"/org/freedesktop/systemd1/job/7"


def text(value: bytes) -> bytes:
    return struct.pack("<I", len(value)) + value + b"\0"


def message(kind: int, member: bytes, body: bytes) -> bytes:
    """Return what the manager sends; of the header fields only the member is of interest."""
    fields = b"\x03\x01s\0" + text(member)
    head = struct.pack("<cBBBIII", b"l", kind, 1, 1, len(body), 1, len(fields))
    return head + fields + bytes(-len(fields) % 8) + body


ANSWER = message(2, b"", text(JOB))


def removed(job: bytes, result: bytes) -> bytes:
    """Return the signal JobRemoved(uoss)."""
    name = text(b"x.scope")
    body = struct.pack("<I", 7) + text(job)
    for each in (name, text(result)):
        body += bytes(-len(body) % 4) + each
    return message(4, b"JobRemoved", body)


@contextmanager
def manager(
    folder: Path, answers: Sequence[bytes], first: bytes = b"OK 1234\r\n"
) -> Iterator[bytearray]:
    """Serve one caller with these answers; gives what the caller said."""
    (folder / "systemd").mkdir()
    said = bytearray()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "systemd/private"))
        listening.listen()

        def serve() -> None:
            caller, _ = listening.accept()
            with caller:
                while not said.endswith(b"BEGIN\r\n"):
                    said.extend(caller.recv(1))
                caller.sendall(first)
                if first.startswith(b"OK"):
                    said.extend(caller.recv(4096))
                    for each in answers:
                        caller.sendall(each)

        thread = threading.Thread(target=serve)
        thread.start()
        yield said
        thread.join()


@pytest.mark.parametrize(
    ("answers", "is_done"),
    [
        ([ANSWER, removed(JOB, b"done")], True),
        ([removed(JOB, b"done"), ANSWER], True),
        ([ANSWER, removed(JOB + b"1", b"failed"), removed(JOB, b"done")], True),
        ([ANSWER, removed(JOB, b"failed")], False),
        ([message(3, b"", text(b"no such thing"))], False),
        ([ANSWER], False),
        ([ANSWER[:20]], False),
    ],
)
def test_a_scope_is_there_when_its_job_is_done(
    tmp_path: Path, answers: list[bytes], is_done: bool
) -> None:
    with manager(tmp_path, answers) as said:
        entered = user_scope.enter(str(tmp_path))

    assert entered is is_done
    assert said.startswith(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode())
    assert f"buildkit-py-{os.getpid()}-".encode() in said


def test_a_manager_that_refuses_or_is_not_there_gives_no_scope(tmp_path: Path) -> None:
    assert user_scope.enter(str(tmp_path)) is False
    with manager(tmp_path, [], first=b"REJECTED EXTERNAL\r\n"):
        assert user_scope.enter(str(tmp_path)) is False


def test_the_call_is_as_d_bus_has_it() -> None:
    call = user_scope.start_scope("x.scope", 42)

    head, fields, body = call[:16], call[16:160], call[160:]
    assert head == struct.pack("<cBBBIII", b"l", 1, 0, 1, len(body), 1, 142)
    assert fields == (
        b"\x01\x01o\0" + text(b"/org/freedesktop/systemd1") + bytes(6)
        + b"\x02\x01s\0" + text(b"org.freedesktop.systemd1.Manager") + bytes(7)
        + b"\x03\x01s\0" + text(b"StartTransientUnit") + bytes(5)
        + b"\x08\x01g\0" + b"\x10ssa(sv)a(sa(sv))\0" + bytes(2)
    )  # fmt: skip
    assert body == (
        text(b"x.scope") + text(b"fail") + bytes(3) + struct.pack("<I", 44) + bytes(4)
        + text(b"PIDs") + b"\x02au\0" + bytes(3) + struct.pack("<II", 4, 42)
        + text(b"Delegate") + b"\x01b\0" + struct.pack("<II", 1, 0)
    )  # fmt: skip
