"""Published ports: what `-p` says, taking ports, and the proxy on the real kernel."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.runtime.network.network import Network
from buildkit_py.runtime.network.publish import (
    Bound,
    InvalidPort,
    Port,
    PortRefused,
    PortTaken,
    Proxy,
    bind,
    parse,
)
from tests.runtime.network.people import Container, Inhabitant


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", (Port(80),)),
        ("00000080", (Port(80),)),
        ("8080:80", (Port(80, 8080, last_host_port=8080),)),
        (":80", (Port(80),)),
        ("8080:80/tcp", (Port(80, 8080, last_host_port=8080),)),
        ("53:53/UDP", (Port(53, 53, protocol="udp", last_host_port=53),)),
        ("127.0.0.1:8080:80", (Port(80, 8080, "127.0.0.1", last_host_port=8080),)),
        ("127.0.0.1::80", (Port(80, 0, "127.0.0.1"),)),
        ("[::1]:8080:80", (Port(80, 8080, "::1", last_host_port=8080),)),
        ("::1:8080:80", (Port(80, 8080, "::1", last_host_port=8080),)),
        ("8000-8010:80", (Port(80, 8000, last_host_port=8010),)),
        (
            "8000-8001:80-81",
            (Port(80, 8000, last_host_port=8000), Port(81, 8001, last_host_port=8001)),
        ),
        ("80-81", (Port(80), Port(81))),
    ],
)
def test_the_forms_of_a_published_port(text: str, ports: tuple[Port, ...]) -> None:
    assert parse(text) == ports


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no container port in ``"),
        ("8080:", "no container port in `8080:`"),
        ("80/sctp", "invalid protocol `sctp` in the port `80/sctp`"),
        ("0", "invalid container port `0` in `0`"),
        ("0100000", "invalid container port `0100000` in `0100000`"),
        ("65536", "invalid container port `65536` in `65536`"),
        ("8080:http", "invalid container port `http` in `8080:http`"),
        ("a:80", "invalid host port `a` in `a:80`"),
        ("8080:80-79", "invalid container port `80-79` in `8080:80-79`"),
        ("80-", "invalid container port `80-` in `80-`"),
        ("²:80", "invalid host port `²` in `²:80`"),
        ("host:1:80", "invalid IP address `host` in the port `host:1:80`"),
        ("1-3:80-81", "the ranges of host and container in `1-3:80-81` are not equally long"),
    ],
)
def test_what_is_no_port_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidPort) as raised:
        parse(text)

    assert raised.value.message == message


@given(st.text(alphabet="0123456789:-/.[]tcpu", max_size=20))
def test_any_text_is_ports_or_invalid(text: str) -> None:
    try:
        ports = parse(text)
    except InvalidPort:
        return

    assert ports
    assert all(1 <= port.container_port <= 65535 for port in ports)


@contextlib.contextmanager
def bound(*texts: str) -> Iterator[list[Bound]]:
    done = bind(port for text in texts for port in parse(text))
    try:
        yield done
    finally:
        for each in done:
            each.close()


def test_a_conflict_is_told_in_dockers_words_and_takes_nothing() -> None:
    with bound("1234") as (first,):
        taken = first.host_port
        with pytest.raises(PortTaken) as raised:
            bind([*parse("1235"), *parse(f"{taken}:80")])

    assert raised.value.message == f"Bind for 0.0.0.0:{taken} failed: port is already allocated"
    with bound(f"{taken}:80") as (again,):
        assert again.host_port == taken


def test_the_first_free_port_of_a_range_is_taken() -> None:
    with bound("1234") as (first,):
        low = first.host_port
        with bound(f"{low}-{low + 20}:80") as (second,):
            assert low < second.host_port <= low + 20


def test_without_an_address_both_families_have_the_same_port() -> None:
    with bound("80") as (port,):
        names = [each.getsockname()[:2] for each in port.sockets]

    assert names[0] == ("0.0.0.0", port.host_port)
    if socket.has_dualstack_ipv6():
        assert names[1] == ("::", port.host_port)


def test_an_address_that_is_not_this_hosts_is_refused() -> None:
    with pytest.raises(PortRefused, match=r"cannot publish `192\.0\.2\.250:0`"):
        bind(parse("192.0.2.250::80"))


@pytest.fixture
def proxies(
    inhabitants: Callable[[], Inhabitant],
) -> Iterator[Callable[[Network], Proxy]]:
    made: list[Proxy] = []

    def make(network: Network) -> Proxy:
        made.append(Proxy(inhabitants(), network.netns_fd))
        return made[-1]

    yield make
    for each in made:
        each.close()


def talk(address: str, port: int, data: bytes = b"x", kind: int = socket.SOCK_STREAM) -> bytes:
    """Send, half-close, and return all that comes back."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as talking:
        talking.settimeout(10)
        talking.connect((address, port))
        talking.send(data)
        if kind == socket.SOCK_DGRAM:
            return talking.recv(1 << 16)
        talking.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: talking.recv(1 << 16), b""))


