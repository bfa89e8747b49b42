"""Challenges, and tokens from a token server."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.registry.auth import Challenge, Keyring, parse_challenges
from buildkit_py.registry.credentials import ANONYMOUS, Credentials
from buildkit_py.registry.errors import Denied, Misbehaved, Temporary
from buildkit_py.registry.transport import Answer, Recorded

REALM = "https://auth.example/token"
CHALLENGE = f'Bearer realm="{REALM}",service="registry.example",scope="repository:a/b:pull"'
TOKEN_URL = f"{REALM}?service=registry.example&scope=repository%3Aa%2Fb%3Apull"
SCOPE = "repository:a/b:pull"


def answer(**fields: object) -> Answer:
    return Answer(200, {}, json.dumps(fields).encode())


def keyring(
    transport: Recorded, credentials: Credentials = ANONYMOUS, *, secure: bool = True
) -> tuple[Keyring, list[float]]:
    clock = [1000.0]
    return Keyring(transport, lambda: credentials, lambda: clock[0], secure=secure), clock


def test_a_comma_inside_quotes_does_not_end_a_parameter() -> None:
    header = 'Bearer realm="https://a/t",scope="repository:x:pull,push", Basic realm="say \\"hi\\""'

    assert parse_challenges(header) == [
        Challenge("bearer", {"realm": "https://a/t", "scope": "repository:x:pull,push"}),
        Challenge("basic", {"realm": 'say "hi"'}),
    ]


def test_names_are_read_without_regard_to_case_and_blanks() -> None:
    assert parse_challenges("bEaReR Realm = x , SERVICE=y") == [
        Challenge("bearer", {"realm": "x", "service": "y"})
    ]


@given(st.text('ab=",\\ \t'))
def test_any_header_is_read_to_an_end(header: str) -> None:
    for each in parse_challenges(header):
        assert each.scheme


def test_a_token_is_fetched_anonymously_once() -> None:
    transport = Recorded({("GET", TOKEN_URL): answer(token="t1", expires_in=300)})
    keys, _ = keyring(transport)

    first = keys.answer(CHALLENGE, SCOPE, refused="")

    assert first == "Bearer t1"
    assert keys.header(SCOPE) == "Bearer t1"
    assert "Authorization" not in transport.sent[0].headers
    assert len(transport.sent) == 1


def test_a_token_is_not_shown_after_its_end_and_a_minute_when_none_is_stated() -> None:
    keys, clock = keyring(Recorded({("GET", TOKEN_URL): answer(access_token="t1")}))
    keys.answer(CHALLENGE, SCOPE, refused="")

    clock[0] += 50
    assert keys.header(SCOPE) == "Bearer t1"
    clock[0] += 10
    assert keys.header(SCOPE) == ""


def test_a_refused_token_is_renewed() -> None:
    transport = Recorded({("GET", TOKEN_URL): [answer(token="t1"), answer(token="t2")]})
    keys, _ = keyring(transport)
    keys.answer(CHALLENGE, SCOPE, refused="")

    assert keys.answer(CHALLENGE, SCOPE, refused="Bearer t1") == "Bearer t2"


def test_a_token_that_another_thread_renewed_is_taken() -> None:
    transport = Recorded({("GET", TOKEN_URL): answer(token="t2")})
    keys, _ = keyring(transport)
    keys.answer(CHALLENGE, SCOPE, refused="")

    assert keys.answer(CHALLENGE, SCOPE, refused="Bearer t1") == "Bearer t2"
    assert len(transport.sent) == 1


def test_a_password_goes_to_the_token_server() -> None:
    transport = Recorded({("GET", f"{TOKEN_URL}&account=me"): answer(token="t1")})
    keys, _ = keyring(transport, Credentials("me", "pass"))

    assert keys.answer(CHALLENGE, SCOPE, refused="") == "Bearer t1"
    assert transport.sent[0].headers["Authorization"] == "Basic bWU6cGFzcw=="


def test_an_identity_token_is_posted() -> None:
    transport = Recorded({("POST", REALM): answer(access_token="t1")})
    keys, _ = keyring(transport, Credentials(identity_token="long"))

    assert keys.answer(CHALLENGE, SCOPE, refused="") == "Bearer t1"
    assert b"grant_type=refresh_token&refresh_token=long" in transport.sent[0].body


def test_a_registry_may_want_basic() -> None:
    transport = Recorded({})
    keys, _ = keyring(transport, Credentials("me", "pass"))

    assert keys.answer('Basic realm="x"', SCOPE, refused="") == "Basic bWU6cGFzcw=="
    with pytest.raises(Denied):
        keys.answer('Basic realm="x"', SCOPE, refused="Basic bWU6cGFzcw==")
    assert transport.sent == []


def test_nobody_has_no_answer_to_basic() -> None:
    keys, _ = keyring(Recorded({}))

    with pytest.raises(Denied, match="asks for credentials"):
        keys.answer('Basic realm="x"', SCOPE, refused="")


@pytest.mark.parametrize(
    "realm", ["http://auth.example/token", "http://169.254.169.254/x", "file:///etc/passwd", ""]
)
def test_a_registry_with_tls_cannot_send_us_to_a_token_server_without(realm: str) -> None:
    transport = Recorded({})
    keys, _ = keyring(transport, Credentials("me", "pass"))

    with pytest.raises(Misbehaved, match="token server without TLS"):
        keys.answer(f'Bearer realm="{realm}"', SCOPE, refused="")

    assert transport.sent == []


def test_credentials_follow_no_redirect_of_the_token_server() -> None:
    moved = Answer(302, {"Location": "https://elsewhere.example/"})
    transport = Recorded({("GET", f"{TOKEN_URL}&account=me"): moved})
    keys, _ = keyring(transport, Credentials("me", "pass"))

    with pytest.raises(Misbehaved, match="status 302"):
        keys.answer(CHALLENGE, SCOPE, refused="")

    assert len(transport.sent) == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"token": 5}', b'{"token": "a\\r\\nX: y"}', b'{"token": ""}']
)
def test_an_answer_without_a_token_is_an_error(body: bytes) -> None:
    keys, _ = keyring(Recorded({("GET", TOKEN_URL): Answer(200, {}, body)}))

    with pytest.raises(Misbehaved, match="has no token"):
        keys.answer(CHALLENGE, SCOPE, refused="")


def test_refusals_and_breakdowns_of_the_token_server_differ() -> None:
    no = Recorded({("GET", TOKEN_URL): Answer(401, {}, b"bad password")})
    down = Recorded({("GET", TOKEN_URL): Answer(503)})

    with pytest.raises(Denied, match="`bad password`"):
        keyring(no)[0].answer(CHALLENGE, SCOPE, refused="")
    with pytest.raises(Temporary):
        keyring(down)[0].answer(CHALLENGE, SCOPE, refused="")
