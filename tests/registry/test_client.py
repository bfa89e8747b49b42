"""Requests to a repository: proof, redirects, retries, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from buildkit_py.core.errors import RemoteError
from buildkit_py.oci.reference import parse_reference
from buildkit_py.registry.client import Repository
from buildkit_py.registry.errors import Broken, Denied, Misbehaved, NoTls, Temporary, Unreachable
from buildkit_py.registry.transport import Answer, Recorded

BASE = "https://registry.example/v2/a/b"
TAG = ("GET", f"{BASE}/manifests/1")
REALM = "https://auth.example/token"
CHALLENGE = {"WWW-Authenticate": f'Bearer realm="{REALM}",service="s"'}
TOKEN = ("GET", f"{REALM}?service=s&scope=repository%3Aa%2Fb%3Apull")


def token(text: str) -> Answer:
    return Answer(200, {}, json.dumps({"token": text}).encode())


def repository(
    transport: Recorded, name: str = "registry.example/a/b:1", config: str = "{}"
) -> tuple[Repository, list[float]]:
    slept: list[float] = []
    environment = {"DOCKER_AUTH_CONFIG": config}
    made = Repository(parse_reference(name), transport, environment=environment, sleep=slept.append)
    return made, slept


def get(made: Repository, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    status, _, body = made.fetch("GET", "manifests/1", headers or {}, 1000)
    return status, body


def authorizations(transport: Recorded) -> list[str | None]:
    return [each.headers.get("Authorization") for each in transport.sent]


def test_a_challenge_is_answered_with_a_token() -> None:
    transport = Recorded(
        {TAG: [Answer(401, CHALLENGE), Answer(200, {}, b"yes")], TOKEN: token("t")}
    )

    assert get(repository(transport)[0]) == (200, b"yes")
    assert authorizations(transport) == [None, None, "Bearer t"]


def test_a_401_in_the_middle_renews_the_token() -> None:
    transport = Recorded(
        {
            TAG: [
                Answer(401, CHALLENGE),
                Answer(200),
                Answer(401, CHALLENGE),
                Answer(200, {}, b"y"),
            ],
            TOKEN: [token("t1"), token("t2")],
        }
    )
    made, _ = repository(transport)

    get(made)

    assert get(made) == (200, b"y")
    assert authorizations(transport)[-3:] == ["Bearer t1", None, "Bearer t2"]


def test_a_registry_that_refuses_every_token_is_an_error() -> None:
    says = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
    transport = Recorded({TAG: Answer(401, CHALLENGE, says), TOKEN: token("t")})

    with pytest.raises(Denied, match="`UNAUTHORIZED: authentication required`") as caught:
        get(repository(transport)[0])

    assert "`registry.example/a/b:1`" in caught.value.message


def test_for_the_hub_a_401_may_mean_that_the_image_does_not_exist() -> None:
    url = "https://registry-1.docker.io/v2/library/nothing/manifests/1"
    transport = Recorded({("GET", url): Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})})

    with pytest.raises(Denied) as caught:
        get(repository(transport, "nothing:1")[0])

    assert caught.value.hint is not None
    assert caught.value.hint.startswith("is the name right?")


def test_a_redirect_within_the_registry_keeps_the_token() -> None:
    moved = Answer(307, {"Location": "/other"})
    other = ("GET", "https://registry.example/other")
    transport = Recorded(
        {TAG: [Answer(401, CHALLENGE), moved], TOKEN: token("t"), other: Answer(200)}
    )

    assert get(repository(transport)[0]) == (200, b"")
    assert authorizations(transport)[-1] == "Bearer t"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://cdn.example/x?sig=1",
        "https://registry.example:8443/x",
        "//registry.example.evil/x",
    ],
)
def test_a_redirect_to_another_place_leaves_the_token_behind(elsewhere: str) -> None:
    moved = Answer(307, {"Location": elsewhere})
    target = elsewhere if "://" in elsewhere else f"https:{elsewhere}"
    transport = Recorded(
        {TAG: [Answer(401, CHALLENGE), moved], TOKEN: token("t"), ("GET", target): Answer(200)}
    )

    assert get(repository(transport)[0], {"Range": "bytes=5-"}) == (200, b"")
    assert transport.sent[-1].url == target
    assert dict(transport.sent[-1].headers) == {"Range": "bytes=5-"}


def test_the_token_does_not_come_back_after_a_detour() -> None:
    transport = Recorded(
        {
            TAG: [Answer(401, CHALLENGE), Answer(307, {"Location": "https://cdn.example/x"})],
            TOKEN: token("t"),
            ("GET", "https://cdn.example/x"): Answer(
                307, {"Location": "https://registry.example/back"}
            ),
            ("GET", "https://registry.example/back"): Answer(200),
        }
    )

    get(repository(transport)[0])

    assert authorizations(transport)[-2:] == [None, None]


def test_the_challenge_of_another_host_is_not_answered() -> None:
    evil = {"WWW-Authenticate": 'Bearer realm="https://evil.example/token"'}
    transport = Recorded(
        {
            TAG: Answer(307, {"Location": "https://cdn.example/x"}),
            ("GET", "https://cdn.example/x"): Answer(401, evil),
        }
    )

    with pytest.raises(RemoteError, match="status 401"):
        get(repository(transport, config='{"auths":{"registry.example":{"auth":"bWU6cA=="}}}')[0])

    assert [each.url for each in transport.sent] == [TAG[1], "https://cdn.example/x"]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://cdn.example/x", "from TLS to plain HTTP"),
        ("http://169.254.169.254/latest", "from TLS to plain HTTP"),
        ("file:///etc/passwd", "to nowhere"),
        ("https://h:port/", "not valid"),
        ("", "to nowhere"),
        (TAG[1], "more than 10 times"),
    ],
)
def test_bad_redirects_are_errors(location: str, reason: str) -> None:
    transport = Recorded({TAG: Answer(302, {"Location": location})})

    with pytest.raises(Misbehaved, match=reason):
        get(repository(transport)[0])


def test_breakdowns_are_waited_out_with_growing_pauses() -> None:
    breakdowns: list[Answer | Exception]
    breakdowns = [Answer(500), Broken("cut"), Answer(503), Answer(429)]
    transport = Recorded({TAG: [*breakdowns, Answer(200, {}, b"at last")]})
    made, slept = repository(transport)

    assert get(made) == (200, b"at last")
    assert slept == [0.5, 1.0, 2.0, 4.0]


def test_five_tries_are_enough() -> None:
    transport = Recorded({TAG: Answer(502, {}, b'{"errors":[{"code":"X","message":"down"}]}')})
    made, slept = repository(transport)

    with pytest.raises(Temporary, match=r"status 502 .* `X: down`"):
        get(made)

    assert (len(transport.sent), len(slept)) == (5, 4)


def test_the_server_says_how_long_to_wait_but_not_for_ever() -> None:
    patient = Recorded({TAG: [Answer(429, {"Retry-After": "7"}), Answer(200)]})
    made, slept = repository(patient)
    get(made)
    assert slept == [7.0]

    endless = Recorded({TAG: Answer(429, {"Retry-After": "86400"})})
    made, slept = repository(endless)
    with pytest.raises(Temporary) as caught:
        get(made)
    assert slept == []
    assert caught.value.code == "registry/too-many-requests"


@pytest.mark.parametrize(
    "registry", ["localhost:5000", "127.0.0.1:5000", "[::1]:5000", "127.8.8.8"]
)
def test_a_registry_on_loopback_without_tls_is_spoken_to_in_plain_http(registry: str) -> None:
    transport = Recorded(
        {
            ("GET", f"https://{registry}/v2/"): NoTls("no"),
            ("GET", f"http://{registry}/v2/"): Answer(200),
            ("GET", f"http://{registry}/v2/a/manifests/1"): Answer(200, {}, b"plain"),
        }
    )

    assert get(repository(transport, f"{registry}/a:1")[0]) == (200, b"plain")


def test_a_registry_on_loopback_with_tls_is_spoken_to_over_tls() -> None:
    transport = Recorded(
        {
            ("GET", "https://localhost:5000/v2/"): Answer(401),
            ("GET", "https://localhost:5000/v2/a/manifests/1"): Answer(200, {}, b"tls"),
        }
    )

    assert get(repository(transport, "localhost:5000/a:1")[0]) == (200, b"tls")


@pytest.mark.parametrize("error", [NoTls("no"), Unreachable("gone")])
def test_no_other_registry_is(error: Exception) -> None:
    transport = Recorded({TAG: error})

    with pytest.raises(type(error)):
        get(repository(transport)[0])

    assert all(each.url.startswith("https://") for each in transport.sent)