Fixture = tuple[Container, Proxy, str]


@pytest.fixture
def served(
    networks: Callable[[], Network],
    containers: Callable[[Network], Container],
    proxies: Callable[[Network], Proxy],
) -> Fixture:
    network = networks()
    container = containers(network)
    container.serve(8000, "inside")
    return container, proxies(network), container.interface.gateway


@pytest.mark.root
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
def test_a_published_port_is_reached_under_every_address(served: Fixture, address: str) -> None:
    container, proxy, gateway = served
    with bound("8000") as (port,):
        proxy.carry(port, container.interface.address)

        assert talk(address, port.host_port).decode() == f"inside {gateway}"


@pytest.mark.root
def test_a_published_port_is_not_taken_where_it_was_not_published(served: Fixture) -> None:
    container, proxy, _ = served
    with bound("127.0.0.1::8000") as (port,):
        proxy.carry(port, container.interface.address)

        with pytest.raises(ConnectionRefusedError):
            talk("127.0.0.2", port.host_port)


@pytest.mark.root
def test_a_udp_port_carries_answers_to_each_client(served: Fixture) -> None:
    container, proxy, _ = served
    container.serve(8001, "udp", "SOCK_DGRAM")
    with bound("8001/udp") as (port,):
        proxy.carry(port, container.interface.address)

        answers = [
            talk("127.0.0.1", port.host_port, data, socket.SOCK_DGRAM) for data in (b"a", b"b")
        ]

    assert answers == [b"udp a", b"udp b"]


@pytest.mark.root
def test_all_bytes_arrive_in_both_directions_also_after_a_half_close(served: Fixture) -> None:
    container, proxy, _ = served
    container.serve(8002, "", "echo")
    data = os.urandom(1 << 20) * 16
    with bound("8002") as (port,):
        proxy.carry(port, container.interface.address)
        with socket.create_connection(("127.0.0.1", port.host_port)) as connection:
            connection.settimeout(20)

            def send() -> None:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            digest = hashlib.sha256()
            while part := connection.recv(1 << 20):
                digest.update(part)
            sender.join()

    assert digest.digest() == hashlib.sha256(data).digest()


@pytest.mark.root
def test_many_clients_at_once_are_all_served(served: Fixture) -> None:
    container, proxy, gateway = served
    with bound("8000") as (port,):
        proxy.carry(port, container.interface.address)
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port.host_port)))
                for _ in range(200)
            ]
            for client in clients:
                client.settimeout(20)
                client.sendall(b"x")
            answers = {client.recv(100).decode() for client in clients}

    assert answers == {f"inside {gateway}"}


@pytest.mark.root
def test_a_port_where_nobody_listens_inside_closes_the_connection(served: Fixture) -> None:
    container, proxy, _ = served
    with bound("9") as (port,):
        proxy.carry(port, container.interface.address)

        try:
            answer = talk("127.0.0.1", port.host_port)
        except (ConnectionResetError, BrokenPipeError):
            answer = b""

    assert answer == b""


@pytest.mark.root
def test_a_stopped_port_is_free_again(served: Fixture) -> None:
    container, proxy, _ = served
    with bound("8000") as (port,):
        number = proxy.carry(port, container.interface.address)
        proxy.stop(number)

        with bound(f"{port.host_port}:80") as (again,):
            assert again.host_port == port.host_port


@pytest.mark.root
def test_the_proxy_ends_with_its_owner_and_holds_no_capability(served: Fixture) -> None:
    container, proxy, _ = served
    with bound("8000") as (port,):
        proxy.carry(port, container.interface.address)
        pid = pid_of(proxy)
        with open(f"/proc/{pid}/status") as status:
            words = dict(line.split(":", 1) for line in status)
        pidfd = os.pidfd_open(pid)

        proxy.close()

        assert select.select([pidfd], [], [], 10)[0]
        os.close(pidfd)
    assert {int(words[name], 16) for name in ("CapPrm", "CapEff", "CapInh")} == {0}
    assert words["NoNewPrivs"].strip() == "1"


def pid_of(proxy: Proxy) -> int:
    with open(f"/proc/self/fdinfo/{proxy._pidfd}") as information:
        return next(int(line.split()[1]) for line in information if line.startswith("Pid:"))
