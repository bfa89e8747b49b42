"""Containers without a mount namespace of their own: in one that is joined, or the machine's.

Their root is a directory of that namespace, by chroot(2). What is mounted there stays when the
container is gone, so on the machine itself nothing is mounted.
"""

from __future__ import annotations

import os

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.oci.runtime_config import Config
    from buildkit_py.runtime.setup import Workspace


def check(config: Config) -> None:
    """Raise InputError for what would stay on this machine, or change it."""
    linux = config.linux
    refused = []
    if config.root_readonly:
        refused.append("root.readonly")
    if linux.rootfs_propagation:
        refused.append("linux.rootfsPropagation")
    if linux.namespace("mount") is None:
        refused += ["mounts"] * bool(config.mounts)
        if linux.namespace("user") is not None:
            refused.append("linux.namespaces: `user`")
    if refused:
        raise InputError(
            f"config.json: {refused[0]}: needs a mount namespace of the container's own",
            code="runtime/needs-mount-namespace", hint='add `{"type": "mount"}` to its namespaces',
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FindRoot:
    """Open the directory that becomes the root, without mounting it."""

    path: str

    def describe(self) -> str:
        return f"root `{self.path}`, not mounted"

    def run(self, work: Workspace) -> None:
        work.root = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


@dataclass(frozen=True, slots=True)
class EnterRoot:
    """chroot(2): who has CAP_SYS_CHROOT leaves it again."""

    def describe(self) -> str:
        return "chroot"

    def run(self, work: Workspace) -> None:
        os.fchdir(work.root)
        os.chroot(".")
        os.chdir("/")
