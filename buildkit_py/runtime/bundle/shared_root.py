"""`rootfsPropagation: shared`: mounts on shared binds reach the machine, and nothing else does."""

from __future__ import annotations

from buildkit_py.core.data import dataclass
from buildkit_py.runtime.kernel import mount_table, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.runtime.setup import Workspace


@dataclass(frozen=True, slots=True)
class ShareMounts:
    """Leave the machine's mounts shared with it, but that on which the root is to be mounted.

    flags: MS_SHARED, and MS_REC for all of them
    """

    root: str
    flags: int

    def describe(self) -> str:
        return "share the machine's mounts"

    def run(self, work: Workspace) -> None:
        mounts.mount("", "/", "", self.flags)
        mounts.mount("", mount_table.holder(self.root).place, "", mounts.MS_PRIVATE)
