"""SCMP_ACT_NOTIFY: an agent of the host answers for the container's system calls."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import socket
import stat
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rootless import RootlessUser
from tests.runtime.bundle.conftest import Bundle
from tests.runtime.bundle.test_rootless import config, place, run

__all__ = ["place"]  # a fixture

pytestmark = pytest.mark.root

# include/uapi/linux/seccomp.h; seccomp_unotify(2)
RECEIVE, SEND = 0xC0502100, 0xC0182101
CONTINUE = 1


class Agent:
    """Takes a listener, and answers `mkdir` with ENOMEDIUM; all else may go on.

    states: what came with each listener
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states: list[dict[str, Any]] = []
        self.asked: list[int] = []
        self.end, self.ended = os.pipe()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        self.socket.listen()
        path.chmod(0o777)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self) -> None:
        os.close(self.ended)
        self.thread.join(10)
        self.socket.close()
        os.close(self.end)

    def _serve(self) -> None:
        listeners: list[int] = []
        while True:
            poll = select.poll()
            for fd in (self.end, self.socket.fileno(), *listeners):
                poll.register(fd, select.POLLIN)
            for fd, events in poll.poll():
                if fd == self.end:
                    for listener in listeners:
                        os.close(listener)
                    return
                if fd == self.socket.fileno():
                    listeners.append(self._take())
                elif events & select.POLLIN:
                    self._answer(fd)
                else:
                    listeners.remove(fd)
                    os.close(fd)

    def _take(self) -> int:
        peer, _ = self.socket.accept()
        with peer:
            data, (fd,), _, _ = socket.recv_fds(peer, 1 << 16, 1)
            while more := peer.recv(1 << 16):
                data += more
        self.states.append(json.loads(data))
        return fd

    def _answer(self, fd: int) -> None:
        request = bytearray(80)
        try:
            fcntl.ioctl(fd, RECEIVE, request)
        except FileNotFoundError:  # it was killed meanwhile
            return
        id, _, _, number = struct.unpack_from("QIIi", request)
        self.asked.append(number)
        if number == MKDIR:
            answer = struct.pack("QqiI", id, 0, -errno.ENOMEDIUM, 0)
        else:
            answer = struct.pack("QqiI", id, 0, 0, CONTINUE)
        fcntl.ioctl(fd, SEND, answer)


MKDIR = {"x86_64": 83}.get(os.uname().machine, 34)


@pytest.fixture
def agent(bundle: Bundle) -> Iterator[Agent]:
    made = Agent(bundle.folder / "agent")
    try:
        yield made
    finally:
        made.close()


def profile(agent: Path, *names: str) -> dict[str, Any]:
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(agent),
        "listenerMetadata": "of the test",
        "syscalls": [{"names": ["mkdir", "mkdirat", *names], "action": "SCMP_ACT_NOTIFY"}],
    }


SCRIPT = "mkdir /tmp/a 2>&1; ls /tmp"


def test_the_agent_answers_for_the_program(bundle: Bundle, agent: Agent) -> None:
    bundle.linux["seccomp"] = profile(agent.path)
    bundle.config["annotations"] = {"a": "b"}

    assert "No medium found" in bundle.run(SCRIPT)
    (state,) = agent.states
    assert state["ociVersion"] == state["state"]["ociVersion"] == "1.3.0"
    assert state["fds"] == ["seccompFd"]
    assert state["metadata"] == "of the test"
    assert state["state"]["id"] == bundle.id
    assert state["state"]["bundle"] == str(bundle.folder)
    assert state["state"]["annotations"] == {"a": "b"}
    assert state["pid"] == state["state"]["pid"] > 0


def test_with_no_new_privileges(bundle: Bundle, agent: Agent) -> None:
    bundle.linux["seccomp"] = profile(agent.path)
    bundle.process["noNewPrivileges"] = True
    bundle.process["user"]["uid"] = 1000

    assert "No medium found" in bundle.run(SCRIPT)


def test_an_agent_is_asked_even_about_its_own_handing_over(bundle: Bundle, agent: Agent) -> None:
    bundle.linux["seccomp"] = profile(agent.path, "sendmsg", "read", "execve", "close")

    assert "No medium found" in bundle.run(SCRIPT)


def test_further_programs_have_listeners_of_their_own(bundle: Bundle, agent: Agent) -> None:
    bundle.linux["seccomp"] = profile(agent.path)
    bundle.create("sleep 60")
    assert agent.states == []
    bundle.ok("start", bundle.id)
    out = bundle.ok("exec", bundle.id, "sh", "-c", SCRIPT)

    assert "No medium found" in out
    first, second = agent.states
    assert first["pid"] == first["state"]["pid"] == second["state"]["pid"] != second["pid"]


def test_no_agent_is_an_error_that_names_it(bundle: Bundle) -> None:
    bundle.linux["seccomp"] = profile(bundle.folder / "nowhere")
    error = bundle.run_fails()

    assert f"cannot hand the seccomp listener to `{bundle.folder}/nowhere`: No such file" in error


def test_no_agent_of_a_further_program(bundle: Bundle, agent: Agent) -> None:
    bundle.linux["seccomp"] = profile(agent.path)
    bundle.create("sleep 60")
    bundle.ok("start", bundle.id)
    agent.path.unlink()

    assert "cannot hand the seccomp listener" in bundle.fails("exec", bundle.id, "true")
    assert bundle.status() == "running"


def test_a_filter_that_keeps_its_listener_is_an_error(bundle: Bundle, agent: Agent) -> None:
    bundle.linux["seccomp"] = profile(agent.path)
    refused = {"names": ["write", "sendto", "sendmsg"], "action": "SCMP_ACT_ERRNO"}
    bundle.linux["seccomp"]["syscalls"].append(refused)
    bundle.create("true")

    assert "the seccomp listener could not be handed over" in bundle.fails("start", bundle.id)


def test_nothing_of_the_listener_is_left_to_the_program(bundle: Bundle, agent: Agent) -> None:
    bundle.linux["seccomp"] = profile(agent.path)

    assert "seccomp" not in bundle.run("ls -l /proc/self/fd")


@pytest.mark.rootless
def test_a_user_without_root(rootless_user: RootlessUser, place: Path) -> None:
    made = config(rootless_user)
    agent = Agent(rootless_user.folder / "agent")
    try:
        made["linux"]["seccomp"] = profile(agent.path)
        made["process"]["noNewPrivileges"] = True
        made["process"]["args"] = ["sh", "-c", SCRIPT]
        done = run(rootless_user, place, made)
    finally:
        agent.close()

    assert "No medium found" in done.stdout, done.stderr
    assert stat.S_ISSOCK(agent.path.stat().st_mode)


@pytest.mark.rootless
def test_without_root_no_rule_is_about_sendmsg(rootless_user: RootlessUser, place: Path) -> None:
    made = config(rootless_user)
    made["linux"]["seccomp"] = profile(Path("/run/agent"), "sendmsg")
    done = run(rootless_user, place, made)

    assert "without root `SCMP_ACT_NOTIFY` cannot be for `sendmsg`" in done.stderr
