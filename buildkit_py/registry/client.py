"""Requests to one repository of one registry: address, proof of who we are, redirects, retries.

Every registry is spoken to over TLS. The one exception is this machine itself: a registry on
loopback that does not speak TLS is spoken to in plain HTTP, as docker does unasked.

Redirects are followed by hand: when one leads to another scheme, host or port, the Authorization
header stays behind, and from TLS none leads to plain HTTP.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping

from buildkit_py.core.errors import RemoteError
from buildkit_py.oci.reference import DEFAULT_REGISTRY, Reference
from buildkit_py.registry.auth import NO_CREDENTIALS, Keyring
from buildkit_py.registry.credentials import Credentials, find_credentials
from buildkit_py.registry.errors import (
    Denied,
    Misbehaved,
    NotFound,
    NoTls,
    Temporary,
    Unreachable,
    quoted,
)
from buildkit_py.registry.proxies import is_loopback
from buildkit_py.registry.retry import Sleep, retrying
from buildkit_py.registry.transport import Request, Response, Transport

HUB_ENDPOINT = "registry-1.docker.io"
MOST_REDIRECTS = 10
MOST_ERROR_BYTES = 1 << 16
RENEWALS = 2
"""How often a request answers a 401: once with a first token, once with a renewed one."""


class Repository:
    """A repository, through a transport. Threads may share it.

    environment: where docker's configuration is looked up
    sleep, now: the clock, so that tests need not wait
    """

    def __init__(
        self,
        reference: Reference,
        transport: Transport,
        *,
        environment: Mapping[str, str] | None = None,
        sleep: Sleep = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reference = reference
        self.transport = transport
        self.environment = os.environ if environment is None else environment
        self.sleep = sleep
        self.now = now
        self.scope = f"repository:{reference.repository}:pull"
        self.lock = threading.Lock()
        self.base = ""
        self.keyring: Keyring | None = None

    def send(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Response:
        """Send a request below `/v2/REPOSITORY/` and return the response to it.

        The status is 200, 206, 404, 405 or 416; every other one is an error: Temporary when
        trying again may help (this sends only once), Denied, or RemoteError.
        """
        base, keyring = self._endpoint()
        url = f"{base}/v2/{self.reference.repository}/{path}"
        sent = keyring.header(self.scope)
        renewals = RENEWALS
        response, last = self._follow(method, url, headers or {}, sent)
        # A 401 of a host we were redirected to is none of the registry's, and not answered.
        while response.status == 401 and origin(last) == origin(base):
            with response:
                body = response.all(MOST_ERROR_BYTES)
                challenge = response.headers.get("www-authenticate", "")
            if not renewals:
                raise self.denied(body)
            try:
                sent = keyring.answer(challenge, self.scope, refused=sent)
            except Denied as error:
                raise self.denied(body, error) from None
            renewals -= 1
            response, last = self._follow(method, url, headers or {}, sent)
        if response.status in (200, 206, 404, 405, 416):
            return response
        with response:
            raise self.refused(response.status, response.headers, response.all(MOST_ERROR_BYTES))

    def fetch(
        self, method: str, path: str, headers: Mapping[str, str], limit: int
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send, read the whole body (at most `limit` bytes and one), and retry what may help."""

        def once() -> tuple[int, Mapping[str, str], bytes]:
            with self.send(method, path, headers) as response:
                return response.status, response.headers, response.all(limit)

        return retrying(once, self.sleep)

    def _endpoint(self) -> tuple[str, Keyring]:
        with self.lock:
            if self.keyring is None:
                self.base = self._find_base()
                self.keyring = Keyring(
                    self.transport,
                    self._credentials,
                    self.now,
                    secure=self.base.startswith("https:"),
                )
            return self.base, self.keyring

    def _credentials(self) -> Credentials:
        return find_credentials(self.reference.registry, self.environment)

    def _find_base(self) -> str:
        registry = self.reference.registry
        if registry == DEFAULT_REGISTRY:
            return f"https://{HUB_ENDPOINT}"
        if not is_loopback(host_part(registry)):
            return f"https://{registry}"
        try:
            self._probe(f"https://{registry}")
        except (NoTls, Unreachable):
            self._probe(f"http://{registry}")
            return f"http://{registry}"
        return f"https://{registry}"

    def _probe(self, base: str) -> None:
        with self.transport.send(Request("GET", f"{base}/v2/")) as response:
            response.all(MOST_ERROR_BYTES)

    def _follow(
        self, method: str, url: str, headers: Mapping[str, str], authorization: str
    ) -> tuple[Response, str]:
        """Return the response that is no redirect, and the URL that gave it."""
        from urllib.parse import urljoin

        for _ in range(MOST_REDIRECTS + 1):
            proof = {"Authorization": authorization} if authorization else {}
            response = self.transport.send(Request(method, url, {**headers, **proof}))
            if response.status not in (301, 302, 303, 307, 308):
                return response, url
            with response:
                response.all(MOST_ERROR_BYTES)
                location = response.headers.get("location", "")
            try:
                target = urljoin(url, location)
                before, after = origin(url), origin(target)
            except ValueError:
                raise Misbehaved(f"{self.name} redirects to a URL that is not valid") from None
            if not location or after[0] not in ("http", "https"):
                raise Misbehaved(f"{self.name} redirects to nowhere")
            if before[0] == "https" and after[0] == "http":
                raise Misbehaved(f"{self.name} redirects from TLS to plain HTTP")
            if before != after:
                authorization = ""
            url = target
        raise Misbehaved(f"{self.name} redirects more than {MOST_REDIRECTS} times")

    @property
    def name(self) -> str:
        return f"`{self.reference.registry}`"

    def denied(self, body: bytes, cause: Denied | None = None) -> Denied:
        reason = f": {words(body)}" if words(body) else ""
        hint = (cause.hint if cause else None) or NO_CREDENTIALS
        if self.reference.registry == DEFAULT_REGISTRY:
            # The Hub answers so for what does not exist, too.
            hint = f"is the name right? {hint}"
        if cause is not None and not reason:
            reason = f": {cause.message}"
        return Denied(f"{self.name} does not let us have {self.image}{reason}", hint=hint)

    @property
    def image(self) -> str:
        return f"`{self.reference.familiar}`"

    def not_found(self, body: bytes) -> NotFound:
        reason = f": {words(body)}" if words(body) else ""
        return NotFound(
            f"there is no image {self.image} in {self.name}{reason}",
            hint="are the name and the tag right?",
        )

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> RemoteError:
        """Return the error for a status that is no success."""
        reason = f": {words(body)}" if words(body) else ""
        text = f"{self.name} answers with status {status} for {self.image}{reason}"
        if status == 403:
            return Denied(f"{self.name} denies {self.image}{reason}", hint=NO_CREDENTIALS)
        if status == 429:
            text = f"{self.name} has had too many requests from here{reason}"
            return Temporary(
                text, code="registry/too-many-requests", after_seconds=seconds_after(headers)
            )
        if status == 408 or status >= 500:
            return Temporary(
                text, code="registry/server-error", after_seconds=seconds_after(headers)
            )
        return RemoteError(text, code="registry/refused")


def words(body: bytes) -> str:
    """Return a registry's own words: `CODE: message` of its errors, quoted, or an empty text."""
    import json

    try:
        errors = json.loads(body)["errors"]
        texts = [f"{each.get('code', '')}: {each.get('message', '')}" for each in errors]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return quoted("; ".join(texts)) if texts else ""


def seconds_after(headers: Mapping[str, str]) -> float | None:
    """Return the pause that Retry-After asks for; a date counts as no wish."""
    value = headers.get("retry-after", "").strip()
    return float(value) if value.isdecimal() and value.isascii() else None


def host_part(registry: str) -> str:
    """Return the host of `HOST[:PORT]`; an IPv6 address stands in brackets."""
    if registry.startswith("["):
        return registry[1:].partition("]")[0]
    return registry.partition(":")[0]


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port; raise ValueError for a URL with a port that is no number."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return parts.scheme, (parts.hostname or "").lower(), port
