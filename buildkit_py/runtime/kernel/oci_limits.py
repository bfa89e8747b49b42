"""Setting the limits of a container: which rows go to which of its cgroups, and writing them.

Everything that can be refused without the kernel is refused before the first write.
"""

from __future__ import annotations

import errno
import os

from buildkit_py.core.data import replace
from buildkit_py.core.errors import HostError
from buildkit_py.runtime.kernel import (
    oci_cgroup_files,
    oci_device_rules,
    oci_resources,
    oci_resources_v1,
    oci_resources_v2,
)
from buildkit_py.runtime.kernel.oci_cgroup_files import has, read_or_empty, write
from buildkit_py.runtime.kernel.syscalls import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.oci.runtime_config import DeviceRule, Resources
    from buildkit_py.runtime.kernel.oci_cgroup_paths import Place
    from buildkit_py.runtime.kernel.oci_resources import Row

_RENAMED = {"io": "blkio"}


class NoController(HostError):
    """A limit was asked for, and no cgroup of the container has what sets it."""

    code = "host/cgroup-controller"


def apply(
    places: Sequence[Place], resources: Resources, *, guards_devices: bool = True
) -> list[str]:
    """Set what a new container is to have, and return warnings.

    Without any place all limits are warnings. Raises BadResource, NoController, KernelError.
    """
    oci_resources.check(resources)
    if not places:
        return _without_cgroup(resources)
    with _Opened(places) as cgroup:
        warnings = cgroup.set(resources, memsw=None)
        if guards_devices:
            cgroup.guard_devices((*resources.devices, *oci_device_rules.ALWAYS), is_new=True)
    return warnings


def update(
    places: Sequence[Place], resources: Resources, *, guards_devices: bool = True
) -> list[str]:
    """Change what is given and leave the rest, and return warnings. Raises as `apply`."""
    if not places:
        return _without_cgroup(resources)
    with _Opened(places) as cgroup:
        resources = cgroup.completed(resources)
        oci_resources.check(resources)
        warnings = cgroup.set(resources, memsw=cgroup.memsw())
        if guards_devices and resources.devices:
            cgroup.guard_devices((*resources.devices, *oci_device_rules.ALWAYS), is_new=False)
    return warnings


def _without_cgroup(resources: Resources) -> list[str]:
    rows = oci_resources_v2.rows(resources, lambda _: False)
    settings = [row.setting for row in rows if row.text != "max"]
    settings += oci_resources_v2.unknown(resources)
    return [f"`{name}` is not set: no cgroup can be made here" for name in dict.fromkeys(settings)]


