"""Where cgroups of ours go on a machine: which hierarchies it has, what can be limited there.

Looking changes two things, both of cgroup2: the cgroup that ours will be in hands its controllers
down, and inside a container the processes in that cgroup move into a child.
"""

from __future__ import annotations

import contextlib
import os

from buildkit_py.core.data import dataclass
from buildkit_py.runtime.kernel import device_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

BASE = "buildkit-py"
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where cgroups of ours go on this machine.

    unified: directory in the cgroup2 hierarchy in which ours is made, or ""
    controllers: those of `_CONTROLLERS` that cgroup2 hands down to it
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
    controllers = hand_down(unified) if unified else frozenset()
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
    return "memory" in _words(f"{unified}/cgroup.controllers") if unified else False


def needs_scope() -> bool:
    """Tell whether a user without root has cgroup2 and no cgroup in it in which ours could be."""
    unified_mount, _ = _mounts()
    return bool(unified_mount) and not _nearest_writable(unified_mount, own_paths().get("", "/"))


def _mounts() -> tuple[str, list[tuple[str, str]]]:
    """Return the mount point of cgroup2, or "", and (controller, mount point) of v1.

    A mount that another one hides is listed too, but cannot be reached.
    """
    unified = ""
    v1: list[tuple[str, str]] = []
    with open("/proc/self/mountinfo") as file:
        for line in file:
            head, _, tail = line.partition(" - ")
            root, place = head.split(" ")[3:5]
            kind, _, options = tail.split(" ", 2)
            if not kind.startswith("cgroup") or not os.path.exists(f"{place}/cgroup.procs"):
                continue
            if root.startswith("/.."):
                continue  # above the root of our cgroup namespace no process of ours can be born
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
    """Return the nearest delegated directory, or ""; those above our own cgroup come first.

    Our own holds processes, which would have to move, see `is_free`. To start a process elsewhere,
    the common ancestor's cgroup.procs must be writable: Documentation/admin-guide/cgroup-v2.rst.
    """
    if ".." in own.split("/"):
        return ""
    above = [own.rstrip("/")]
    while above[-1]:
        above.append(above[-1].rpartition("/")[0])
    for path in (*above[1:], above[0]):
        place = mount + path
        if os.access(place, os.W_OK) and os.access(f"{place}/cgroup.procs", os.W_OK):
            return place
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


def hand_down(path: str) -> frozenset[str]:
    """Let children of a cgroup2 have the controllers of `_CONTROLLERS`; return those they have."""
    wanted = _words(f"{path}/cgroup.controllers") & frozenset(_CONTROLLERS)
    if not wanted <= _words(f"{path}/cgroup.subtree_control") and is_free(path):
        let_have(path, wanted)
    return _words(f"{path}/cgroup.subtree_control") & wanted


def is_free(path: str) -> bool:
    """Tell whether a cgroup2 may hand controllers down: it has no processes, or is the real root.

    Asked for them with processes in it, it would hand down those for threads, and its children
    could have no processes any more. If it is our own, which we see all of, as in a container, or
    were given, as by `Delegate=` of systemd, the processes move into a child, as docker-in-docker,
    buildkitd and podman have it.
    """
    if not os.path.exists(f"{path}/cgroup.type"):
        return True
    if str(os.getpid()) in _words(f"{path}/cgroup.procs"):
        _make_room(path)
    return not _words(f"{path}/cgroup.procs")


def _words(path: str) -> frozenset[str]:
    try:
        return frozenset(read(path).split())
    except OSError:
        return frozenset()


def _make_room(path: str) -> None:
    """Move the processes of a cgroup into its child `init`. Some may stay; the caller looks."""
    inner = os.path.join(path, "init")
    with contextlib.suppress(OSError):
        os.makedirs(inner, mode=0o755, exist_ok=True)
        for _ in range(100):
            # Those who are born meanwhile are found the next time; 0 is who cannot be named here.
            pids = [pid for pid in read(f"{path}/cgroup.procs").split() if pid != "0"]
            if not pids:
                return
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    write(f"{inner}/cgroup.procs", pid)


def read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 65536).decode()
    finally:
        os.close(fd)


def write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def let_have(path: str, controllers: frozenset[str]) -> None:
    """Let children of a cgroup2 have controllers. One that cannot be is found missing later."""
    for name in sorted(controllers):
        with contextlib.suppress(OSError):
            write(f"{path}/cgroup.subtree_control", f"+{name}")
