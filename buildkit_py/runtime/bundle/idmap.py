"""Idmapped mounts: files that belong to other ids in the container than on the machine.

Only who rules the file system may map it. So this machine's trees are opened and mapped before
the container is born, and handed to it by descriptor; what it mounts newly it maps itself.
A map is a user namespace that a process of a moment has; mount_setattr(2), "ID-mapped mounts".
"""

from __future__ import annotations

import errno
import os

from buildkit_py.core.data import dataclass, replace
from buildkit_py.core.errors import HostError
from buildkit_py.runtime.bundle.ids import write_maps
from buildkit_py.runtime.bundle.setup import MountEntry
from buildkit_py.runtime.kernel import mount_table, mounts, processes
from buildkit_py.runtime.kernel.mounts import MOUNT_ATTR_IDMAP
from buildkit_py.runtime.kernel.syscalls import CLONE_NEWUSER, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.oci.runtime_config import Config, IdMapping
    from buildkit_py.runtime.setup import SetupOp, Workspace


@dataclass(frozen=True, slots=True)
class MountMapped:
    """An entry of `mounts` with mapped ids; without maps of its own it has the container's.

    tree: of a bind, mapped already; users: the namespace with the map, for a new file system
    """

    entry: MountEntry
    uids: tuple[IdMapping, ...]
    gids: tuple[IdMapping, ...]
    tree: int = -1
    users: int = -1

    def describe(self) -> str:
        return f"{self.entry.describe()}, ids mapped"

    def run(self, work: Workspace) -> None:
        tree = self.tree
        if tree < 0:
            tree = self.entry.new(work)
            try:
                _map(tree, self.users, recursive=False)
            except KernelError as error:
                raise _refused(self.entry.destination, self.entry.kind, error) from None
        self.entry.attach(work, tree)


def prepare(
    operations: tuple[SetupOp, ...], config: Config, user_fd: int
) -> tuple[tuple[SetupOp, ...], list[int]]:
    """Return the operations with what they need opened, and the descriptors, to be closed.

    user_fd: a user namespace that the container joins, or -1
    """
    made: list[SetupOp] = []
    fds: list[int] = []
    linux = config.linux
    try:
        for each in operations:
            if not isinstance(each, MountMapped):
                made.append(each)
                continue
            if not each.uids and user_fd >= 0:
                users = os.dup(user_fd)
            else:
                uids, gids = each.uids or linux.uid_mappings, each.gids or linux.gid_mappings
                users = _namespace(uids, gids)
            fds.append(users)
            if each.entry.options.bind is None:
                made.append(replace(each, users=users))
            else:
                tree = _open(each.entry, users)
                fds.append(tree)
                made.append(replace(each, tree=tree))
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return tuple(made), fds


def _namespace(uids: tuple[IdMapping, ...], gids: tuple[IdMapping, ...]) -> int:
    """Return a descriptor of a user namespace that has these maps and nobody in it."""
    until, end = os.pipe()
    try:
        pid, pidfd = processes.clone3(CLONE_NEWUSER)
        if pid == 0:
            os.close(end)
            os.read(until, 1)  # to its end, also when we are killed
            os._exit(0)
        try:
            write_maps(pid, uids, gids)
            return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(end)
            end = -1
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
            os.close(pidfd)
    finally:
        os.close(until)
        if end >= 0:
            os.close(end)


def _open(entry: MountEntry, users: int) -> int:
    """Open the source of a bind, mapped, mounted nowhere yet."""
    try:
        tree = entry.open_bind()
    except KernelError as error:
        raise _refused(entry.source, "", error) from None
    try:
        _map(tree, users, recursive=bool(entry.options.idmap))
    except KernelError as error:
        os.close(tree)
        place, kind = _culprit(entry, users)
        raise _refused(place, kind, error) from None
    return tree


def _map(tree: int, users: int, *, recursive: bool) -> None:
    mounts.mount_setattr("", at=tree, set_=MOUNT_ATTR_IDMAP, userns_fd=users, recursive=recursive)


def _culprit(entry: MountEntry, users: int) -> tuple[str, str]:
    """Find out by trying which mount of a tree refuses: (where, kind of its file system)."""
    own = os.path.realpath(entry.source)
    if entry.options.idmap and entry.options.bind:
        for row in {row.place: row for row in mount_table.read()}.values():
            if not row.place.startswith(own + "/"):
                continue
            try:
                tree = mounts.open_tree(row.place)
            except KernelError:  # hidden beneath another
                continue
            try:
                _map(tree, users, recursive=False)
            except KernelError:
                return row.place, row.kind
            finally:
                os.close(tree)
    return entry.source, mount_table.holder(own).kind


def _refused(place: str, kind: str, error: KernelError) -> HostError:
    what = f"`{place}`" + (f", a file system `{kind}`," if kind else "")
    hint = None
    if os.geteuid() != 0:
        hint = "only root may map the ids of this machine's file systems"
    elif error.errno == errno.EINVAL:
        hint = "this kind of file system, or this kernel, knows no mapped ids"
    elif error.errno == errno.EPERM:
        hint = "it may be mapped already, or belong to another user namespace"
    text = os.strerror(error.errno)
    return HostError(f"the ids of {what} cannot be mapped: {text}", code="host/idmap", hint=hint)
