"""Platforms, and which runs on which."""

from __future__ import annotations

import pytest

from buildkit_py.core.errors import InputError
from buildkit_py.oci.platform import machine_platform, parse_platform


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/AMD64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("arm64", "linux/arm64"),
        ("linux/aarch64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_names_of_one_platform_are_one(text: str, normal: str) -> None:
    assert str(parse_platform(text)) == normal


@pytest.mark.parametrize("text", ["", "/", "linux/", "linux//v8", "a/b/c/d"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_platform(text)

    assert caught.value.code == "oci/bad-platform"


@pytest.mark.parametrize(
    ("here", "other", "runs"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/amd64/v2", False),
        ("linux/amd64/v3", "linux/amd64/v2", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm/v7", "linux/arm/v6", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/amd64", "linux/arm64", False),
        ("linux/amd64", "windows/amd64", False),
    ],
)
def test_a_later_variant_runs_an_earlier_one(here: str, other: str, runs: bool) -> None:
    assert parse_platform(here).accepts(parse_platform(other)) is runs


def test_a_machine_names_its_platform() -> None:
    assert str(machine_platform("x86_64")) == "linux/amd64"
    assert str(machine_platform("aarch64")) == "linux/arm64"
