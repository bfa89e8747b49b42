"""Handing the listener of a seccomp filter to the agent that will answer its calls.

runtime-spec config-linux.md, "The Container Process State". Sent by a process that the filter
does not hold: one that waits for its own call to be allowed would wait for ever.
"""

from __future__ import annotations

import json
import socket

from buildkit_py.core.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE_SECONDS = 10
"""An agent that takes no connection is not waited for any longer."""


class ListenerError(HostError):
    """The agent at `listenerPath` cannot be told."""

    code = "host/seccomp-listener"


def process_state(version: str, pid: int, state: Mapping[str, object], metadata: str = "") -> bytes:
    """Return what goes with the listener, as JSON.

    version: of the runtime specification
    pid: of the process that the filter holds, as the runtime sees it
    state: of the container, as `state` prints it
    metadata: `listenerMetadata`, for the agent
    """
    data: dict[str, object] = {"ociVersion": version, "fds": ["seccompFd"], "pid": pid}
    if metadata:
        data["metadata"] = metadata
    return json.dumps({**data, "state": state}).encode()


def send_listener(path: str, state: bytes, fd: int) -> None:
    """Send one message with the state and the listener to the agent that waits at `path`.

    The caller closes its own descriptor. Raises ListenerError.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(PATIENCE_SECONDS)
            agent.connect(path)
            sent = socket.send_fds(agent, [state], [fd])
            agent.sendall(state[sent:])
    except OSError as error:
        reason = error.strerror or str(error)
        raise ListenerError(f"cannot hand the seccomp listener to `{path}`: {reason}") from None
