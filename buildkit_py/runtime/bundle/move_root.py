"""`--no-pivot`: a root that is moved over the machine's, which an initramfs cannot give up."""

from __future__ import annotations

import errno
import os

from buildkit_py.core.data import dataclass
from buildkit_py.runtime.kernel import mount_table, mounts
from buildkit_py.runtime.kernel.mounts import MOUNT_ATTR_RDONLY
from buildkit_py.runtime.kernel.syscalls import KernelError
from buildkit_py.runtime.setup import Workspace

_REVEALING = ("proc", "sysfs")


@dataclass(frozen=True, slots=True)
class MoveRoot:
    """Put the container's root over the machine's, which stays beneath it and out of sight.

    The machine's /proc and /sys go before: what hides parts of the container's own would not
    hide those, for a program that finds a way beneath. As runc's msMoveRoot.
    """

    read_only: bool

    def describe(self) -> str:
        return f"move the root to /, {'read-only' if self.read_only else 'writable'}"

    def run(self, work: Workspace) -> None:
        if self.read_only:
            mounts.mount_setattr("", at=work.root, set_=MOUNT_ATTR_RDONLY)
        # Whatever is mounted on / now, the host's need not hear of it.
        mounts.mount("", "/", "", mounts.MS_SLAVE)
        own = os.readlink(f"/proc/self/fd/{work.root}").rstrip("/") + "/"
        for row in reversed(mount_table.read()):
            if row.kind in _REVEALING and not f"{row.place}/".startswith(own):
                _remove(row.place)
        os.fchdir(work.root)
        mounts.mount(".", "/", "", mounts.MS_MOVE)
        os.chroot(".")
        os.chdir("/")


def _remove(place: str) -> None:
    """Unmount, or hide beneath an empty directory what a user namespace may not unmount."""
    try:
        mounts.mount("", place, "", mounts.MS_PRIVATE | mounts.MS_REC)
        mounts.umount2(place)
    except KernelError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise
        mounts.mount("tmpfs", place, "tmpfs", 0, "size=0,nr_inodes=2")
