"""Fixtures for network tests: namespaces are made by other processes, pytest stays in its own."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from buildkit_py.runtime.network.network import Network
from buildkit_py.runtime.spec import Interface

HERE = Path(__file__).parent
PROJECT = HERE.parents[2]


class Refused(Exception):
    """What an inhabitant could not do."""


class Inhabitant:
    """A process of inhabitant.py: the stand-in for a zygote, or a container."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, HERE / "inhabitant.py", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={"PYTHONPATH": str(PROJECT), "PATH": os.environ["PATH"]},
            )
        self.channel.settimeout(30)

    def order(self, do: str, **arguments: Any) -> dict[str, Any]:
        return self.order_with_descriptors(do, **arguments)[0]

    def order_with_descriptors(self, do: str, **arguments: Any) -> tuple[dict[str, Any], list[int]]:
        self.channel.send(json.dumps({"do": do, **arguments}).encode())
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

    def close(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Root:
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

    def serve(self, port: int, text: str, kind: str = "SOCK_STREAM") -> None:
        self.inhabitant.order("serve", port=port, text=text, kind=kind)


@pytest.fixture
def inhabitants() -> Iterator[Callable[[], Inhabitant]]:
    made: list[Inhabitant] = []

    def make() -> Inhabitant:
        made.append(Inhabitant())
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def networks(
    inhabitants: Callable[[], Inhabitant], tmp_path: Path
) -> Iterator[Callable[[], Network]]:
    """Make networks of root that share a folder of run-time files."""
    made: list[Network] = []

    def make() -> Network:
        run_dir = str(tmp_path / "run")
        made.append(Network.open(Root(), inhabitants(), run_dir=run_dir, purpose="test"))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def containers(inhabitants: Callable[[], Inhabitant]) -> Callable[[Network], Container]:
    def make(network: Network) -> Container:
        inhabitant = inhabitants()
        interface = network.reserve()
        _, (netns_fd,) = inhabitant.order_with_descriptors("enter")
        try:
            network.plug(interface, netns_fd)
        finally:
            os.close(netns_fd)
        inhabitant.order("configure", **dataclasses.asdict(interface))
        return Container(inhabitant, interface)

    return make
