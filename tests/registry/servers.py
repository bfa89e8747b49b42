"""Servers on loopback for tests: a scripted registry that can misbehave, and docker-registry."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.registry.samples import Sample


@dataclass(slots=True)
class Reply:
    """What a handler wants sent.

    cut: close the connection after so many bytes of the body
    length: the Content-Length that is announced; None means the true one, -1 none at all
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


Handle = Callable[[Asked], Reply]


class Server:
    """A server of one function; `asked` keeps every request."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.asked: list[Asked] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Asked(self.command, self.path, headers, body)
                outer.asked.append(request)
                reply = outer.handle(request)
                self.send_response(reply.status)
                length = len(reply.body) if reply.length is None else reply.length
                if length >= 0:
                    self.send_header("Content-Length", str(length))
                else:
                    self.close_connection = True
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body if reply.cut is None else reply.body[: reply.cut])
                if reply.cut is not None:
                    self.close_connection = True

            do_GET = do_HEAD = do_POST = answer

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """A client that goes away is none of our business."""

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self) -> Server:
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def paths(self, part: str) -> list[Asked]:
        """Return the requests with `part` in their path."""
        return [each for each in self.asked if part in each.path]


def serve(sample: Sample, *, tag: str = "1") -> Handle:
    """Return the handler of an honest registry that holds one image or index under any name."""

    def handle(asked: Asked) -> Reply:
        parts = asked.path.split("/")
        if asked.path == "/v2/":
            return Reply(200)
        kind, name = parts[-2], parts[-1]
        if kind == "manifests":
            digest = sample.digest if name == tag else name
            for known, (media_type, data) in sample.manifests.items():
                if known == digest:
                    headers = {"Content-Type": media_type, "Docker-Content-Digest": digest}
                    return Reply(200, headers, data)
        for known, data in sample.blobs.items():
            if kind == "blobs" and known == name:
                return ranged(asked, data)
        text = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
        return Reply(404, {"Content-Type": "application/json"}, text)

    return handle


def ranged(asked: Asked, data: bytes) -> Reply:
    """Return data from where the request wants it."""
    wanted = asked.headers.get("range")
    if wanted is None:
        return Reply(200, {}, data)
    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
    content_range = f"bytes {start}-{len(data) - 1}/{len(data)}"
    return Reply(206, {"Content-Range": content_range}, data[start:])


@contextmanager
def docker_registry(folder: Path) -> Iterator[str]:
    """Run Debian's docker-registry on a free port of loopback; give `HOST:PORT`."""
    program = shutil.which("docker-registry")
    assert program, "docker-registry is not installed"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = folder / "registry.yml"
    config.write_text(
        "version: 0.1\n"
        "log: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    with (folder / "registry.log").open("w") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    try:
        wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process of ours listens; there is nothing to wait on but the port itself."""
    host, _, port = address.partition(":")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert process.poll() is None, "the server ended at once"
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"nothing listens on {address}")


def push(address: str, repository: str, tag: str, sample: Sample) -> None:
    """Put an image or index into a registry, by plain requests of our own."""
    connection = http.client.HTTPConnection(address)
    try:
        for digest, data in sample.blobs.items():
            location = _send(connection, "POST", f"/v2/{repository}/blobs/uploads/", b"", {}, 202)
            place = location.partition(address)[2] or location
            url = f"{place}{'&' if '?' in place else '?'}digest={digest}"
            kind = {"Content-Type": "application/octet-stream"}
            _send(connection, "PUT", url, data, kind, 201)
        for digest, (media_type, data) in reversed(sample.manifests.items()):
            url = f"/v2/{repository}/manifests/{tag if digest == sample.digest else digest}"
            _send(connection, "PUT", url, data, {"Content-Type": media_type}, 201)
    finally:
        connection.close()


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    status: int,
) -> str:
    connection.request(method, url, body, dict(headers))
    response = connection.getresponse()
    text = response.read()
    assert response.status == status, (method, url, response.status, text)
    return response.headers.get("Location", "")
