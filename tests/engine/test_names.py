"""The nameserver: what it knows, what it asks others, what it never lets out."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildkit_py.engine.supervisor import names as names_module
from buildkit_py.engine.supervisor.loop import Loop
from buildkit_py.engine.supervisor.names import Names
from buildkit_py.runtime.network import questions
from buildkit_py.runtime.network.questions import AAAA, PTR, A


class Who:
    """A container as the nameserver sees it."""

    def __init__(self, *networks: str) -> None:
        self.networks = list(networks)


def question(name: str, kind: int = A, id: int = 77) -> bytes:
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    return struct.pack(">6H", id, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", kind, 1)


def code_of(answer: bytes) -> int:
    return answer[3] & 0x0F


def addresses(answer: bytes, asked: bytes) -> list[str]:
    (count,) = struct.unpack_from(">H", answer, 6)
    at = len(asked)
    return [socket.inet_ntoa(answer[at + 16 * n + 12 : at + 16 * n + 16]) for n in range(count)]


@pytest.fixture
def upstream(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[Callable[[bytes], bytes]], list[bytes]]]:
    """Start a server on 127.0.0.1 that answers by a function; returns what it was asked."""
    handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    handle.bind(("127.0.0.1", 0))
    monkeypatch.setattr(names_module, "DNS_PORT", handle.getsockname()[1])
    threads = []

    def start(answer: Callable[[bytes], bytes]) -> list[bytes]:
        asked: list[bytes] = []

        def serve() -> None:
            while True:
                data, peer = handle.recvfrom(4096)
                if data == b"end":
                    return
                asked.append(data)
                handle.sendto(answer(data), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        threads.append(thread)
        return asked

    yield start
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"end", handle.getsockname())
    for thread in threads:
        thread.join(10)
    handle.close()


def ask(names: Names, who: object, data: bytes, *, internal: bool = False) -> bytes | None:
    """Ask, let the loop run until there is an answer, and return it."""
    answers: list[bytes] = []

    def reply(answer: bytes) -> None:
        answers.append(answer)
        names.loop.stop()

    names.ask(who, data, reply, internal=internal, stream=False)  # type: ignore[arg-type]
    if not answers:
        names.loop.later(10, names.loop.stop)
        names.loop._going = True
        names.loop.run()
    return answers[0] if answers else None


def made() -> tuple[Names, Who]:
    names, who = Names(Loop(), ("127.0.0.1",)), Who("front", "back")
    names.add(who, "front", ("web", "shop-web-1"), "10.0.0.2")  # type: ignore[arg-type]
    names.add(Who("back"), "back", ("db",), "10.0.1.2")  # type: ignore[arg-type]
    names.add(Who("back"), "back", ("db",), "10.0.1.3")  # type: ignore[arg-type]
    names.add(Who("other"), "other", ("hidden",), "10.0.2.2")  # type: ignore[arg-type]
    names.know_subnet("front", "10.0.0.0/24")
    names.know_subnet("back", "10.0.1.0/24")
    return names, who


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("web", ["10.0.0.2"]),
        ("WEB", ["10.0.0.2"]),
        ("web.front", ["10.0.0.2"]),
        ("db", ["10.0.1.2", "10.0.1.3"]),
    ],
)
def test_names_of_the_own_networks_have_all_their_addresses(name: str, found: list[str]) -> None:
    names, who = made()
    asked = question(name)

    answer = ask(names, who, asked)

    assert answer is not None
    assert answer[:2] == asked[:2]
    assert struct.unpack_from(">H", answer, 2)[0] == 0x8180
    assert sorted(addresses(answer, asked)) == found


def test_other_types_of_a_known_name_are_empty_and_reach_nobody(
    upstream: Callable[[Callable[[bytes], bytes]], list[bytes]],
) -> None:
    names, who = made()
    asked = upstream(lambda data: data)

    for kind in (AAAA, 15, 16, 33, 65):
        answer = ask(names, who, question("web", kind))
        assert answer is not None
        assert (code_of(answer), answer[6:8]) == (questions.NOERROR, b"\0\0")
    assert asked == []


def test_an_address_has_its_name_and_an_unknown_one_of_ours_none() -> None:
    names, who = made()

    known = ask(names, who, question("2.0.0.10.in-addr.arpa", PTR))
    unknown = ask(names, who, question("9.0.0.10.in-addr.arpa", PTR))

    assert known is not None
    assert b"\x03web\x05front\0" in known
    assert unknown is not None
    assert code_of(unknown) == questions.NXDOMAIN


def test_what_we_do_not_know_is_asked_under_a_number_of_its_own(
    upstream: Callable[[Callable[[bytes], bytes]], list[bytes]],
) -> None:
    names, who = made()
    asked = upstream(lambda data: data[:2] + b"\x81\x80" + data[4:] + b"tail")
    sent = question("example.org")

    answer = ask(names, who, sent)

    assert answer == sent[:2] + b"\x81\x80" + sent[4:] + b"tail"
    assert [each[2:] for each in asked] == [sent[2:]]
    assert ask(names, who, question("hidden")) is not None
    assert len(asked) == 2


def test_an_answer_to_another_question_is_not_taken(
    upstream: Callable[[Callable[[bytes], bytes]], list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names, who = made()
    monkeypatch.setattr(names_module, "PATIENCE_SECONDS", 0.2)
    upstream(lambda data: data[:2] + b"\x81\x80" + question("evil.org")[4:])

    answer = ask(names, who, question("example.org"))

    assert answer is not None
    assert code_of(answer) == questions.SERVFAIL


def test_internal_networks_ask_nobody(
    upstream: Callable[[Callable[[bytes], bytes]], list[bytes]],
) -> None:
    names, who = made()
    asked = upstream(lambda data: data)

    answer = ask(names, who, question("example.org"), internal=True)

    assert answer is not None
    assert code_of(answer) == questions.SERVFAIL
    assert asked == []


def test_the_host_has_a_name_where_it_has_an_address() -> None:
    names, who = made()
    names.host_address = "192.0.2.1"
    asked = question("host.docker.internal")

    answer = ask(names, who, asked)

    assert answer is not None
    assert addresses(answer, asked) == ["192.0.2.1"]


def test_an_answer_that_is_too_long_is_cut_and_says_so() -> None:
    asked = questions.read(question("many"))
    many = [f"10.0.0.{n}" for n in range(1, 60)]

    short = questions.answer(asked, many)
    whole = questions.answer(questions.without_limit(asked), many)

    assert len(short) <= 512
    assert short[2] & 0x02
    assert not whole[2] & 0x02
    assert struct.unpack_from(">H", whole, 6)[0] == 59


@given(st.binary(max_size=80))
def test_junk_is_no_question(data: bytes) -> None:
    try:
        read = questions.read(data)
    except questions.BadQuestion:
        return
    assert data[12:].startswith(read.raw)


def test_a_pointer_in_a_question_is_refused() -> None:
    with pytest.raises(questions.BadQuestion):
        questions.read(question("x")[:12] + b"\xc0\x0c\0\1\0\1")
