"""SCMP_ACT_NOTIFY: a filter of system calls that asks an agent, and its way to the agent.

The process that the filter holds cannot speak with the agent, which may be asked about just that.
It says the number of its listener to whoever starts it, by `write`, which no rule may be about;
that one fetches the descriptor, hands it over, and says so. What it then calls the agent answers.
"""

from __future__ import annotations

import json
import os
import socket

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.runtime import init, notify
from buildkit_py.runtime.bundle.state import VERSION
from buildkit_py.runtime.kernel import processes, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.oci.runtime_config import Config, Seccomp
    from buildkit_py.runtime.kernel.oci_seccomp import Compiled
    from buildkit_py.runtime.setup import SetupOp, Workspace

_DONE = b"handed over"


class NotHanded(HostError):
    """The filter let its process not even say that there is a listener."""

    code = "host/seccomp-listener"

    def __init__(self) -> None:
        super().__init__(
            "the seccomp listener could not be handed over",
            hint="the filter must allow `write` and `read`, or `sendmsg` and `read` without root",
        )


@dataclass(frozen=True, slots=True)
class LoadListened:
    """Load a filter of system calls that asks an agent about some of them.

    by_message: the descriptor itself is sent, as nobody may fetch it: for users without root
    """

    program: bytes
    flags: int
    by_message: bool

    def describe(self) -> str:
        return f"seccomp filter of {len(self.program) // 8} instructions, with a listener"

    def run(self, work: Workspace) -> None:
        channel = socket.socket(fileno=work.channel)
        listener = seccomp.load(self.program, self.flags)
        if self.by_message:
            socket.send_fds(channel, [init.LISTENER], [listener])
        else:
            os.write(work.channel, init.LISTENER + str(listener).encode())
        answer = os.read(work.channel, len(_DONE))
        channel.detach()
        if answer != _DONE:
            os._exit(1)  # who starts us says why


def choose(config: Seccomp, compiled: Compiled, *, rootless: bool) -> SetupOp:
    """Return what loads a filter. Raises InputError for one that could not be handed over."""
    asked = {name for each in config.rules for name in each.names
             if each.action == "SCMP_ACT_NOTIFY"}  # fmt: skip
    if rootless and "sendmsg" in asked:
        raise InputError(
            "config.json: linux.seccomp: without root `SCMP_ACT_NOTIFY` cannot be for `sendmsg`",
            code="runtime/seccomp-profile", hint="the listener is handed over by it",
        )  # fmt: skip
    return LoadListened(compiled.program, compiled.flags, rootless)


def hand_over(
    channel: socket.socket, said: bytes, fds: list[int], pid: int, config: Config, state: bytes
) -> None:
    """Give the agent the listener of a process that waits for that. Raises HostError.

    said, fds: what came with the message LISTENER; state: of the container, as others see it
    """
    filter = config.linux.seccomp
    assert filter is not None
    if fds:
        listener = fds[0]
    else:
        pidfd = os.pidfd_open(pid)
        try:
            listener = processes.take_descriptor(pidfd, int(said))
        finally:
            os.close(pidfd)
    try:
        told = notify.process_state(VERSION, pid, json.loads(state), filter.listener_metadata)
        notify.send_listener(filter.listener_path, told, listener)
    finally:
        os.close(listener)
    channel.send(_DONE)
