"""Command lines are read as docker's clients read them."""

from __future__ import annotations

import pytest

from buildkit_py.cli.pybuild import BUILD
from buildkit_py.cli.reader import (
    BadOption,
    Command,
    HelpWanted,
    Option,
    UnknownOption,
    UnsupportedOption,
    read,
)

COMMAND = Command(
    "test",
    "",
    (
        Option("-t --tag", "list", ""),
        Option("-f --file", "text", ""),
        Option("-q --quiet", "flag", ""),
        Option("--pull", "flag", ""),
        Option("-j --jobs", "number", "", metavar="N"),
    ),
    arguments="CONTEXT",
    unsupported=("--ssh",),
)
REST: dict[str, object] = {"tag": [], "file": None, "quiet": False, "pull": False, "jobs": None}


@pytest.mark.parametrize(
    ("line", "values", "arguments"),
    [
        ("", {}, []),
        (".", {}, ["."]),
        ("-t a . -t=b --tag c --tag=d -te", {"tag": ["a", "b", "c", "d", "e"]}, ["."]),
        ("-qf Dockerfile .", {"quiet": True, "file": "Dockerfile"}, ["."]),
        ("-qfDockerfile .", {"quiet": True, "file": "Dockerfile"}, ["."]),
        ("--pull=false --quiet=true", {"quiet": True}, []),
        ("--pull=FALSE -q=true", {"quiet": True}, []),
        ("-- -t", {}, ["-t"]),
        ("-", {}, ["-"]),
        ("-j4", {"jobs": 4}, []),
        ("--file=", {"file": ""}, []),
        ("-f -", {"file": "-"}, []),
        ("--tag --pull", {"tag": ["--pull"]}, []),
    ],
)
def test_pflag_s_forms(line: str, values: dict[str, object], arguments: list[str]) -> None:
    assert read(COMMAND, line.split()) == ({**REST, **values}, arguments)


@pytest.mark.parametrize(
    ("line", "error", "text"),
    [
        ("--pul", UnknownOption, "unknown option `--pul`"),
        ("-x", UnknownOption, "unknown option `-x`"),
        ("-qx", UnknownOption, "unknown option `-x`"),
        ("-t", BadOption, "`-t` needs a value"),
        ("--pull=maybe", BadOption, "`--pull` is on or off, not `maybe`"),
        ("-j many", BadOption, "`-j` takes a whole number, not `many`"),
        ("-j ²", BadOption, "`-j` takes a whole number, not `²`"),
        ("--ssh default", UnsupportedOption, "`--ssh` is not supported yet"),
    ],
)
def test_what_is_wrong_is_named(line: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as raised:
        read(COMMAND, line.split())

    assert str(raised.value) == text


def test_a_near_miss_gets_a_suggestion() -> None:
    with pytest.raises(UnknownOption) as raised:
        read(COMMAND, ["--pul"])

    assert raised.value.hint == "did you mean `--pull`?"


def test_options_may_end_at_the_first_argument() -> None:
    command = Command("run", "", COMMAND.options, arguments="IMAGE", options_first=True)

    assert read(command, ["-q", "image", "-t", "x"]) == (
        {**REST, "quiet": True},
        ["image", "-t", "x"],
    )


def test_help_is_asked_for_anywhere() -> None:
    with pytest.raises(HelpWanted):
        read(COMMAND, [".", "--help"])


def test_every_option_of_docker_build_is_known_or_refused_by_name() -> None:
    docker = """
        --add-host --allow --annotation --attest --build-arg --build-context --builder --cache-from
        --cache-to --call --cgroup-parent --check -f --file --iidfile --label --load
        --metadata-file --network --no-cache --no-cache-filter -o --output --platform --policy
        --progress --provenance --pull --push -q --quiet --resource --sbom --secret --shm-size
        --ssh -t --tag --target --ulimit
    """.split()
    known = {name for option in BUILD.options for name in option.names}

    assert set(docker) <= known | BUILD.unsupported
    assert not known & BUILD.unsupported
