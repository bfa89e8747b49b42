"""Cgroups of containers: limits, device rules, who was killed for memory; v1, v2 and both.

Each owner (a zygote) has one directory, named by its process namespace, pid and start time, in
each hierarchy that it needs; each container has one beneath it. So what a dead owner left is
found and removed by anybody's next start (`sweep`), and two owners never meet.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time

from buildkit_py.core.data import dataclass, field
from buildkit_py.core.errors import HostError
from buildkit_py.runtime.kernel import device_filter
from buildkit_py.runtime.kernel.cgroup_layout import (
    BASE,
    Layout,
    let_have,
    own_paths,
    read,
    write,
)
from buildkit_py.runtime.kernel.cgroup_limits import (
    NO_RESERVATION,
    NO_SWAP,
    unlimited,
    v1_settings,
    v2_settings,
    wanted,
)
from buildkit_py.runtime.kernel.syscalls import KernelError
from buildkit_py.runtime.spec import Limits

_RESERVATIONS = ("memory.low", "memory.soft_limit_in_bytes")


def start_time(pid: int) -> int:
    """Return when a process started, in ticks: with its pid, a name nobody else ever has.

    Raises FileNotFoundError, or ProcessLookupError, when there is no such process, or a dead one
    that nobody has reaped.
    """
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return int(fields[19])


def owner_name(pid: int) -> str:
    """Return the name of a process as an owner: its pid namespace, pid and start time."""
    return f"{os.stat('/proc/self/ns/pid').st_ino}-{pid}-{start_time(pid)}"


@dataclass(slots=True)
class Cgroup:
    """The cgroups of one container.

    directories: all of its directories, to be removed at the end
    fd: the cgroup2 directory, for CLONE_INTO_CGROUP, or -1
    join: cgroup.procs files of v1 that the child writes itself into
    warnings: limits that cannot be set here
    """

    directories: list[str] = field(default_factory=list)
    fd: int = -1
    join: list[int] = field(default_factory=list)
    memory: str = ""
    warnings: list[str] = field(default_factory=list)

    def out_of_memory(self) -> bool:
        """Tell whether the kernel killed something in here for want of memory."""
        if not self.memory:
            return False
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                words = read(f"{self.memory}/{name}").split()
                return int(dict(zip(words[::2], words[1::2], strict=True)).get("oom_kill", 0)) > 0
        return False

    def enter(self) -> tuple[int, list[int]]:
        """Open what a further process needs to be in here: `fd` and `join` anew, the caller's."""
        fd, join = -1, []
        for path in self.directories:
            if os.path.exists(f"{path}/cgroup.controllers"):
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            else:
                join.append(os.open(f"{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
        return fd, join

    def close(self) -> None:
        """Close descriptors that only the start needs."""
        for fd in (self.fd, *self.join):
            if fd >= 0:
                os.close(fd)
        self.fd = -1
        self.join = []

    def remove(self) -> None:
        """Remove the directories; whoever was inside is dead and reaped."""
        self.close()
        for path in self.directories:
            _remove(path)


class Owner:
    """All cgroups of one process that makes containers. Made in that process."""

    def __init__(self, layout: Layout | None) -> None:
        self.layout = layout
        self.name = owner_name(os.getpid()) if layout else ""
        self.number = 0
        self.made: list[str] = []
        self.moved: dict[str, str] = {}
        if layout is None:
            return
        if layout.unified:
            self._make_unified(layout)
        if layout.devices == "v1":
            self._guard_devices_v1(dict(layout.v1)["devices"])

    def _make_unified(self, layout: Layout) -> None:
        base = os.path.join(layout.unified, BASE)
        self._make(base, self.name)
        let_have(base, layout.controllers)
        let_have(f"{base}/{self.name}", layout.controllers)
        if layout.devices == "bpf":
            fd = os.open(f"{base}/{self.name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                device_filter.attach(fd)
            finally:
                os.close(fd)

    def _make(self, base: str, name: str) -> str:
        """Make base/name; another owner may remove an empty base at the same moment."""
        path = os.path.join(base, name)
        for _ in range(100):
            with contextlib.suppress(FileExistsError):
                os.mkdir(base, 0o755)
            try:
                os.mkdir(path, 0o755)
            except FileNotFoundError:
                continue
            except FileExistsError:
                pass
            self.made.append(path)
            return path
        raise HostError(f"cgroup `{path}` cannot be made", code="host/cgroup")

    def _guard_devices_v1(self, parent: str) -> None:
        """Enter a cgroup with docker's device rules: children are born in it, at no cost."""
        before = own_paths().get("devices", "/")
        path = self._make(os.path.join(parent, BASE), self.name)
        write(f"{path}/devices.deny", "a")
        for line in device_filter.V1_LINES:
            write(f"{path}/devices.allow", line)
        write(f"{path}/cgroup.procs", "0")
        self.moved["devices"] = parent + before.rstrip("/")

    def create(self, limits: Limits) -> Cgroup:
        """Make the cgroups that a container with these limits needs. Raises HostError."""
        cgroup = Cgroup()
        self.number += 1
        name = str(self.number)
        if self.layout is None:
            cgroup.warnings += [
                unlimited(what, controller, anywhere=False)
                for controller, what in wanted(limits).items()
            ]
            return cgroup
        try:
            self._create(self.layout, name, limits, cgroup)
        except OSError as error:
            cgroup.remove()
            raise HostError(
                f"cgroup: {error.strerror} ({error.filename})", code="host/cgroup"
            ) from None
        except BaseException:
            cgroup.remove()
            raise
        return cgroup

    def _create(self, layout: Layout, name: str, limits: Limits, cgroup: Cgroup) -> None:
        if layout.unified:
            path = os.path.join(layout.unified, BASE, self.name, name)
            os.mkdir(path, 0o755)
            cgroup.directories.append(path)
            if "memory" in layout.controllers:
                cgroup.memory = path
            for file, text in v2_settings(limits):
                if file.partition(".")[0] in layout.controllers:
                    _limit(cgroup, limits, f"{path}/{file}", text)
            cgroup.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        v1 = dict(layout.v1)
        settings = v1_settings(limits)
        for controller, what in wanted(limits).items():
            if controller in layout.controllers:
                continue
            if controller not in v1:
                cgroup.warnings.append(unlimited(what, controller, anywhere=True))
                continue
            owner = os.path.join(v1[controller], BASE, self.name)
            if not os.path.isdir(owner):
                self._make(os.path.join(v1[controller], BASE), self.name)
                if controller == "cpuset":
                    _inherit_cpuset(v1[controller], BASE, self.name)
            path = os.path.join(owner, name)
            os.mkdir(path, 0o755)
            cgroup.directories.append(path)
            if controller == "cpuset":
                _inherit_cpuset(owner, name)
            if controller == "memory":
                cgroup.memory = path
            for file, text in settings:
                if file.partition(".")[0] == controller:
                    _limit(cgroup, limits, f"{path}/{file}", text)
            cgroup.join.append(os.open(f"{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))

    def close(self) -> None:
        """Leave and remove what is ours; containers are gone."""
        for controller, path in self.moved.items():
            with contextlib.suppress(OSError):
                write(f"{path}/cgroup.procs", "0")
            self.moved = {key: value for key, value in self.moved.items() if key != controller}
        for path in self.made:
            _remove(path)
            with contextlib.suppress(OSError):  # others use the base
                os.rmdir(os.path.dirname(path))
        self.made = []


def _limit(cgroup: Cgroup, limits: Limits, path: str, text: str) -> None:
    """Write a limit; a kernel without the file (swap accounting, say) cannot have it."""
    file = os.path.basename(path)
    try:
        write(path, text)
    except FileNotFoundError:
        if file in _RESERVATIONS:
            cgroup.warnings.append(NO_RESERVATION)
        elif "swap" not in file and "memsw" not in file:
            raise
        elif limits.swap_bytes:
            cgroup.warnings.append(NO_SWAP)
    except OSError as error:
        raise KernelError("write", f"{path} = {text}", error.errno or 0) from None


def _inherit_cpuset(parent: str, *names: str) -> None:
    """Fill empty cpuset files from above: an empty one lets no process in."""
    for name in names:
        child = os.path.join(parent, name)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not read(f"{child}/{file}").strip():
                write(f"{child}/{file}", read(f"{parent}/{file}").strip())
        parent = child


def sweep(layout: Layout | None) -> int:
    """Kill and remove what dead owners left; returns how many directories that were."""
    removed = 0
    here = os.stat("/proc/self/ns/pid").st_ino
    for base in layout.bases() if layout else ():
        try:
            names = os.listdir(base)
        except FileNotFoundError:
            continue
        for name in names:
            if _is_dead(name, here):
                _kill(os.path.join(base, name))
                _remove(os.path.join(base, name))
                removed += 1
        with contextlib.suppress(OSError):  # somebody lives there
            os.rmdir(base)
    return removed


def _is_dead(name: str, namespace: int) -> bool:
    """Tell whether an owner is one of this pid namespace, and no more. Others cannot be judged."""
    parts = name.split("-")
    if len(parts) != 3 or not all(part.isdigit() for part in parts) or int(parts[0]) != namespace:
        return False
    try:
        return start_time(int(parts[1])) != int(parts[2])
    except (FileNotFoundError, ProcessLookupError):
        return True


def _folders(path: str) -> list[str]:
    """Return a cgroup and all beneath it, innermost first."""
    return [folder for folder, _, _ in os.walk(path, topdown=False)]


def _kill(path: str) -> None:
    """Kill everything in a cgroup and beneath it."""
    try:
        write(f"{path}/cgroup.kill", "1")  # cgroup2, Linux 5.14
        return
    except OSError:
        pass
    for folder in _folders(path):
        with contextlib.suppress(FileNotFoundError):
            for pid in read(f"{folder}/cgroup.procs").split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


def _remove(path: str) -> None:
    """Remove a cgroup tree. A process that is dying keeps its cgroup busy for a moment."""
    for folder in _folders(path):
        for attempt in range(60):
            try:
                os.rmdir(folder)
                break
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                time.sleep(0.001 * min(attempt + 1, 50))
