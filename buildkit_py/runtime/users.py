"""Who a container runs as: `USER` text to ids, by the image's own tables.

The tables are the image's and so hostile: they are opened beneath its root, must be regular
files (a FIFO would make us wait for ever, a device node could do anything), and are read up to a
bound. Nothing of the host's name service is asked. Rules: moby/sys user.GetExecUser; numbers are
stricter: digits only, at most 2^31-1 (CVE-2026-30892).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from buildkit_py.core.errors import InputError
from buildkit_py.runtime.kernel.paths import open_beneath
from buildkit_py.runtime.spec import Account

MOST_BYTES = 4 << 20
_HIGHEST = (1 << 31) - 1


class UnknownAccount(InputError):
    """A user or group is not in the image's tables, or its number is out of range."""

    code = "runtime/unknown-account"


def resolve_account(root_fd: int, text: str, *, groups: tuple[str, ...] = ()) -> Account:
    """Return the ids for `user`, `uid`, `user:group` and so on; `""` is root.

    root_fd: the container's root, or a snapshot's
    groups: further groups by name or number (`--group-add`)
    A user without a group has the table's group and is in all groups that list it; an unknown
    number has group 0 and the home `/`. Raises UnknownAccount.
    """
    user, colon, group = text.partition(":")
    if colon and (not user or not group):
        raise UnknownAccount(f"`{text}` is not a user and a group", hint="write `USER name:group`")
    wanted = _number(user) if user else 0
    uid, gid, home, name = -1, 0, "/", ""
    for row in _rows(root_fd, "etc/passwd", fields=6):
        ids = _entry(row[2]), _entry(row[3])
        if ids[0] is None or ids[1] is None:
            continue
        if ids[0] == wanted if wanted is not None else row[0] == user:
            name, home = row[0], row[5] if row[5].startswith("/") else "/"
            uid, gid = ids[0], ids[1]
            break
    if uid < 0:
        if wanted is None:
            raise UnknownAccount(
                f"unable to find user {user}: no matching entries in passwd file",
                hint="add it to the image's `/etc/passwd`, or give a number such as `1000`",
            )
        uid = wanted
        home = "/root" if not user else "/"
    extra: list[int] = []
    if group:
        gid = _find_group(root_fd, group)
    elif name:
        extra = [
            number
            for row in _rows(root_fd, "etc/group", fields=4)
            if name in row[3].split(",") and (number := _entry(row[2])) is not None
        ]
    extra += [_find_group(root_fd, each) for each in groups]
    # The group itself is part of the list, or dropping it would gain access: CVE-2022-36109.
    return Account(uid, gid, tuple(dict.fromkeys((gid, *extra))), home)


def _find_group(root_fd: int, group: str) -> int:
    wanted = _number(group)
    if wanted is not None:
        return wanted
    for row in _rows(root_fd, "etc/group", fields=3):
        number = _entry(row[2])
        if row[0] == group and number is not None:
            return number
    raise UnknownAccount(
        f"unable to find group {group}: no matching entries in group file",
        hint="add it to the image's `/etc/group`, or give a number such as `1000`",
    )


def _number(text: str) -> int | None:
    """Return the number that `text` is, or None for a name. Raises UnknownAccount if too big."""
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 10 or int(text) > _HIGHEST:
        raise UnknownAccount(f"`{text}`: uids and gids must be in range 0-{_HIGHEST}")
    return int(text)


def _entry(text: str) -> int | None:
    """Return the number in a table's entry, or None: such an entry is nobody we can run as.

    Tables do hold numbers out of range: nfsnobody was 4294967294 for years.
    """
    try:
        return _number(text)
    except UnknownAccount:
        return None


def _rows(root_fd: int, path: str, *, fields: int) -> Iterator[list[str]]:
    """Yield the lines of a table that have enough fields, split. A missing table has none."""
    for line in _read(root_fd, path).decode("utf-8", "surrogateescape").split("\n"):
        row = line.strip().split(":")
        if len(row) >= fields and row[0] and not row[0].startswith("#"):
            yield row


def _read(root_fd: int, path: str) -> bytes:
    """Read a regular file beneath the root. Raises InputError for anything else there."""
    try:
        place = open_beneath(root_fd, path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise InputError(
            f"`/{path}` of the image cannot be read: {error.strerror}", code="runtime/tables"
        ) from None
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            raise InputError(f"`/{path}` of the image is not a file", code="runtime/tables")
        # The inode is the right one now; opening it anew cannot reach another.
        fd = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(place)
    with open(fd, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise InputError(
            f"`/{path}` of the image is larger than {MOST_BYTES} bytes", code="runtime/tables"
        )
    return data
