"""Which requests go through a proxy."""

from __future__ import annotations

import pytest

from buildkit_py.core.errors import InputError
from buildkit_py.registry.proxies import proxy_for

PROXY = {"HTTPS_PROXY": "http://proxy.example:3128"}


def test_https_goes_through_the_proxy_of_https() -> None:
    proxy = proxy_for("https", "registry.example", 443, PROXY)

    assert proxy is not None
    assert (proxy.host, proxy.port) == ("proxy.example", 3128)
    assert proxy_for("http", "registry.example", 80, PROXY) is None


def test_a_name_and_password_become_a_header_and_are_not_shown() -> None:
    proxy = proxy_for("https", "r.example", 443, {"https_proxy": "http://me:p%40ss@proxy.example"})

    assert proxy is not None
    assert proxy.headers == {"Proxy-Authorization": "Basic bWU6cEBzcw=="}
    assert "bWU6cEBzcw" not in repr(proxy)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_never_goes_through_a_proxy(host: str) -> None:
    assert proxy_for("https", host, 5000, PROXY) is None


@pytest.mark.parametrize(
    ("entry", "host", "port", "direct"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "a.example.com", 443, True),
        ("example.com", "anexample.com", 443, False),
        (".example.com", "example.com", 443, False),
        (".example.com", "a.example.com", 443, True),
        ("*.example.com", "a.example.com", 443, True),
        ("*", "anything.example", 443, True),
        ("example.com:5000", "example.com", 5000, True),
        ("example.com:5000", "example.com", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("fd00::/8", "fd00::5", 443, True),
        ("other.example, EXAMPLE.com", "example.COM", 443, True),
        ("", "example.com", 443, False),
    ],
)
def test_no_proxy_is_read_as_docker_reads_it(
    entry: str, host: str, port: int, direct: bool
) -> None:
    proxy = proxy_for("https", host, port, {**PROXY, "NO_PROXY": entry})

    assert (proxy is None) is direct


@pytest.mark.parametrize("url", ["socks5://me:secret@p:1080", "https://p", "http://", "http://p:x"])
def test_other_kinds_of_proxies_are_refused_without_repeating_a_password(url: str) -> None:
    with pytest.raises(InputError) as caught:
        proxy_for("https", "registry.example", 443, {"HTTPS_PROXY": url})

    assert caught.value.code == "registry/bad-proxy"
    assert "secret" not in caught.value.message
