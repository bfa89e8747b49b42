"""Digests."""

from __future__ import annotations

import hashlib

import pytest

from buildkit_py.core.digest import is_digest, sha256


def test_a_digest_names_its_algorithm() -> None:
    assert sha256(b"x") == "sha256:" + hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256:" + "g" * 64,
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "md5:" + "a" * 64,
        "sha256:../../../../../../etc/passwd" + "a" * 33,
        "a" * 64,
    ],
)
def test_anything_else_is_no_digest(text: str) -> None:
    assert not is_digest(text)


def test_a_digest_is_one() -> None:
    assert is_digest(sha256(b"x"))
