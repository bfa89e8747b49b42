"""Published ports: from this host, from elsewhere, and who the container believes to speak with."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.stories.compose import Composer, project, supervisor_of
from tests.stories.conftest import Person
from tests.stories.residue import eventually, on_the_network, watching

pytestmark = [pytest.mark.kernel("overlay"), pytest.mark.root]

TEXT = """\
services:
  web:
    image: busybox
    command: [sh, -c, "while :; do nc -l -p 80 -e sh -c 'netstat -tn'; done"]
    ports: ["%PORTS%"]
    init: true
  other:
    image: busybox
    init: true
    command: sleep 1000
"""
_CONNECTED = ("ESTABLISHED", "CLOSE_WAIT")
HERE, CLIENT = "198.51.100.1", "198.51.100.2"


@contextmanager
def elsewhere() -> Iterator[str]:
    """Give the name of a network namespace that reaches this host by a link: another machine."""
    name = f"bkpytest{os.getpid()}"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", name[:13], "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("address", "add", f"{HERE}/24", "dev", name[:13])
        ip("link", "set", name[:13], "up")
        ip("-n", name, "address", "add", f"{CLIENT}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "route", "add", "default", "via", HERE)
        yield name
    finally:
        # The namespace goes when the kernel finds the time; the next test wants the name now.
        ip("link", "del", name[:13])
        ip("netns", "del", name)


def _peer(text: str) -> str:
    """Return whom the container has a connection with, "" when it said nothing."""
    # A client whose input has ended has closed its half: both states are of a connection.
    rows = [line.split() for line in text.splitlines() if line.rstrip().endswith(_CONNECTED)]
    return rows[0][4].rpartition(":")[0].removeprefix("::ffff:") if rows else ""


def asked_from(where: str, address: str, port: int) -> str:
    """Return whom the container sees when a client in a namespace comes, "" where none listens."""
    done = subprocess.run(
        ["nsenter", f"--net=/run/netns/{where}", "busybox", "nc", "-w", "2", address, str(port)],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=20,
    )  # fmt: skip
    return _peer(done.stdout)


def asked_here(address: str, port: int) -> str:
    with socket.create_connection((address, port), timeout=5) as client:
        return _peer(client.makefile().read())


def port_of(app: Composer, address: str = "") -> int:
    published = app.inspect("web-1")["NetworkSettings"]["Ports"]["80/tcp"]
    return int(published[0]["HostPort"])


def test_a_container_sees_who_speaks_from_elsewhere(person: Person) -> None:
    with watching() as watch, elsewhere() as client, project(
        person, TEXT.replace("%PORTS%", "80")
    ) as app:  # fmt: skip
        app("up", "-d")
        port = port_of(app)
        assert eventually(lambda: bool(asked_here("127.0.0.1", port)))

        assert eventually(lambda: asked_from(client, HERE, port) == CLIENT)
        # From this host, and from a container by this host's address: by the proxy.
        assert eventually(lambda: bool(asked_here(HERE, port)))
        words = ("exec", "app-other-1", "nc", "-w", "2", HERE, str(port))
        assert eventually(lambda: bool(_peer(app.engine(*words, code=None).stdout)))

        app("stop", "web")
        assert asked_from(client, HERE, port) == ""
        app("start", "web")
        port = port_of(app)
        assert eventually(lambda: asked_from(client, HERE, port) == CLIENT)
        app("down")
        assert asked_from(client, HERE, port) == ""
    watch.check()


def test_what_is_published_on_one_address_is_reached_by_no_other(person: Person) -> None:
    with elsewhere() as client, project(
        person, TEXT.replace("%PORTS%", f"{HERE}::80")
    ) as app:  # fmt: skip
        app("up", "-d")
        port = port_of(app)
        assert eventually(lambda: asked_from(client, HERE, port) == CLIENT)

        with pytest.raises(ConnectionRefusedError):
            asked_here("127.0.0.1", port)
        app.write(TEXT.replace("%PORTS%", "127.0.0.1::80"))
        app("up", "-d")
        port = port_of(app)
        assert eventually(lambda: bool(asked_here("127.0.0.1", port)))
        assert asked_from(client, HERE, port) == ""


def test_a_taken_port_is_told_and_nothing_stays(person: Person) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with project(person, TEXT.replace("%PORTS%", f"127.0.0.1:{port}:80")) as app:
            failed = app("up", "-d", code=1)

            assert (
                f"error[network/port-taken]: service `web`: Bind for 127.0.0.1:{port} failed:"
                " port is already allocated\n" in failed.stderr
            )
            assert app.states()["web-1"] == "created"


def test_a_killed_supervisor_leaves_no_translation_behind(person: Person) -> None:
    ports = ", ".join(f'"{number}"' for number in (80, *range(7000, 7020)))
    text = TEXT.replace('"%PORTS%"', ports)
    with watching() as watch, elsewhere() as client, project(person, text) as app:
        network = on_the_network()
        app("up", "-d")
        port = port_of(app)
        assert eventually(lambda: asked_from(client, HERE, port) == CLIENT)
        os.kill(supervisor_of(app, "web-1"), signal.SIGKILL)

        # Before anything of ours runs again, which would sweep.
        assert eventually(lambda: not on_the_network() - network, seconds=60)
        assert asked_from(client, HERE, port) == ""
        app("up", "-d")
        port = port_of(app)
        assert eventually(lambda: asked_from(client, HERE, port) == CLIENT)
        app("down")
    watch.check()


def test_a_subnet_that_cannot_be_is_shown_where_it_stands(person: Person) -> None:
    text = (
        "services: {a: {image: busybox}}\n"
        "networks:\n  default:\n    ipam:\n      config: [{subnet: 10.9.0.1/24}]\n"
    )
    with project(person, text) as app:
        said = app("up", "-d", code=2).error

    assert "`10.9.0.1/24` has bits behind its prefix" in said
    assert "compose.yaml:5:" in said


def test_down_returns_when_nothing_of_ours_is_on_the_hosts_network(person: Person) -> None:
    text = "services:\n  a:\n    image: busybox\n    init: true\n    command: sleep 1000\n"
    with project(person, text) as app:
        before = on_the_network()
        app("up", "-d")
        ours = on_the_network() - before
        app("down")

        assert ours
        assert not ours & on_the_network()


def test_a_container_reaches_a_service_of_this_host(person: Person) -> None:
    text = (
        "services:\n  a:\n    image: busybox\n    init: true\n    command: sleep 1000\n"
        "    extra_hosts: ['host.docker.internal:host-gateway']\n"
    )
    with socket.create_server(("0.0.0.0", 0)) as server, project(person, text) as app:
        app("up", "-d")
        port = server.getsockname()[1]
        process = app.start("exec", "-T", "a", "nc", "host.docker.internal", str(port))
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"from the host\n")
        out, _ = process.communicate(timeout=30)

        assert out == b"from the host\n"
