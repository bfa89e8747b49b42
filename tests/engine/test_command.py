"""Which program runs, in which environment."""

from __future__ import annotations

import pytest

from buildkit_py.engine.command import (
    BadEnvironment,
    NoCommand,
    argv_of,
    environment_of,
    read_environment_file,
    read_variables,
)
from buildkit_py.oci.image import ContainerConfig

BOTH = ContainerConfig(entrypoint=("/entry", "-x"), cmd=("default",))


@pytest.mark.parametrize(
    ("config", "command", "entrypoint", "argv"),
    [
        (BOTH, (), None, ("/entry", "-x", "default")),
        (BOTH, ("given", "words"), None, ("/entry", "-x", "given", "words")),
        (BOTH, (), "/other", ("/other",)),
        (BOTH, ("given",), "/other", ("/other", "given")),
        (BOTH, ("given",), "", ("given",)),
        (ContainerConfig(cmd=("sh",)), (), None, ("sh",)),
        (ContainerConfig(cmd=("sh",)), ("ls",), None, ("ls",)),
        (ContainerConfig(entrypoint=("/entry",)), (), None, ("/entry",)),
    ],
)
def test_words_given_and_those_of_the_image(
    config: ContainerConfig,
    command: tuple[str, ...],
    entrypoint: str | None,
    argv: tuple[str, ...],
) -> None:
    assert argv_of(config, command, entrypoint) == argv


@pytest.mark.parametrize("entrypoint", [None, ""])
def test_nothing_to_run_is_refused(entrypoint: str | None) -> None:
    config = ContainerConfig(entrypoint=("/entry",) if entrypoint == "" else None)

    with pytest.raises(NoCommand):
        argv_of(config, (), entrypoint)


def test_variables_given_win_and_a_bare_name_takes_one_out() -> None:
    env = environment_of(("PATH=/bin", "A=1", "B=2"), ("A=9", "B", "C=x=y"))

    assert env == ("PATH=/bin", "A=9", "C=x=y")


def test_a_name_alone_takes_the_callers_value() -> None:
    assert read_variables(("A", "B=", "GONE"), {"A": "mine"}) == ("A=mine", "B=", "GONE")


@pytest.mark.parametrize("text", ["", "=x", "A=\0"])
def test_bad_variables_are_refused(text: str) -> None:
    with pytest.raises(BadEnvironment):
        read_variables((text,), {})


def test_an_environment_file_is_taken_as_it_stands() -> None:
    data = b"\xef\xbb\xbf# comment\n\n  A=1 # no comment\nB='quoted'\r\nMINE\nGONE\nC=\n"

    variables = read_environment_file(data, "f", {"MINE": "m"})

    assert variables == ["A=1 # no comment", "B='quoted'", "MINE=m", "C="]


@pytest.mark.parametrize("data", [b"A B=1\n", b"=x\n", b"\xff=1\n"])
def test_a_bad_environment_file_is_named(data: bytes) -> None:
    with pytest.raises(BadEnvironment, match="`the file`"):
        read_environment_file(data, "the file", {})
