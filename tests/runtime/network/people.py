"""The parent's side of inhabitant.py: stand-ins for the zygote and for containers.

No pytest here: the unprivileged user of a test may not have it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildkit_py.runtime.network.network import Network
from buildkit_py.runtime.spec import Interface

HERE = Path(__file__).parent
PROJECT = HERE.parents[2]


class Refused(Exception):
    """What an inhabitant could not do."""


class Inhabitant:
    """A process of inhabitant.py: the stand-in for a zygote, or a container."""

    def __init__(self, beside: Inhabitant | None = None) -> None:
        """Start one, in this process's namespaces or beside another one in its."""
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process: subprocess.Popen[bytes] | None = None
        self.channel.settimeout(30)
        with theirs:
            if beside is not None:
                beside.order("spawn", [theirs.fileno()])
                return
            self.process = subprocess.Popen(
                [sys.executable, HERE / "inhabitant.py", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={"PYTHONPATH": str(PROJECT), "PATH": os.environ["PATH"]},
            )

    def order(self, do: str, given: Sequence[int] = (), **arguments: Any) -> dict[str, Any]:
        return self.order_with_descriptors(do, given, **arguments)[0]

    def order_with_descriptors(
        self, do: str, given: Sequence[int] = (), **arguments: Any
    ) -> tuple[dict[str, Any], list[int]]:
        self.send(do, given, **arguments)
        return self.receive()

    def send(self, do: str, given: Sequence[int] = (), **arguments: Any) -> None:
        socket.send_fds(self.channel, [json.dumps({"do": do, **arguments}).encode()], given)

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        data, descriptors, _, _ = socket.recv_fds(self.channel, 65536, 16)
        answer = json.loads(data)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer, descriptors

    def new_network_namespace(
        self, socket_specs: Sequence[tuple[int, int, int]]
    ) -> tuple[int, list[int]]:
        _, descriptors = self.order_with_descriptors("make", specs=[*map(list, socket_specs)])
        return descriptors[0], descriptors[1:]

    def spawn_helper(
        self, argv: Sequence[str], descriptors: Sequence[int], *, netns_fd: int = -1
    ) -> int:
        inside = netns_fd >= 0
        given = [*descriptors, netns_fd] if inside else [*descriptors]
        _, (pidfd,) = self.order_with_descriptors("help", given, argv=list(argv), inside=inside)
        return pidfd

    def close(self) -> None:
        self.channel.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class Machine:
    rootless: bool = False


@dataclass
class Container:
    """A process in a network namespace of its own, plugged into a network."""

    inhabitant: Inhabitant
    interface: Interface

    def connect(self, address: str, port: int, seconds: float = 5, source: str = "") -> str:
        answer = self.inhabitant.order(
            "connect", address=address, port=port, seconds=seconds, source=source
        )
        return str(answer["said"])

    def ask(self, server: str, name: str) -> list[str]:
        return list(self.inhabitant.order("ask", server=server, name=name)["addresses"])

    def fetch(self, address: str, host: str, path: str) -> dict[str, Any]:
        return self.inhabitant.order("fetch", address=address, host=host, path=path)

    def serve(self, port: int, text: str, kind: str = "SOCK_STREAM") -> None:
        self.inhabitant.order("serve", port=port, text=text, kind=kind)


def plugged(network: Network, inhabitant: Inhabitant) -> Container:
    """Make a container of an inhabitant."""
    interface = network.reserve()
    _, (netns_fd,) = inhabitant.order_with_descriptors("enter")
    try:
        network.plug(interface, netns_fd)
    finally:
        os.close(netns_fd)
    inhabitant.order("configure", **dataclasses.asdict(interface))
    return Container(inhabitant, interface)
