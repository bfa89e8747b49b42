"""Fixtures for network tests: namespaces are made by other processes, pytest stays in its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from buildkit_py.runtime.network.network import Network
from tests.runtime.network.people import Container, Inhabitant, Machine, plugged

LOOPBACK_NAMESERVER = "127.0.7.53"
ANSWER = "198.51.100.7"


@pytest.fixture
def loopback_nameserver() -> Iterator[None]:
    """A nameserver on the host's loopback that gives one answer to everything."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((LOOPBACK_NAMESERVER, 53))

        def answer() -> None:
            while True:
                question, client = server.recvfrom(512)
                if not question:
                    return
                header = question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0"
                record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(ANSWER)
                server.sendto(header + question[12:] + record, client)

        thread = threading.Thread(target=answer)
        thread.start()
        yield
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (LOOPBACK_NAMESERVER, 53))
        thread.join()


def with_resolv_conf(folder: Path, command: Sequence[str]) -> list[str]:
    """Return the command that runs `command` where only `loopback_nameserver` is a nameserver."""
    path = folder / "resolv.conf"
    path.write_text(f"nameserver {LOOPBACK_NAMESERVER}\n")
    bind = 'mount --bind "$1" /etc/resolv.conf; shift; exec "$@"'
    alone = ["unshare", "--mount", "--propagation=private", "sh", "-euc", bind, "sh"]
    return [*alone, str(path), *command]


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
        made.append(Network.open(Machine(), inhabitants(), run_dir=run_dir, purpose="test"))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def containers(inhabitants: Callable[[], Inhabitant]) -> Callable[[Network], Container]:
    return lambda network: plugged(network, inhabitants())
