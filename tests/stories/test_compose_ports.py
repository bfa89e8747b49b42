"""Published ports: from this host, from elsewhere, and who the container believes to speak with."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from buildkit_py.runtime.kernel import netlink
from buildkit_py.runtime.network.uplink import LINK_PREFIX
from tests.stories.compose import Composer, project, supervisor_of
from tests.stories.conftest import Person
from tests.stories.residue import eventually, on_the_network, watching

pytestmark = pytest.mark.kernel("overlay")

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
    return _peer(asked(where, address, port))


def asked(where: str, address: str, port: int) -> str:
    """Return what a client in a namespace hears at an address."""
    done = subprocess.run(
        ["nsenter", f"--net=/run/netns/{where}", "busybox", "nc", "-w", "2", address, str(port)],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=20,
    )  # fmt: skip
    return done.stdout


def asked_here(address: str, port: int) -> str:
    with socket.create_connection((address, port), timeout=5) as client:
        return _peer(client.makefile().read())


def port_of(app: Composer, address: str = "") -> int:
    published = app.inspect("web-1")["NetworkSettings"]["Ports"]["80/tcp"]
    return int(published[0]["HostPort"])


@pytest.mark.root
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


@pytest.mark.root
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


@pytest.mark.root
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


@pytest.mark.root
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


@pytest.mark.root
def test_a_subnet_that_cannot_be_is_shown_where_it_stands(person: Person) -> None:
    text = (
        "services: {a: {image: busybox}}\n"
        "networks:\n  default:\n    ipam:\n      config: [{subnet: 10.9.0.1/24}]\n"
    )
    with project(person, text) as app:
        said = app("up", "-d", code=2).error

    assert "`10.9.0.1/24` has bits behind its prefix" in said
    assert "compose.yaml:5:" in said


@pytest.mark.root
def test_down_returns_when_nothing_of_ours_is_on_the_hosts_network(person: Person) -> None:
    text = "services:\n  a:\n    image: busybox\n    init: true\n    command: sleep 1000\n"
    with project(person, text) as app:
        before = on_the_network()
        app("up", "-d")
        ours = on_the_network() - before
        app("down")

        assert ours
        assert not ours & on_the_network()


@pytest.mark.root
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


TWO = """\
services:
  a:
    image: busybox
    init: true
    command: [sh, -c, "while :; do echo hello | nc -l -p %PORT%; done"]
  apart:
    image: busybox
    init: true
    command: [sh, -c, "while :; do echo apart | nc -l -p 80; done"]
    networks: [closed]
  web:
    image: busybox
    init: true
    command: [sh, -c, "while :; do echo web | nc -l -p 80; done"]
    ports: ["80"]
networks:
  closed: {internal: true}
