"""Accounts of the steps of one build, looked up once.

Looking a user up needs the whole file system, and so a mount, which costs more than the rest of
a small step's preparation. What was found holds for the next snapshot too, as long as the step
in between left /etc alone.
"""

from __future__ import annotations

import os
import stat

from buildkit_py.runtime import users
from buildkit_py.runtime.spec import Account
from buildkit_py.store.snapshots import Active, SnapshotId


class Accounts:
    """Who a `USER` is, by the snapshot that a step stands on. Shared by all threads of a build."""

    def __init__(self) -> None:
        self._known: dict[SnapshotId, dict[str, Account]] = {}

    def find(self, active: Active, user: str) -> Account:
        """Return the account of `user` in a snapshot that nothing was written to yet.

        Raises InputError.
        """
        known = self._known.get(active.parent, {}) if active.parent is not None else {}
        if user in known:
            return known[user]
        with active.mount() as root:
            account = users.resolve_account(root, user)
            if active.parent is not None and active.lower and _tables_are_plain(root):
                self._known.setdefault(active.parent, {})[user] = account
        return account

    def commit(self, active: Active) -> SnapshotId:
        """Finish a snapshot; what is known of the one below holds where /etc is untouched."""
        known = self._known.get(active.parent) if active.parent is not None else None
        # Whatever is made, changed or removed in /etc leaves an entry `etc` in an overlay's upper
        # directory; a copy has one anyhow.
        untouched = not os.path.lexists(os.path.join(active.upper, "etc"))
        snapshot = active.commit()
        if known and untouched:
            self._known[snapshot] = dict(known)
        return snapshot


def _tables_are_plain(root_fd: int) -> bool:
    """Tell whether the tables can only be changed by their own names: no links of either kind."""
    for path, wanted in (("etc", stat.S_IFDIR), ("etc/passwd", 0), ("etc/group", 0)):
        try:
            state = os.stat(path, dir_fd=root_fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError:
            return False
        if wanted and stat.S_IFMT(state.st_mode) != wanted:
            return False
        if not wanted and (not stat.S_ISREG(state.st_mode) or state.st_nlink != 1):
            return False
    return True
