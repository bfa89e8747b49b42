"""`--chown`: names and numbers, looked up in the image that is being made."""

from __future__ import annotations

from buildkit_py.build.steps.copy import Owner
from buildkit_py.runtime.users import resolve_account


def resolve_owner(root: int, text: str) -> Owner:
    """Return the owner that `--chown` means.

    root: descriptor of the file system whose /etc/passwd and /etc/group count
    text: `3` is 3:3, `bob` has the group of the table, `bob:staff`, `:50` is 0:50
    Raises UnknownAccount.
    """
    user, colon, group = text.partition(":")
    gid = resolve_account(root, f"0:{group}").gid if group else None
    if not user:
        return Owner(0, gid or 0)
    if user.isascii() and user.isdigit():
        uid = resolve_account(root, f"{user}:0").uid
        return Owner(uid, uid if gid is None and not colon else gid or 0)
    account = resolve_account(root, user)
    return Owner(account.uid, account.gid if gid is None else gid)