"""


# Pasta of 2023 loses the end of a connection now and then: nc would wait for it for ever.
NC = ("timeout", "5", "nc")


def endpoint(app: Composer, name: str) -> dict[str, str]:
    """Return what `inspect` says of the only network of a container."""
    (found,) = app.inspect(name)["NetworkSettings"]["Networks"].values()
    return dict(found)


def heard(app: Composer, name: str, address: str, port: int) -> str:
    """Return what a container hears at an address."""
    words = ("exec", f"app-{name}-1", *NC, address, str(port))
    return app.engine(*words, code=None).stdout


def said_to_host(address: str, port: int) -> str:
    try:
        with socket.create_connection((address, port), timeout=2) as client:
            return client.makefile().read()
    except OSError as error:
        return type(error).__name__


@pytest.mark.kernel("tun")
def test_the_gateway_of_a_container_is_this_host(anyone: Person) -> None:
    with project(anyone, TWO.replace("%PORT%", "80")) as app, socket.socket(
        socket.AF_INET, socket.SOCK_DGRAM
    ) as datagrams, socket.create_server(("127.0.0.1", 0)) as private:  # fmt: skip
        datagrams.bind(("0.0.0.0", 0))
        datagrams.settimeout(20)
        app("up", "-d")
        own = endpoint(app, "a-1")["Gateway"]
        words = ("exec", "-T", "a", *NC, own)

        with socket.create_server(("0.0.0.0", 0)) as server:
            server.settimeout(20)
            process = app.start(*words, str(server.getsockname()[1]))
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"from the host\n")
            assert process.communicate(timeout=30)[0] == b"from the host\n"
        port = datagrams.getsockname()[1]
        asking = ("timeout", "2", "nslookup", f"-port={port}", "there.test", own)
        app("exec", "-T", "a", *asking, code=None)
        assert b"there" in datagrams.recv(512)
        port = port_of(app)
        assert eventually(lambda: heard(app, "a", own, port) == "web\n")
        assert app("exec", "-T", "a", "ping", "-c1", "-W2", own).stdout

        # But not what listens on the loopback only, and not out of an internal network.
        assert heard(app, "a", own, private.getsockname()[1]) == ""
        inner = app.engine("network", "inspect", "app_closed").stdout
        closed = json.loads(inner)[0]["IPAM"]["Config"][0]["Gateway"]
        assert heard(app, "apart", closed, port) == ""


@pytest.mark.root
def test_this_host_reaches_containers_by_their_addresses_and_nobody_else_does(
    person: Person,
) -> None:
    # 1024 is the port to which the first published one leads inside.
    with watching() as watch, elsewhere() as client, project(
        person, TWO.replace("%PORT%", "1024")
    ) as app, project(person, TWO.replace("%PORT%", "80"), name="second") as second:  # fmt: skip
        routes = routed()
        app("up", "-d")
        second("up", "-d")
        address, apart = (endpoint(app, name)["IPAddress"] for name in ("a-1", "apart-1"))

        assert eventually(lambda: said_to_host(address, 1024) == "hello\n")
        assert eventually(lambda: said_to_host(apart, 80) == "apart\n")
        other = endpoint(second, "a-1")["IPAddress"]
        assert eventually(lambda: said_to_host(other, 80) == "hello\n")

        # `client` sends by way of this host, which forwards.
        for port in (1024, 80):
            assert asked(client, address, port) == ""
        assert asked(client, apart, 80) == ""
        assert heard(app, "a", other, 80) == ""
        assert eventually(lambda: asked(client, HERE, port_of(app)) == "web\n")
        app("down")
        second("down")
        assert routed() == routes
    watch.check()


@pytest.mark.root
def test_the_routes_of_a_killed_supervisor_go_with_it(person: Person) -> None:
    text = TWO.replace("%PORT%", "80")
    with project(person, text) as app:
        routes = routed()
        app("up", "-d")
        assert len(routed() - routes) >= 2
        os.kill(supervisor_of(app, "a-1"), signal.SIGKILL)

        assert eventually(lambda: routed() == routes, seconds=60)


@pytest.mark.root
def test_a_subnet_that_this_host_routes_already_is_told_and_works(person: Person) -> None:
    text = TEXT.replace("%PORTS%", "80") + (
        "networks:\n  default:\n    ipam:\n      config: [{subnet: 198.51.100.0/28}]\n"
    )
    with elsewhere(), project(person, text) as app:
        routes = routed()
        said = app("up", "-d").stderr

        assert said.count("notice: this host routes 198.51.100.0/28, or a part of it") == 1
        assert not {each for each in routed() - routes if each.startswith("198.51.100.")}
        port = port_of(app)
        assert eventually(lambda: bool(asked_here("127.0.0.1", port)))


def routed() -> set[str]:
    """Return the destinations that lead to links of ours."""
    with netlink.Netlink() as kernel:
        ours = {link.index for link in kernel.links() if link.name.startswith(LINK_PREFIX)}
        return {f"{e.destination}/{e.prefix}" for e in kernel.routes() if e.index in ours}
