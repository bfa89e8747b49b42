"""`USER` text to ids, by tables that may be anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_py.runtime.spec import Account
from buildkit_py.runtime.users import UnknownAccount, resolve_account

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
nfsnobody:x:4294967294:4294967294::/:
# a comment:x:1:1::/:
bob:x:1000:100:Bob:/home/bob:/bin/sh
carol:x:1001:101::relative:/bin/sh
broken:x:no:100::/home/broken:
huge:x:1::/
1002:x:7:7::/numbered:
"""
GROUP = """\
root:x:0:
nfsnobody:x:4294967294:bob
users:x:100:
staff:x:50:bob,carol
audio:x:29:carol, bob
wheel:x:10:bob
broken:x::bob
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("", Account(0, 0, (0,), "/root")),
        ("root", Account(0, 0, (0,), "/root")),
        ("0", Account(0, 0, (0,), "/root")),
        ("bob", Account(1000, 100, (100, 50, 10), "/home/bob")),
        ("1000", Account(1000, 100, (100, 50, 10), "/home/bob")),
        ("bob:staff", Account(1000, 50, (50,), "/home/bob")),
        ("bob:77", Account(1000, 77, (77,), "/home/bob")),
        ("carol", Account(1001, 101, (101, 50, 29), "/")),
        ("1234", Account(1234, 0, (0,), "/")),
        ("1234:users", Account(1234, 100, (100,), "/")),
        ("1002", Account(1002, 0, (0,), "/")),
        ("2147483647", Account(2147483647, 0, (0,), "/")),
    ],
)
def test_who_it_is(root: int, text: str, account: Account) -> None:
    """A number is a number, also where a user has it as a name."""
    assert resolve_account(root, text) == account


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nfsnobody", "unable to find user nfsnobody"),
        ("nosuch", "unable to find user nosuch: no matching entries in passwd file"),
        ("broken", "unable to find user broken"),
        ("-1", "unable to find user -1"),
        ("+5", "unable to find user \\+5"),
        ("٣", "unable to find user"),
        ("bob:nosuch", "unable to find group nosuch: no matching entries in group file"),
        ("bob:broken", "unable to find group broken"),
        ("4294967295", "range 0-2147483647"),
        ("4294967296", "range"),
        ("99999999999999999999", "range"),
        ("1:4294967296", "range"),
        (":1", "is not a user and a group"),
        ("1:", "is not a user and a group"),
        (":", "is not a user and a group"),
    ],
)
def test_who_it_is_not(root: int, text: str, message: str) -> None:
    """CVE-2026-30892: text that is no number must never end as 0."""
    with pytest.raises(UnknownAccount, match=message):
        resolve_account(root, text)


def test_further_groups(root: int) -> None:
    assert resolve_account(root, "bob", groups=("audio", "7")).groups == (100, 50, 10, 29, 7)


def test_an_image_without_tables_has_root_and_numbers(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    try:
        assert resolve_account(fd, "") == Account(0, 0, (0,), "/root")
        assert resolve_account(fd, "5:6") == Account(5, 6, (6,), "/")
        with pytest.raises(UnknownAccount):
            resolve_account(fd, "root")
    finally:
        os.close(fd)


def test_an_entry_that_says_nothing_understandable_gives_nothing(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").write_bytes(b"\xff\xfe:x:0:0::/:\nbob:x:4294967296:0::/h:\n\0\n")

    with pytest.raises(UnknownAccount):
        resolve_account(root, "bob")
