"""Which cgroup directories an OCI container has: `cgroupsPath` and a machine to places, pure.

`detect` looks at the machine; `plan_paths` only computes. An absolute `cgroupsPath` starts at
each hierarchy's mount point, a relative one beneath a directory of ours. A user without root gets
places beneath the nearest cgroup that is the user's, or none.
"""

from __future__ import annotations

import os

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.runtime.kernel.cgroup_layout import own_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = "pyruntime"
"""Not `cgroups.BASE`: the sweep there judges owners by names, and an id may look like one."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted hierarchy of cgroups.

    controllers: of v1, with `name=systemd` as the kernel writes it; () for cgroup2
    base: directory beneath the mount point in which cgroups can be made, "" for the mount point
        itself; None where we may not
    """

    mount: str
    controllers: tuple[str, ...] = ()
    unified: bool = False
    base: str | None = ""


@dataclass(frozen=True, slots=True)
class CgroupHost:
    """systemd: whether it runs here"""

    hierarchies: tuple[Hierarchy, ...]
    rootless: bool = False
    systemd: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A container's directory in one hierarchy. path: beneath the mount point, without a slash"""

    mount: str
    path: str
    controllers: tuple[str, ...] = ()
    unified: bool = False

    @property
    def directory(self) -> str:
        return os.path.join(self.mount, self.path)


def plan_paths(
    cgroups_path: str, id: str, host: CgroupHost, *, systemd: bool = False
) -> tuple[Place, ...]:
    """Choose a container's directory in each hierarchy; none where nothing can be made. Pure.

    cgroups_path: as config.json has it, "" when it says nothing
    systemd: `--systemd-cgroup`: the path has the form `slice:prefix:name`
    Raises InputError for a path with `..` in it, HostError for systemd.
    """
    if systemd:
        _refuse_systemd(cgroups_path, host)
    if ".." in cgroups_path.split("/") or "\0" in cgroups_path:
        raise InputError(
            f"`cgroupsPath` may not have `..` in it: `{cgroups_path}`", code="runtime/cgroup-path"
        )
    if not cgroups_path and (id in ("", ".", "..") or "/" in id):
        raise InputError(f"no cgroup can have this name: `{id}`", code="runtime/cgroup-path")
    names = [name for name in cgroups_path.split("/") if name not in ("", ".")]
    if cgroups_path and not names:
        raise InputError(
            f"`cgroupsPath` names no cgroup: `{cgroups_path}`", code="runtime/cgroup-path"
        )
    inner = "/".join(names or [id])
    absolute = cgroups_path.startswith("/")
    return tuple(
        Place(
            each.mount,
            _beneath(each.base, inner, absolute=absolute),
            each.controllers,
            each.unified,
        )
        for each in host.hierarchies
        if each.base is not None
    )


def _beneath(base: str, inner: str, *, absolute: bool) -> str:
    if not absolute:
        return "/".join(part for part in (base, BASE, inner) if part)
    # What somebody without root may not make stays beneath what is theirs.
    if not base or inner.startswith(f"{base}/"):
        return inner
    return f"{base}/{inner}"


def _refuse_systemd(cgroups_path: str, host: CgroupHost) -> None:
    """Say why systemd cannot make the cgroup. Asking it over D-Bus is not written."""
    if cgroups_path and cgroups_path.count(":") != 2:
        raise InputError(
            f"with systemd `cgroupsPath` is `slice:prefix:name`, this is not: `{cgroups_path}`",
            code="runtime/cgroup-path",
        )
    reason = "is not asked by this runtime" if host.systemd else "does not run here"
    raise HostError(
        f"the cgroup is to be made by systemd, which {reason}",
        code="host/cgroup",
        hint="leave out `--systemd-cgroup` and set the engine's cgroup driver to `cgroupfs`",
    )


def detect(*, rootless: bool) -> CgroupHost:
    """Look which hierarchies are mounted, and where in them cgroups can be made."""
    found: dict[tuple[str, ...], Hierarchy] = {}
    for mount, device, names, path in _mounted():
        if names not in found and _is_reachable(mount, device):
            base = _writable(mount, path, rootless=rootless, unified=not names)
            found[names] = Hierarchy(mount, names, not names, base)
    return CgroupHost(tuple(found.values()), rootless, os.path.isdir("/run/systemd/system"))


def own_directories() -> list[tuple[tuple[str, ...], str]]:
    """Return (controllers, directory of this process) of each mounted hierarchy of v1."""
    found: dict[tuple[str, ...], str] = {}
    for mount, _, names, path in _mounted():
        if names:
            found.setdefault(names, os.path.join(mount, path.lstrip("/")))
    return list(found.items())


def _mounted() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Give mount point, device, controllers (none: cgroup2) and our own path of each hierarchy."""
    own = own_paths()
    with open("/proc/self/mountinfo") as file:
        for line in file:
            head, _, tail = line.partition(" - ")
            _, _, device, root, mount = head.split(" ")[:5]
            kind, _, options = tail.rstrip("\n").split(" ", 2)
            # The super block's options name the controllers, among others.
            names = tuple(word for word in options.split(",") if word in own)
            if kind == "cgroup2":
                yield mount, device, (), _strip(own.get("", "/"), root)
            elif kind == "cgroup" and names:
                yield mount, device, names, _strip(own[names[0]], root)


def _is_reachable(mount: str, device: str) -> bool:
    """Tell whether a mount point shows this mount, and not another one on top of it."""
    try:
        number = os.stat(mount).st_dev
    except OSError:
        return False
    return device == f"{os.major(number)}:{os.minor(number)}"


def _strip(own: str, root: str) -> str:
    """Return our own path as the mount shows it, which may be of a part of the hierarchy."""
    if root == "/":
        return own
    return own[len(root) :] or "/" if f"{own}/".startswith(f"{root}/") else "/"


def _writable(mount: str, own: str, *, rootless: bool, unified: bool) -> str | None:
    """Return the directory beneath a mount point in which cgroups can be made, or None.

    cgroup2 hands no controllers down from a cgroup with processes in it, as our own is: those
    above come first.
    """
    if not rootless:
        return "" if os.access(mount, os.W_OK) else None
    if ".." in own.split("/"):
        return None
    candidates = [own.strip("/")]
    while candidates[-1]:
        candidates.append(os.path.dirname(candidates[-1]))
    if unified and len(candidates) > 1:
        candidates = [*candidates[1:], candidates[0]]
    for path in candidates:
        place = os.path.join(mount, path)
        # To start a process elsewhere, the common ancestor's list of them must be writable.
        if os.access(place, os.W_OK) and os.access(f"{place}/cgroup.procs", os.W_OK):
            return path
    return None
