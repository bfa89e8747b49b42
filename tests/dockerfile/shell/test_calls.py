"""What is called: wrappers seen through, options and operands told apart."""

from __future__ import annotations

import pytest

from buildkit_py.dockerfile.shell.calls import calls, flags, operands
from buildkit_py.dockerfile.shell.scan import scan


def called(text: str) -> list[str]:
    return [" ".join((call.name, *call.values)) for call in calls(scan(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", ["a b"]),
        ("sudo -E -u root a b", ["sudo -E -u root a b", "a b"]),
        ("env -i X=1 a", ["env -i X=1 a", "a"]),
        ("nice -n 5 time a", ["nice -n 5 time a", "time a", "a"]),
        ("timeout -k 5 10m a b", ["timeout -k 5 10m a b", "a b"]),
        ("xargs -n1 -I {} a {}", ["xargs -n1 -I {} a {}", "a {}"]),
        ("exec a", ["exec a", "a"]),
        ("sudo", ["sudo"]),
        ("sudo -- a", ["sudo -- a", "a"]),
        ("sh -c 'a && b c'", ["sh -c a && b c", "a", "b c"]),
        ('bash -euxo pipefail -c "a b"', ["bash -euxo pipefail -c a b", "a b"]),
        ("sh script.sh -c 'a'", ["sh script.sh -c a"]),
        ("$x a", []),
        ("sh -c \"$x\"", ["sh -c $x"]),
    ],
)  # fmt: skip
def test_what_is_called(text: str, expected: list[str]) -> None:
    assert called(text) == expected


def test_words_inside_a_quoted_script_are_at_their_places() -> None:
    text = "sudo sh -c 'cd /x && apt install y'"

    found = {call.name: text[call.word.start : call.word.end] for call in calls(scan(text))}

    assert found["cd"] == "cd"
    assert found["apt"] == "apt"


def test_a_script_in_a_script_in_a_script_is_followed_only_so_far() -> None:
    text = "sudo " * 200 + "a"

    assert len(calls(scan(text))) < 10


def test_flags_and_operands() -> None:
    words = scan("x -ab --long --named=v -t value -- -o p").commands[0].words[1:]

    assert flags(words[:3]) == {"a", "b", "long", "named"}
    assert [word.value for word in operands(words, ("t",))] == ["-o", "p"]
