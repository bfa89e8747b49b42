"""Short forms, sizes, durations and command lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.compose.mounts import clean, parse_mount
from buildkit_py.compose.ports import parse_port
from buildkit_py.compose.units import duration_ns, size_bytes, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [(None, None, 80, "tcp")]),
        ("8080:80", [(None, "8080", 80, "tcp")]),
        ("127.0.0.1:8080:80/UDP", [("127.0.0.1", "8080", 80, "udp")]),
        ("127.0.0.1::80", [("127.0.0.1", None, 80, "tcp")]),
        ("[::1]:8080:80", [("::1", "8080", 80, "tcp")]),
        ("::1:8080:80", [("::1", "8080", 80, "tcp")]),
        ("8000-8001:80-81", [(None, "8000", 80, "tcp"), (None, "8001", 81, "tcp")]),
        ("8000-8005:80", [(None, "8000-8005", 80, "tcp")]),
        ("9-10", [(None, None, 10, "tcp"), (None, None, 9, "tcp")]),
    ],
)
def test_ports(text: str, expected: list[Any]) -> None:
    found = parse_port(text)

    assert [
        (p.get("host_ip"), p.get("published"), p["target"], p["protocol"]) for p in found
    ] == expected
    assert {p["mode"] for p in found} == {"ingress"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "`a` is no container's port"),
        ("80:", "the container's port is missing"),
        ("80-82:80-81", "the two ranges of ports have different lengths"),
        ("82-80:80", "the range `82-80` runs backwards"),
        ("localhost:80:80", "`localhost` is no IP address"),
        ("80/icmp", "`icmp` is no protocol"),
        ("65536", "`65536` is no container's port"),
        ("²:80", "`²` is no published port"),
    ],
)
def test_no_ports(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_port(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a", {"type": "volume", "target": "/a"}),
        ("/data", {"type": "volume", "target": "/data", "volume": {}}),
        ("v1:/x", {"type": "volume", "source": "v1", "target": "/x", "volume": {}}),
        ("v1:/x:ro,nocopy", {"type": "volume", "source": "v1", "target": "/x", "read_only": True,
                             "volume": {"nocopy": True}}),
        ("./a:/x:z,rshared", {"type": "bind", "source": "./a", "target": "/x",
                              "bind": {"selinux": "z", "propagation": "rshared",
                                       "create_host_path": True}}),
        ("~/a:/x:rw", {"type": "bind", "source": "~/a", "target": "/x",
                       "bind": {"create_host_path": True}}),
        ("C:\\a:/x", {"type": "bind", "source": "C:\\a", "target": "/x",
                      "bind": {"create_host_path": True}}),
        ("C:/a:/x", {"type": "bind", "source": "C:/a", "target": "/x",
                     "bind": {"create_host_path": True}}),
        ("v:/x", {"type": "volume", "source": "v", "target": "/x", "volume": {}}),
        ("v:/x:ro", {"type": "volume", "source": "v", "target": "/x", "read_only": True,
                     "volume": {}}),
        ("${A:-b}:/x", {"type": "volume", "source": "${A:-b}", "target": "/x", "volume": {}}),
    ],
)  # fmt: skip
def test_mounts(text: str, expected: dict[str, Any]) -> None:
    assert parse_mount(text) == expected


@pytest.mark.parametrize("text", ["", "a::/b", ":/abc", "aa:/b:ro:x"])
def test_no_mounts(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|colons"):
        parse_mount(text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a/../b//c/.", "/b/c"), ("//a", "/a"), ("", "."), ("a/..", "."), ("../a", "../a")],
)
def test_paths_are_cleaned_as_go_cleans_them(path: str, expected: str) -> None:
    assert clean(path) == expected


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1b", 1), ("1k", 1024), ("1KB", 1024), ("1KiB", 1024), ("1.5g", 3 << 29),
        ("64 m", 64 << 20), ("-1", -1), ("1024", 1024), ("1t", 1 << 40), ("2p", 2 << 50),
        ("0.5k", 512),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "1x", "k", "-1k", "1..5k", "1.5.5k", "9999999p", "1e3", "²"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=r"no size|too large"):
        size_bytes(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1h5m30s20ms", 3930_020_000_000), ("90s", 90 * 10**9), ("1.5s", 1_500_000_000), ("0", 0),
        ("2d", 172800 * 10**9), ("1w", 604800 * 10**9), ("100us", 100_000), ("100µs", 100_000),
        ("-1s", -(10**9)), (".5s", 500_000_000),
    ],
)  # fmt: skip
def test_durations(text: str, ns: int) -> None:
    assert duration_ns(text) == ns


@pytest.mark.parametrize("text", ["", "10", "s", "1x", "1s 2s", "999999999h", ".s", "-"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"no duration|too long"):
        duration_ns(text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", []), ("a b", ["a", "b"]), ("  a\tb\n", ["a", "b"]), ("a 'b c' d", ["a", "b c", "d"]),
        ('a "b \'c" d', ["a", "b 'c", "d"]), ("a\\ b", ["a b"]), ("'a\\b'", ["a\\b"]),
        ('a "" b', ["a", "", "b"]), ("a;b", ["a"]), ("a | b", ["a"]), ("a 2> b", ["a"]),
        ("a `b c` d", ["a", "`b c`", "d"]), ("a $(b c)", ["a", "$(b c)"]), ("a=b'c'", ["a=bc"]),
        ("a # b", ["a", "#", "b"]), ("a#b", ["a#b"]),
        ("a `\"b\"`", ["a", "`b`"]), ("9> a", []), ("a \\# b", ["a", "#", "b"]),
    ],
)  # fmt: skip
def test_command_lines(line: str, expected: list[str]) -> None:
    assert words(line) == expected


@pytest.mark.parametrize(
    "line", ["a 'b", 'a "b', "a\\", "a (b)", "a )", "a )b)", "$((a))", "`a", "$(a"]
)
def test_broken_command_lines(line: str) -> None:
    with pytest.raises(ValueError, match=r"quote|backslash|closed"):
        words(line)


@given(st.lists(st.text("ab '\"\\$#;é", min_size=1), min_size=1))
def test_quoted_words_come_back(items: list[str]) -> None:
    quoted = ["'" + item.replace("'", "'\\''") + "'" for item in items]

    assert words(" ".join(quoted)) == items


def outcome(parse: Callable[[str], object], text: str) -> object:
    """Return what a text is, or the complaint about it."""
    try:
        return parse(text)
    except ValueError as error:
        return str(error)


@given(st.text("ab:/.-0123456789[]~$", max_size=20))
def test_any_text_is_a_port_and_mount_or_refused(text: str) -> None:
    assert outcome(parse_port, text)
    assert outcome(parse_mount, text)


@given(st.text("0123456789.kmgbi hsw-dµ", max_size=12))
def test_any_text_is_a_size_and_duration_or_refused(text: str) -> None:
    for parse in (size_bytes, duration_ns):
        found = outcome(parse, text)

        assert isinstance(found, int) or "`" in str(found)
