"""What this machine gives us, found by trying and not by version numbers."""

from __future__ import annotations

import os

from buildkit_py.core.data import dataclass
from buildkit_py.runtime.kernel.cgroup_layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


@dataclass(frozen=True, slots=True)
class Host:
    """What was found, once, when the process entered its namespaces.

    rootless: we are root of a user namespace only
    ids: `all` of the machine, a `range` mapped by newuidmap, or a `single` one
    overlay: how overlays are mounted: as `kernel` root, with `userxattr`, or None when refused
    cgroups: where containers' cgroups go; None where nothing is writable
    set_groups: whether setgroups is allowed
    terminal_group: 5 where that id exists
    masked_sys: paths beneath /sys that hold the processors' temperatures (GHSA-6fw5-f8r9-fgfm)
    notices: what people should know about this machine, with what would improve it
    """

    rootless: bool
    ids: Literal["all", "range", "single"]
    overlay: Literal["kernel", "userxattr"] | None
    cgroups: Layout | None
    set_groups: bool = True
    terminal_group: int | None = 5
    machine: str = os.uname().machine
    masked_sys: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def cgroup(self) -> Literal["v1", "v2", "hybrid"] | None:
        return self.cgroups.kind if self.cgroups else None

    @property
    def lacks(self) -> tuple[str, ...]:
        """Those notices that containers may fail by: with a single id many images do not work."""
        return self.notices if self.ids == "single" else ()

    @property
    def guards_devices(self) -> bool:
        """Whether device nodes are harmless: by cgroup rules, or because the kernel refuses."""
        return self.rootless or (self.cgroups is not None and self.cgroups.guards_devices)


def thermal_paths() -> tuple[str, ...]:
    """Return the thermal_throttle directories of all processors, beneath /sys."""
    base = "devices/system/cpu"
    try:
        names = os.listdir(f"/sys/{base}")
    except OSError:
        return ()
    found = (f"{base}/{name}/thermal_throttle" for name in sorted(names) if name[3:].isdigit())
    return tuple(path for path in found if os.path.isdir(f"/sys/{path}"))
