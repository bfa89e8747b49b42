"""Accounts are looked up once, and again as soon as anything in /etc may have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buildkit_py.build.steps.accounts import Accounts
from buildkit_py.core.errors import InputError
from buildkit_py.runtime import users
from buildkit_py.runtime.spec import Account
from buildkit_py.store.snapshots import SnapshotId
from buildkit_py.store.store import Store

pytestmark = [pytest.mark.root, pytest.mark.kernel("overlay")]

PASSWD = "root:x:0:0::/root:/bin/sh\nada:x:7:8::/home/ada:/bin/sh\n"
CHANGED = PASSWD.replace(":7:", ":70:")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "root"), overlay="kernel") as opened:
        yield opened


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The users that were looked up in tables."""
    seen: list[str] = []
    resolve = users.resolve_account

    def counted(root: int, text: str) -> Account:
        seen.append(text)
        return resolve(root, text)

    monkeypatch.setattr(users, "resolve_account", counted)
    return seen


def write_base(root: Path) -> None:
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text(PASSWD)


def step(
    store: Store,
    accounts: Accounts,
    parent: SnapshotId | None,
    change: Callable[[Path], object],
    user: str = "ada",
) -> tuple[Account | None, SnapshotId]:
    """Look a user up and then change the file system, as a RUN does."""
    active = store.snapshots.prepare(parent)
    account = accounts.find(active, user) if parent is not None else None
    with active.mount() as root:
        change(Path(f"/proc/self/fd/{root}"))
    return account, accounts.commit(active)


def test_a_step_that_leaves_etc_alone_needs_no_second_lookup(
    store: Store, lookups: list[str]
) -> None:
    accounts = Accounts()
    _, base = step(store, accounts, None, write_base)

    first, top = step(store, accounts, base, lambda root: (root / "file").touch())
    second, _ = step(store, accounts, top, lambda root: None)

    assert first == second == Account(7, 8, (8,), "/home/ada")
    assert lookups == ["ada"]


def write(root: Path) -> None:
    (root / "etc/passwd").write_text(CHANGED)


def replace(root: Path) -> None:
    (root / "etc/new").write_text(CHANGED)
    (root / "etc/new").rename(root / "etc/passwd")


def replace_directory(root: Path) -> None:
    (root / "other").mkdir()
    (root / "other/passwd").write_text(CHANGED)
    (root / "etc/passwd").unlink()
    (root / "etc").rmdir()
    (root / "etc").symlink_to("other")


@pytest.mark.parametrize("change", [write, replace, replace_directory])
def test_a_change_of_the_tables_is_seen(store: Store, change: Callable[[Path], object]) -> None:
    accounts = Accounts()
    _, base = step(store, accounts, None, write_base)
    before, changed = step(store, accounts, base, change)

    after, _ = step(store, accounts, changed, lambda root: None)

    assert (before and before.uid, after and after.uid) == (7, 70)


def link_directory(root: Path) -> None:
    (root / "etc").rename(root / "usr-etc")
    (root / "etc").symlink_to("usr-etc")


def link_table(root: Path) -> None:
    (root / "usr-etc").mkdir()
    (root / "etc/passwd").rename(root / "usr-etc/passwd")
    (root / "etc/passwd").symlink_to("../usr-etc/passwd")


@pytest.mark.parametrize("link", [link_directory, link_table])
def test_tables_behind_a_link_are_looked_up_each_time(
    store: Store, lookups: list[str], link: Callable[[Path], object]
) -> None:
    def base(root: Path) -> None:
        write_base(root)
        link(root)

    accounts = Accounts()
    _, bottom = step(store, accounts, None, base)
    _, changed = step(
        store, accounts, bottom, lambda root: (root / "usr-etc/passwd").write_text(CHANGED)
    )

    after, _ = step(store, accounts, changed, lambda root: None)

    assert after is not None
    assert after.uid == 70
    assert lookups == ["ada", "ada"]


def test_an_unknown_user_is_looked_for_again(store: Store) -> None:
    accounts = Accounts()
    _, base = step(store, accounts, None, write_base)

    for _ in range(2):
        active = store.snapshots.prepare(base)
        with pytest.raises(InputError, match="unable to find user bob"):
            accounts.find(active, "bob")
        active.discard()
