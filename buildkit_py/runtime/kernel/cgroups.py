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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

BASE = "buildkit-py"
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
_RESERVATIONS = ("memory.low", "memory.soft_limit_in_bytes")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where cgroups of ours go on this machine.

    unified: directory in the cgroup2 hierarchy in which ours is made, or ""
    controllers: those of `_CONTROLLERS` that cgroup2 gives us
    v1: controller -> directory in which ours is made; the hybrid and old world
    devices: how devices are guarded; None in a user namespace, which needs no guard
    counts_swap: whether the kernel can limit memory and swap together
    """

    kind: Literal["v1", "v2", "hybrid"]
    unified: str
    controllers: frozenset[str]
    v1: tuple[tuple[str, str], ...]
    devices: Literal["bpf", "v1"] | None
    counts_swap: bool = True

    @property
    def guards_devices(self) -> bool:
        return self.devices is not None

    def limits(self, controller: str) -> bool:
        """Tell whether a resource of `_CONTROLLERS` can be limited here."""
        return controller in self.controllers or any(name == controller for name, _ in self.v1)

    def bases(self) -> list[str]:
        """Return the directories named `buildkit-py` in all hierarchies, existing or not."""
        parents = [self.unified] if self.unified else []
        parents += [path for _, path in self.v1]
        return [os.path.join(parent, BASE) for parent in dict.fromkeys(parents)]


def detect(*, rootless: bool) -> Layout | None:
    """Find out which hierarchies are mounted and writable; None when none is.

    A hierarchy counts when a directory can be made in it: file modes say nothing about
    read-only mounts, delegation and filters, so it is tried.
    """
    unified_mount, v1_mounts = _mounts()
    own = own_paths()
    unified = ""
    if unified_mount:
        unified = _nearest_writable(unified_mount, own.get("", "/")) if rootless else unified_mount
        unified = unified if _can_make(unified) else ""
    v1: list[tuple[str, str]] = []
    if not rootless:
        wanted = (*_CONTROLLERS, "devices")
        v1 = [(name, path) for name, path in v1_mounts if name in wanted and _can_make(path)]
    if not unified and not v1:
        return None
    controllers = _handed_down(unified, _controllers(unified)) if unified else frozenset()
    devices: Literal["bpf", "v1"] | None = None
    if not rootless:
        if unified and device_filter.is_possible():
            devices = "bpf"
        elif "devices" in dict(v1):
            devices = "v1"
    kind: Literal["v1", "v2", "hybrid"] = (
        "v2" if unified_mount and not v1_mounts else "hybrid" if unified_mount else "v1"
    )
    memory = dict(v1).get("memory", "")
    swap_is_v1 = memory and "memory" not in controllers
    counts_swap = not swap_is_v1 or os.path.exists(f"{memory}/memory.memsw.limit_in_bytes")
    return Layout(kind, unified, controllers, tuple(v1), devices, counts_swap)


def gives_to_users() -> bool:
    """Tell whether users can be given a part of the tree that limits memory: cgroup2 has it."""
    unified, _ = _mounts()
    return "memory" in _controllers(unified)


def _mounts() -> tuple[str, list[tuple[str, str]]]:
    """Return the mount point of cgroup2, or "", and (controller, mount point) of v1.

    A mount that another one hides is listed too, but cannot be reached.
    """
    unified = ""
    v1: list[tuple[str, str]] = []
    with open("/proc/self/mountinfo") as file:
        for line in file:
            head, _, tail = line.partition(" - ")
            place = head.split(" ")[4]
            kind, _, options = tail.split(" ", 2)
            if not kind.startswith("cgroup") or not os.path.exists(f"{place}/cgroup.procs"):
                continue
            if kind == "cgroup2" and not unified:
                unified = place
            elif kind == "cgroup":
                # The super block's options, last on the line, name the controllers.
                v1 += [(name, place) for name in options.split()[-1].split(",")]
    return unified, [(name, place) for name, place in v1 if name in (*_CONTROLLERS, "devices")]


def own_paths() -> dict[str, str]:
    """Return controller -> path of this process; cgroup2 has the name ""."""
    paths: dict[str, str] = {}
    with open("/proc/self/cgroup") as file:
        for line in file:
            _, names, path = line.rstrip("\n").split(":", 2)
            paths.update(dict.fromkeys(names.split(","), path))
    return paths


def _nearest_writable(mount: str, own: str) -> str:
    """Return the nearest delegated directory above our own cgroup, or "".

    Our own holds processes and so may not hand controllers down; to start a process elsewhere,
    the common ancestor's cgroup.procs must be writable: Documentation/admin-guide/cgroup-v2.rst.
    """
    path = os.path.dirname(own)
    while path.startswith("/") and ".." not in path:
        place = mount + path.rstrip("/")
        if os.access(place, os.W_OK) and os.access(f"{place}/cgroup.procs", os.W_OK):
            return place
        if path == "/":
            break
        path = os.path.dirname(path)
    return ""


def _can_make(parent: str) -> bool:
    """Tell whether a directory can be made in a hierarchy, by making one."""
    if not parent:
        return False
    if os.path.isdir(os.path.join(parent, BASE)):
        return os.access(os.path.join(parent, BASE), os.W_OK)
    try:
        os.mkdir(os.path.join(parent, BASE))
    except FileExistsError:
        return True
    except OSError:
        return False
    with contextlib.suppress(OSError):  # another process may use it already
        os.rmdir(os.path.join(parent, BASE))
    return True


def _controllers(unified: str) -> frozenset[str]:
    if not unified:
        return frozenset()
    try:
        available = _read(f"{unified}/cgroup.controllers").split()
    except OSError:
        return frozenset()
    return frozenset(available) & frozenset(_CONTROLLERS)


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 65536).decode()
    finally:
        os.close(fd)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def start_time(pid: int) -> int:
    """Return when a process started, in ticks: with its pid, a name nobody else ever has.

    Raises FileNotFoundError, or ProcessLookupError, when there is no such process, or a dead one
    that nobody has reaped.
    """
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
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
                words = _read(f"{self.memory}/{name}").split()
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
        _hand_down(layout.unified, layout.controllers)
        self._make(base, self.name)
        _hand_down(base, layout.controllers)
        _hand_down(f"{base}/{self.name}", layout.controllers)
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
        _write(f"{path}/devices.deny", "a")
        for line in device_filter.V1_LINES:
            _write(f"{path}/devices.allow", line)
        _write(f"{path}/cgroup.procs", "0")
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
                _write(f"{path}/cgroup.procs", "0")
            self.moved = {key: value for key, value in self.moved.items() if key != controller}
        for path in self.made:
            _remove(path)
            with contextlib.suppress(OSError):  # others use the base
                os.rmdir(os.path.dirname(path))
        self.made = []


def _hand_down(path: str, controllers: frozenset[str]) -> None:
    """Let children of a cgroup2 have controllers; `_handed_down` tells of which that is true."""
    for name in sorted(controllers):
        with contextlib.suppress(OSError):
            _write(f"{path}/cgroup.subtree_control", f"+{name}")


def _handed_down(path: str, controllers: frozenset[str]) -> frozenset[str]:
    """Return those controllers that children of a cgroup2 have, by giving them.

    One with processes in it cannot hand down any, unless it is the root of all:
    Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint".
    """
    switch = f"{path}/cgroup.subtree_control"
    missing = controllers - frozenset(_read(switch).split())
    if not missing:
        return controllers
    _hand_down(path, missing)
    return controllers & frozenset(_read(switch).split())


def _limit(cgroup: Cgroup, limits: Limits, path: str, text: str) -> None:
    """Write a limit; a kernel without the file (swap accounting, say) cannot have it."""
    file = os.path.basename(path)
    try:
        _write(path, text)
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
            if not _read(f"{child}/{file}").strip():
                _write(f"{child}/{file}", _read(f"{parent}/{file}").strip())
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
        _write(f"{path}/cgroup.kill", "1")  # cgroup2, Linux 5.14
        return
    except OSError:
        pass
    for folder in _folders(path):
        with contextlib.suppress(FileNotFoundError):
            for pid in _read(f"{folder}/cgroup.procs").split():
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
