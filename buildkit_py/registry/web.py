"""The real transport: HTTP/1.1 over sockets and TLS, connections kept for the next request.

One door to http.client, ssl and socket. A connection that the server closed while it lay idle is
replaced without a word, as RFC 9112 9.3.1 allows; nothing else is sent twice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

from buildkit_py.registry.errors import Broken, Misbehaved, NoTls, Unreachable, Untrusted
from buildkit_py.registry.proxies import Proxy, proxy_for
from buildkit_py.registry.transport import Request, Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    import http.client
    import ssl

CONNECT_SECONDS = 15.0
SILENCE_SECONDS = 60.0
"""A server from which nothing comes for so long is given up; docker waits for ever."""

Place = tuple[str, str, int]


class Web:
    """Transport over the network. Threads may share it.

    `close` ends every connection, for good: a thread that waits for bytes gets Broken.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
        certificate_folders: tuple[str, ...] | None = None,
    ) -> None:
        self.environment = os.environ if environment is None else environment
        self.connect_seconds = connect_seconds
        self.silence_seconds = silence_seconds
        self.certificate_folders = certificate_folders
        self.lock = threading.Lock()
        self.idle: dict[Place, list[http.client.HTTPConnection]] = {}
        self.open: set[http.client.HTTPConnection] = set()
        self.closed = False
        self.contexts: dict[str, ssl.SSLContext] = {}

    def close(self) -> None:
        import socket
        from contextlib import suppress

        with self.lock:
            self.closed = True
            self.idle.clear()
            connections = list(self.open)
        for connection in connections:
            sock = connection.sock
            if sock is not None:
                # The peer may have ended it before us. A thread may read from it: it closes it.
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
            self._drop(connection)

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        with self.lock:
            self.open.discard(connection)
        connection.close()

    def send(self, request: Request) -> Response:
        place, target = split(request.url)
        proxy = proxy_for(*place, self.environment)
        if proxy is not None and place[0] == "http":
            target = request.url
        with self.lock:
            kept = self.idle.get(place, [])
            connection = kept.pop() if kept else None
        if connection is not None:
            try:
                return self._exchange(connection, place, proxy, target, request)
            except Broken:
                if request.method not in ("GET", "HEAD"):
                    raise
        return self._exchange(self._connect(place, proxy), place, proxy, target, request)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        place: Place,
        proxy: Proxy | None,
        target: str,
        request: Request,
    ) -> Response:
        import http.client

        headers = {"User-Agent": user_agent(), "Accept-Encoding": "identity", **request.headers}
        if proxy is not None and place[0] == "http":
            headers |= proxy.headers
        try:
            connection.request(request.method, target, request.body or None, headers)
            answer = connection.getresponse()
        except (http.client.InvalidURL, UnicodeError, ValueError):
            self._drop(connection)
            raise Misbehaved(f"{_name(place)} leads to a URL that is not valid") from None
        except (http.client.HTTPException, OSError) as error:
            self._drop(connection)
            raise Broken(f"{_name(place)} broke the connection: {_reason(error)}") from None

        def done() -> None:
            # A body that was not read to its end leaves the connection of no use.
            if answer.isclosed() and not answer.will_close:
                with self.lock:
                    self.idle.setdefault(place, []).append(connection)
            else:
                answer.close()
                self._drop(connection)

        fields = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, fields, _Body(answer, _name(place)), done)

    def _connect(self, place: Place, proxy: Proxy | None) -> http.client.HTTPConnection:
        import http.client
        import socket
        import ssl

        scheme, host, port = place
        peer, peer_port = (proxy.host, proxy.port) if proxy else (host, port)
        connection: http.client.HTTPConnection
        if scheme == "https":
            context = self._context(host, port)
            connection = http.client.HTTPSConnection(
                peer, peer_port, timeout=self.connect_seconds, context=context
            )
            if proxy is not None:
                connection.set_tunnel(host, port, dict(proxy.headers))
        else:
            connection = http.client.HTTPConnection(peer, peer_port, timeout=self.connect_seconds)
        whom = f"the proxy `{peer}:{peer_port}`" if proxy else _name(place)
        try:
            connection.connect()
        except socket.gaierror as error:
            connection.close()
            raise Unreachable(
                f"the name `{peer}` does not resolve: {error.strerror}",
                hint="is this machine connected to the network?",
            ) from None
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise Untrusted(
                f"the certificate of {_name(place)} is not trusted: {error.verify_message}",
                hint=f"add its authority to `/etc/docker/certs.d/{authority(place)}/ca.crt`, "
                "or name a file with it and the others in SSL_CERT_FILE",
            ) from None
        except ssl.SSLError as error:
            connection.close()
            raise NoTls(f"{_name(place)} does not speak TLS: {_reason(error)}") from None
        except (TimeoutError, OSError) as error:
            connection.close()
            raise Unreachable(f"{whom} cannot be reached: {_reason(error)}") from None
        connection.sock.settimeout(self.silence_seconds)
        with self.lock:
            if not self.closed:
                self.open.add(connection)
                return connection
        connection.close()
        raise Broken(f"the connection to {_name(place)} was given up")

    def _context(self, host: str, port: int) -> ssl.SSLContext:
        from buildkit_py.registry.trust import context_for

        name = authority(("https", host, port))
        with self.lock:
            known = self.contexts.get(name)
        if known is None:
            known = context_for(name, self.certificate_folders)
            with self.lock:
                self.contexts[name] = known
        return known


class _Body:
    """The body of a response; a break or a long silence is an error of ours."""

    def __init__(self, answer: http.client.HTTPResponse, name: str) -> None:
        self.answer = answer
        self.name = name

    def read(self, amount: int) -> bytes:
        import http.client

        expected = self.answer.length
        try:
            data = self.answer.read(amount)
        except (http.client.HTTPException, OSError) as error:
            raise Broken(f"{self.name} broke the connection: {_reason(error)}") from None
        if amount and not data and expected:
            raise Broken(f"{self.name} ended the connection {expected} bytes too early")
        return data


def split(url: str) -> tuple[Place, str]:
    """Return ((scheme, host, port), path with query) of an http or https URL."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Misbehaved("a registry's URL is not valid") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misbehaved("a registry's URL is neither http nor https")
    place = (parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80))
    return place, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def authority(place: Place) -> str:
    """Return `HOST[:PORT]`, without the port that the scheme implies."""
    scheme, host, port = place
    name = f"[{host}]" if ":" in host else host
    return name if port == {"https": 443, "http": 80}[scheme] else f"{name}:{port}"


def user_agent() -> str:
    from buildkit_py import __version__

    return f"buildkit-py/{__version__}"


def _name(place: Place) -> str:
    return f"`{authority(place)}`"


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200].lower()
