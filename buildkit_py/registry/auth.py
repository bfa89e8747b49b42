"""From a 401 to an Authorization header: challenges, and tokens from a token server.

A challenge says which proof a registry wants (RFC 9110 11.6.1); for `Bearer` we fetch a token
from the server it names, with credentials where there are some, anonymously otherwise.
Source: distribution docs/spec/auth/token.md and oauth.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from buildkit_py.core.data import dataclass
from buildkit_py.registry.credentials import Credentials
from buildkit_py.registry.errors import Denied, Misbehaved, Temporary, quoted
from buildkit_py.registry.transport import Request, Transport

MOST_TOKEN_BYTES = 1 << 20
SHORTEST_LIFE_SECONDS = 60
"""The life of a token when the server does not say (token.md), and the least we assume."""

CLIENT_ID = "buildkit-py"


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: a scheme in lower case, and parameters with names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Read a WWW-Authenticate header, which may hold several challenges.

    A comma divides parameters as well as challenges, and may stand inside quotes: a word that is
    followed by another word, not by `=`, begins a challenge.
    """
    challenges: list[Challenge] = []
    parameters: dict[str, str] = {}
    at = 0
    while at < len(header):
        at = _skip(header, at, " \t,")
        word, at = _word(header, at)
        if not word:
            break
        after = _skip(header, at, " \t")
        if header[after : after + 1] != "=" or not challenges:
            parameters = {}
            challenges.append(Challenge(word.lower(), parameters))
            continue
        value, at = _value(header, _skip(header, after + 1, " \t"))
        parameters.setdefault(word.lower(), value)
    return challenges


def _skip(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at


def _word(text: str, at: int) -> tuple[str, int]:
    end = at
    while end < len(text) and text[end] not in ' \t,="':
        end += 1
    return text[at:end], end


def _value(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] != '"':
        return _word(text, at)
    at += 1
    value: list[str] = []
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
        value.append(text[at])
        at += 1
    return "".join(value), at + 1


class Keyring:
    """What we show one registry: remembers tokens until they end. Threads may share it.

    credentials: called at most once, and only when the registry asks who we are
    now: seconds of a clock that does not jump
    secure: whether the registry itself is spoken to over TLS; then its token server must be, too
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Callable[[], Credentials],
        now: Callable[[], float],
        *,
        secure: bool,
    ) -> None:
        self.transport = transport
        self.find = credentials
        self.now = now
        self.secure = secure
        self.lock = threading.RLock()
        self.found: Credentials | None = None
        self.basic = ""
        self.tokens: dict[str, tuple[str, float]] = {}

    def header(self, scope: str) -> str:
        """Return the Authorization header for a scope, or an empty text when none is known."""
        with self.lock:
            token, end = self.tokens.get(scope, ("", 0.0))
            if token and self.now() < end:
                return f"Bearer {token}"
            return self.basic

    def answer(self, challenge: str, scope: str, *, refused: str) -> str:
        """Return a new header for a 401, asking the token server if need be.

        refused: the header that was just refused; when another thread has renewed it meanwhile,
            that one's is returned
        Raises Denied when nothing we have would be another answer than the refused one.
        """
        with self.lock:
            current = self.header(scope)
            if current and current != refused:
                return current
            self.tokens.pop(scope, None)
            offers = {each.scheme: each.parameters for each in parse_challenges(challenge)}
            if "bearer" in offers:
                token, life = self._token(offers["bearer"], scope)
                self.tokens[scope] = (token, self.now() + life)
                return f"Bearer {token}"
            if "basic" in offers:
                credentials = self.credentials()
                if credentials.username and not self.basic:
                    self.basic = basic(credentials)
                    return self.basic
            raise Denied("the registry asks for credentials", hint=NO_CREDENTIALS)

    def credentials(self) -> Credentials:
        if self.found is None:
            self.found = self.find()
        return self.found

    def _token(self, offer: Mapping[str, str], scope: str) -> tuple[str, float]:
        from urllib.parse import urlencode

        credentials = self.credentials()
        if credentials.registry_token:
            return credentials.registry_token, SHORTEST_LIFE_SECONDS
        realm = offer.get("realm", "")
        if not realm.startswith("https://") and (self.secure or not realm.startswith("http://")):
            raise Misbehaved("the registry sends us to a token server without TLS")
        asked = offer.get("scope") or scope
        fields = {"service": offer.get("service", ""), "scope": asked}
        if credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
                "client_id": CLIENT_ID,
                **fields,
            }
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._fetch(Request("POST", realm, kind, urlencode(form).encode()))
        query = [("scope", each) for each in asked.split()]
        if fields["service"]:
            query.insert(0, ("service", fields["service"]))
        headers = {}
        if credentials.username:
            headers["Authorization"] = basic(credentials)
            query.append(("account", credentials.username))
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
        return self._fetch(Request("GET", url, headers))

    def _fetch(self, request: Request) -> tuple[str, float]:
        """Return token and seconds to live. A redirect is an error: credentials follow none."""
        import json

        with self.transport.send(request) as response:
            body = response.all(MOST_TOKEN_BYTES)
        if response.status in (400, 401, 403):
            raise Denied(
                f"the token server refuses: {quoted(body.decode(errors='replace'))}",
                hint=BAD_CREDENTIALS if self.credentials() else NO_CREDENTIALS,
            )
        if response.status == 429 or response.status >= 500:
            raise Temporary(
                f"the token server answers with status {response.status}",
                code="registry/token-server",
            )
        try:
            value = json.loads(body) if response.status == 200 else None
        except (ValueError, RecursionError):
            value = None
        value = value if isinstance(value, dict) else {}
        token = value.get("token") or value.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise Misbehaved(f"the token server's answer has no token (status {response.status})")
        life = value.get("expires_in")
        seconds = life if isinstance(life, int) and not isinstance(life, bool) else 0
        # A little less, so that a token does not end on its way.
        return token, max(min(seconds, 86_400), SHORTEST_LIFE_SECONDS) * 0.9


NO_CREDENTIALS = "there are no credentials for it in docker's config.json (see DOCKER_CONFIG)"
BAD_CREDENTIALS = "its credentials in docker's config.json are not valid; log in again"


def basic(credentials: Credentials) -> str:
    from base64 import b64encode

    text = f"{credentials.username}:{credentials.password}"
    return f"Basic {b64encode(text.encode()).decode()}"
