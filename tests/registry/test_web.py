"""The real transport: TLS, proxies, kept connections, silence."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from pathlib import Path

import pytest

from buildkit_py.core.errors import HostError
from buildkit_py.registry.errors import Broken, Misbehaved, NoTls, Unreachable, Untrusted
from buildkit_py.registry.transport import Request
from buildkit_py.registry.web import Web
from tests.registry.conftest import Authority
from tests.registry.servers import Asked, Reply, Server


def echo(asked: Asked) -> Reply:
    return Reply(200, {"X-Path": asked.path}, b"hello")


def fetched(web: Web, url: str, method: str = "GET") -> tuple[int, bytes]:
    with web.send(Request(method, url)) as response:
        return response.status, response.all(1000)


def over_tls(server: Server, authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    server.server.socket = context.wrap_socket(server.server.socket, server_side=True)


def test_a_connection_is_used_again_when_the_body_was_read() -> None:
    with Server(echo) as server:
        web = Web(environment={})
        for method in ("GET", "HEAD", "GET"):
            fetched(web, f"http://{server.address}/", method)
        reused = len(web.open)
        web.send(Request("GET", f"http://{server.address}/")).close()
        left = len(web.open)
        web.close()

    assert (reused, left) == (1, 0)


def test_a_kept_connection_that_the_server_closed_is_replaced() -> None:
    with Server(echo) as server:
        web = Web(environment={})
        fetched(web, f"http://{server.address}/")
        for connection in web.open:
            connection.sock.shutdown(socket.SHUT_RDWR)

        again = fetched(web, f"http://{server.address}/")
        web.close()

    assert again == (200, b"hello")


def test_a_certificate_nobody_trusts_is_refused(authority: Authority, tmp_path: Path) -> None:
    with Server(echo) as server:
        over_tls(server, authority)
        web = Web(environment={}, certificate_folders=(str(tmp_path),))
        with pytest.raises(Untrusted, match="not trusted") as caught:
            fetched(web, f"https://{server.address}/")
        web.close()

    assert caught.value.hint is not None
    assert f"/etc/docker/certs.d/{server.address}/ca.crt" in caught.value.hint


def test_an_authority_may_be_named_for_one_host(authority: Authority, tmp_path: Path) -> None:
    with Server(echo) as server:
        over_tls(server, authority)
        folder = tmp_path / server.address
        folder.mkdir()
        (folder / "ca.crt").write_bytes(authority.ca.read_bytes())
        web = Web(environment={}, certificate_folders=(str(tmp_path),))

        assert fetched(web, f"https://{server.address}/") == (200, b"hello")
        web.close()


def test_an_authority_may_be_named_in_the_environment(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    with Server(echo) as server:
        over_tls(server, authority)
        web = Web(environment={}, certificate_folders=())

        assert fetched(web, f"https://{server.address}/") == (200, b"hello")
        web.close()


@pytest.mark.parametrize("lone", ["client.cert", "client.key"])
def test_half_a_client_certificate_is_an_error(tmp_path: Path, lone: str) -> None:
    (tmp_path / "registry.example").mkdir()
    (tmp_path / "registry.example" / lone).touch()
    web = Web(environment={}, certificate_folders=(str(tmp_path),))

    with pytest.raises(HostError, match="beside it") as caught:
        fetched(web, "https://registry.example/")

    assert caught.value.code == "registry/bad-certificates"


def test_a_server_without_tls_is_told_apart() -> None:
    with Server(echo) as server:
        web = Web(environment={}, certificate_folders=())
        with pytest.raises(NoTls):
            fetched(web, f"https://{server.address}/")
        web.close()


def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    with pytest.raises(Unreachable, match=r"the name `registry\.invalid` does not resolve"):
        fetched(Web(environment={}), "https://registry.invalid/")


def test_plain_http_goes_to_a_proxy_whole() -> None:
    with Server(echo) as proxy:
        web = Web(environment={"HTTP_PROXY": f"http://me:pass@{proxy.address}"})
        fetched(web, "http://registry.example/v2/")
        web.close()

    assert proxy.asked[0].path == "http://registry.example/v2/"
    assert proxy.asked[0].headers["proxy-authorization"] == "Basic bWU6cGFzcw=="


def test_tls_goes_through_a_tunnel_and_the_proxy_sees_no_header_of_ours() -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        web = Web(environment={"HTTPS_PROXY": f"http://{address}"})
        request = Request("GET", "https://registry.example/v2/", {"Authorization": "Bearer t"})
        with pytest.raises(Unreachable, match=f"the proxy `{address}`.*403"):
            web.send(request)
        thread.join()

    assert asked[0].startswith(b"CONNECT registry.example:443 ")
    assert b"Bearer" not in asked[0]


@pytest.mark.slow
def test_a_silent_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        web = Web(environment={}, silence_seconds=0.3)
        with pytest.raises(Broken, match="timed out"):
            fetched(web, f"http://127.0.0.1:{listener.getsockname()[1]}/")


def test_a_body_that_ends_too_early_is_broken() -> None:
    with Server(lambda asked: Reply(200, {}, b"hello", cut=3)) as server:
        web = Web(environment={})
        with (
            web.send(Request("GET", f"http://{server.address}/")) as response,
            pytest.raises(Broken, match="2 bytes too early"),
        ):
            response.all(100)
        web.close()


def test_closing_wakes_who_waits() -> None:
    woken: list[type[BaseException]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        web = Web(environment={})

        def ask() -> None:
            try:
                fetched(web, f"http://127.0.0.1:{listener.getsockname()[1]}/")
            except Broken as error:
                woken.append(type(error))

        thread = threading.Thread(target=ask)
        thread.start()
        connection, _ = listener.accept()
        with connection:
            connection.recv(10)
            web.close()
            thread.join(10)

    assert woken == [Broken]


@pytest.mark.parametrize("url", ["ftp://h/", "http:///x", "http://h:x/", "http://h/a b\r\nX: y"])
def test_urls_that_are_none_are_refused(url: str) -> None:
    with pytest.raises((Misbehaved, Unreachable)):
        fetched(Web(environment={}), url)


def test_no_socket_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with Server(echo) as server:
        web = Web(environment={})
        for _ in range(3):
            fetched(web, f"http://{server.address}/")
        web.close()

    assert len(os.listdir("/proc/self/fd")) == before