class _Opened:
    """A container's directories while limits are written."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = places
        self.unified = -1
        self.v1: dict[str, int] = {}
        self.available: frozenset[str] = frozenset()

    def __enter__(self) -> _Opened:
        try:
            for place in self.places:
                fd = oci_cgroup_files.open_directory(place.mount, place.path)
                if place.unified:
                    self.unified = fd
                    self.available = frozenset(read_or_empty(fd, "cgroup.controllers").split())
                else:
                    self.v1.update(dict.fromkeys(place.controllers, fd))
        except OSError as error:
            self.__exit__()
            raise HostError(
                f"cgroup: {error.strerror} ({error.filename})", code="host/cgroup"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        for fd in {self.unified, *self.v1.values()}:
            if fd >= 0:
                os.close(fd)

    def set(self, resources: Resources, *, memsw: int | None) -> list[str]:
        """Write all limits and return warnings. memsw: see oci_resources_v1.rows"""
        warnings: list[str] = []
        work = [
            (row, fd)
            for row in self._rows(resources, memsw)
            if (fd := self._place(row)) is not None
        ]
        if self.unified >= 0 and not self._has_v1():
            warnings += [
                f"`{name}` is not set: cgroup2 does not have it"
                for name in oci_resources_v2.unknown(resources)
            ]
        later: list[tuple[Row, int]] = []
        for row, fd in work:
            # Quota, period and burst bound each other: which must come first depends on what
            # stands there. The kernel says no, and yes after the others.
            if not _write(row, fd, warnings, may_wait=row.controller == "cpu"):
                later.append((row, fd))
        for row, fd in later:
            _write(row, fd, warnings, may_wait=False)
        return warnings

    def _has_v1(self) -> bool:
        """Tell whether v1 has controllers here, and not just a name."""
        return any("=" not in name for name in self.v1)

    def _rows(self, resources: Resources, memsw: int | None) -> list[Row]:
        """Choose for each controller the table of the world it is in."""
        # v1 knows by itself what stands there: memory and swap need not be said together.
        of_two = (
            replace(resources, memory=type(resources.memory)())
            if "memory" in self.v1
            else resources
        )
        two = list(oci_resources_v2.rows(of_two, self._has_unified))
        if not self._has_v1():
            return two
        moved = {_RENAMED.get(name, name) for name in self.available}
        blkio = self.v1.get("blkio", -1)
        one = oci_resources_v1.rows(
            resources, lambda name: blkio >= 0 and has(blkio, name), memsw=memsw
        )
        by_hand = [row for row in two if row.setting.startswith("unified.")]
        return [
            *(row for row in one if row.controller not in moved),
            *(row for row in two if row.controller in self.available and row not in by_hand),
            *by_hand,
        ]

    def _has_unified(self, name: str) -> bool:
        return self.unified >= 0 and has(self.unified, name)

    def _place(self, row: Row) -> int | None:
        """Return the directory for a row, None for one that may be passed over."""
        controller = row.controller
        by_hand = row.setting.startswith("unified.")
        if controller in self.v1 and not by_hand:
            return self.v1[controller]
        # `cgroup.max.depth` and the like belong to no controller.
        if self.unified >= 0 and controller in (*self.available, "cgroup"):
            return self.unified
        if by_hand and self._has_unified(row.file):
            return self.unified
        if row.lacking == "ignore":
            return None
        raise NoController(
            f"`linux.resources.{row.setting}` cannot be set: "
            f"no cgroup of the controller `{controller}` is here",
        )

    def memsw(self) -> int | None:
        """Return the limit of v1 on memory and swap together that stands now."""
        if "memory" not in self.v1:
            return None
        text = read_or_empty(self.v1["memory"], "memory.memsw.limit_in_bytes").strip()
        return int(text) if text else None

    def completed(self, resources: Resources) -> Resources:
        """Add what cgroup2 needs to know of the present to change a part. Raises HostError."""
        if self.unified < 0:
            return resources
        memory, cpu = resources.memory, resources.cpu
        if "memory" in self.available:
            self._check_before(resources)
            if memory.limit is None and memory.swap and memory.swap > 0:
                text = read_or_empty(self.unified, "memory.max").strip()
                memory = replace(memory, limit=int(text) if text.isdigit() else None)
        if "cpu" in self.available and cpu.period and not cpu.quota:
            quota = read_or_empty(self.unified, "cpu.max").partition(" ")[0]
            cpu = replace(cpu, quota=int(quota) if quota.isdigit() else -1)
        return replace(resources, memory=memory, cpu=cpu)

    def _check_before(self, resources: Resources) -> None:
        """Refuse a limit below what is used: the kernel would start to kill."""
        memory = resources.memory
        if not memory.check_before_update or not memory.limit or memory.limit < 0:
            return
        used = int(read_or_empty(self.unified, "memory.current").strip() or 0)
        if memory.limit < used:
            raise HostError(
                f"`memory.limit` would be below what is used now: {memory.limit} < {used}",
                code="host/cgroup",
            )

    def guard_devices(self, rules: Sequence[DeviceRule], *, is_new: bool) -> None:
        """Let exactly these devices be used. v1 where it guards, else cgroup2."""
        if "devices" in self.v1:
            fd = self.v1["devices"]
            listing = read_or_empty(fd, "devices.list")
            always = set(oci_device_rules.v1_lines(oci_device_rules.ALWAYS))
            if is_new and listing.startswith("a"):
                lines = [("devices.deny", "a"), *oci_device_rules.v1_lines(rules)]
            else:
                lines = oci_device_rules.v1_changes(listing, rules)
            for file, line in lines:
                try:
                    write(fd, file, line)
                except OSError as error:
                    # Nobody asked for these; a container that we are in may not have them either.
                    if error.errno == errno.EPERM and (file, line) in always:
                        continue
                    number = error.errno or 0
                    raise KernelError("write", f"{file} = {line}", number) from None
        elif self.unified >= 0:
            oci_device_rules.guard(self.unified, rules)
        else:
            raise NoController("devices cannot be guarded: no cgroup of `devices` is here")


def _write(row: Row, fd: int, warnings: list[str], *, may_wait: bool) -> bool:
    """Write a row and tell whether that is settled; False: once more, after the others."""
    try:
        write(fd, row.file, row.text)
    except FileNotFoundError:
        if row.lacking == "refuse":
            raise NoController(
                f"`linux.resources.{row.setting}` cannot be set: "
                f"the kernel has no `{row.file}` here",
            ) from None
        if row.lacking == "warn":
            warnings.append(f"`{row.setting}` is not set: the kernel has no `{row.file}`")
    except OSError as error:
        if row.lacking == "ignore" and error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            return True
        if may_wait and error.errno == errno.EINVAL:
            return False
        raise KernelError(
            "write",
            f"{row.file} = {row.text}",
            error.errno or 0,
            detail=f"for `linux.resources.{row.setting}`",
        ) from None
    return True
