"""Entering namespaces of our own, early in a process, while it has one thread.

As root a mount namespace, so that no mount of ours is ever seen by the host or left on it. As
anybody else a user namespace around it, in which we are root: with the subordinate ids that the
administrator gave (newuidmap), or with our own id alone.
"""

from __future__ import annotations

import contextlib
import errno
import os

from buildkit_py.core.errors import HostError
from buildkit_py.runtime.host import Host, thermal_paths
from buildkit_py.runtime.kernel import cgroup_layout, mounts, processes
from buildkit_py.runtime.kernel.syscalls import CLONE_NEWNS, CLONE_NEWUSER, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, NoReturn

    Ids = Literal["all", "range", "single"]

HELPERS = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/run/wrappers/bin")
"""Where newuidmap is looked for: set-user-ID programs, so never along the caller's PATH."""

Range = tuple[int, int, int]
"""(first id inside, first id outside, how many)"""


def enter() -> Host:
    """Make this process root of namespaces of its own, and say what the machine gives.

    Call it before any thread starts and before heavy imports. Mounts of the host still appear
    here; ours never appear there. Raises HostError, saying what to do, where the kernel or a
    container around us allows no namespaces.
    """
    notices: list[str] = []
    rootless = os.geteuid() != 0
    if rootless:
        _enter_scope()
        ids = _enter_user_namespace(notices)
    else:
        ids = _existing_ids()
        rootless = ids != "all"
        _unshare(CLONE_NEWNS)
    try:
        mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_SLAVE)
    except KernelError as error:
        raise _refused(error) from None
    return probe(rootless=rootless, ids=ids, notices=notices)


def probe(*, rootless: bool, ids: Ids, notices: list[str]) -> Host:
    """Find out what works in here, by trying it. Leaves nothing behind."""
    set_groups = _set_groups_allowed()
    overlay = _probe_overlay(userxattr=rootless)
    if overlay is None:
        notices.append("overlay mounts are refused here; snapshots are copied, which is slower")
    # Limits that cannot be set here are a warning where they are asked for (cgroups.create).
    layout = cgroup_layout.detect(rootless=rootless)
    return Host(
        rootless=rootless,
        ids=ids,
        overlay=overlay,
        cgroups=layout,
        set_groups=set_groups,
        terminal_group=5 if _is_mapped(5) else None,
        masked_sys=thermal_paths(),
        notices=tuple(notices),
    )


def _enter_scope() -> None:
    """Get a cgroup from the user's systemd where we have none: a login session's is not the user's.

    Where this fails, limits are a warning, as they are without systemd.
    """
    runtime_dir = f"/run/user/{os.geteuid()}"
    if os.path.exists(f"{runtime_dir}/systemd/private") and cgroup_layout.needs_scope():
        from buildkit_py.runtime import user_scope

        user_scope.enter(runtime_dir)


def _enter_user_namespace(notices: list[str]) -> Ids:
    uid, gid = os.geteuid(), os.getegid()
    user = _user_name(uid)
    uids = subordinate_ids("/etc/subuid", user, uid)
    gids = subordinate_ids("/etc/subgid", user, uid)
    tools = (find_helper("newuidmap"), find_helper("newgidmap"))
    if uids and gids and all(tools):
        _unshare_with_helper(str(tools[0]), str(tools[1]), uid, gid, uids, gids)
        ids: Ids = "range"
    else:
        notices.append(_why_single(user, tools))
        _unshare(CLONE_NEWUSER | CLONE_NEWNS)
        _map_single(uid, gid)
        ids = "single"
    try:
        if ids == "range":
            os.setgroups([])
        processes.set_ids(0, 0)
    except OSError as error:
        raise _explained("becoming root of a user namespace", error.errno or 0) from None
    return ids


def _why_single(user: str, tools: tuple[str | None, str | None]) -> str:
    cannot = "files can belong to `root` only: no USER, no chown to other ids"
    if not all(tools):
        return (
            f"`newuidmap` is not installed; {cannot}. "
            "Install it: apt-get install uidmap, or dnf install shadow-utils"
        )
    first = first_free_id("/etc/subuid", "/etc/subgid")
    ids = f"{first}-{first + 65535}"
    return (
        f"`{user}` has no subordinate ids; {cannot}. As root: "
        f"usermod --add-subuids {ids} --add-subgids {ids} {user}"
    )


def find_helper(name: str) -> str | None:
    """Return where newuidmap or newgidmap is."""
    for folder in HELPERS:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    return None


def _user_name(uid: int) -> str:
    """Return the name of a user; pwd would import a C module and ask the network."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def subordinate_ids(path: str, user: str, uid: int) -> list[tuple[int, int]]:
    """Return (first, count) of each range that a table gives to a user, by name or by number."""
    owned = (user, str(uid))
    return [(first, count) for owner, first, count in _table(path) if owner in owned]


def first_free_id(*paths: str) -> int:
    """Return the first id behind all that these tables give to anybody; 100000 at least."""
    rows = [row for path in paths for row in _table(path)]
    return max([100_000, *(first + count for _, first, count in rows)])


def _table(path: str) -> list[tuple[str, int, int]]:
    """Return owner, first id and count of each range of a table.

    Lines are `owner:first:count`; subuid(5). Lines that are not are skipped, as shadow does.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read(1 << 20).splitlines()
    except OSError:
        return []
    rows: list[tuple[str, int, int]] = []
    for line in lines:
        parts = line.strip().split(":")
        if len(parts) == 3:
            owner, first, count = parts
            if first.isdigit() and count.isdigit() and 0 < int(count) < 1 << 32:
                rows.append((owner, int(first), int(count)))
    return rows


def mapping(own: int, ranges: list[tuple[int, int]]) -> list[Range]:
    """Return the map: our own id is 0 inside, subordinate ones follow from 1 on. Pure."""
    rows = [(0, own, 1)]
    inside = 1
    for first, count in ranges:
        rows.append((inside, first, count))
        inside += count
    return rows


def _unshare_with_helper(
    newuidmap: str,
    newgidmap: str,
    uid: int,
    gid: int,
    uids: list[tuple[int, int]],
    gids: list[tuple[int, int]],
) -> None:
    """Enter a user namespace whose ids a child writes, from outside, for our pid."""
    parent = os.getpid()
    go_read, go_write = os.pipe()
    error_read, error_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_write)
        _write_maps(
            go_read,
            error_write,
            (newuidmap, parent, mapping(uid, uids)),
            (newgidmap, parent, mapping(gid, gids)),
        )
    os.close(go_read)
    os.close(error_write)
    said = b""
    try:
        _unshare(CLONE_NEWUSER | CLONE_NEWNS)
        os.write(go_write, b"x")
    finally:
        os.close(go_write)
        while piece := os.read(error_read, 4096):
            said += piece
        os.close(error_read)
        _, status = os.waitpid(child, 0)
    if status != 0:
        text = said.decode(errors="replace").strip() or "no message"
        raise HostError(
            f"newuidmap failed: {text}",
            code="host/newuidmap",
            hint="are `/etc/subuid` and `/etc/subgid` in order, and is newuidmap set-user-ID?",
        )


def _write_maps(
    go: int, error: int, first: tuple[str, int, list[Range]], second: tuple[str, int, list[Range]]
) -> NoReturn:
    """Run newuidmap and newgidmap from a child that stayed outside. Never returns."""
    code = 1
    try:
        if os.read(go, 1) == b"x":
            os.dup2(error, 2)
            os.dup2(error, 1)
            code = 0
            for program, pid, rows in (first, second):
                words = [str(number) for row in rows for number in row]
                argv = [program, str(pid), *words]
                status = os.spawnve(os.P_WAIT, program, argv, {"PATH": ":".join(HELPERS)})
                code = code or (1 if status else 0)
    finally:
        os._exit(code)


def _map_single(uid: int, gid: int) -> None:
    """Map our own id to 0, which everybody may. user_namespaces(7)."""
    try:
        with contextlib.suppress(FileNotFoundError):
            _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
    except OSError as error:
        raise _explained("user namespace", error.errno or 0) from None


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _unshare(flags: int) -> None:
    try:
        processes.unshare(flags)
    except KernelError as error:
        raise _refused(error) from None


def _refused(error: KernelError) -> HostError:
    return _explained(f"{error.call} {error.target}", error.errno)


def _sysctl(name: str) -> str:
    try:
        with open(f"/proc/sys/{name}") as file:
            return file.read().strip()
    except OSError:
        return ""


def _explained(what: str, number: int) -> HostError:
    """Return the error with the likely reason on this machine and what to do about it."""
    text = f"namespaces are refused here: {what}: {os.strerror(number)}"
    if _sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1" and _unprivileged():
        hint = (
            "this system's AppArmor restricts user namespaces; as root: "
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give the program "
            "an AppArmor profile with `userns,`"
        )
    elif _sysctl("kernel/unprivileged_userns_clone") == "0":
        hint = "as root: sysctl -w kernel.unprivileged_userns_clone=1"
    elif _sysctl("user/max_user_namespaces") == "0" or number == errno.ENOSPC:
        hint = "as root: sysctl -w user.max_user_namespaces=15000"
    elif number in (errno.EPERM, errno.EACCES) and _filtered():
        hint = (
            "a container around us forbids namespaces; start it with "
            "--security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined, or with --privileged"
        )
    elif number == errno.EINVAL:
        hint = "this kernel has no user namespaces, or this process has several threads"
    else:
        hint = "does this kernel, or a container around us, allow user namespaces?"
    return HostError(text, code="host/namespaces", hint=hint)


def _unprivileged() -> bool:
    """Tell whether this is no root of the machine: another user, or root of a namespace."""
    return os.geteuid() != 0 or _existing_ids() != "all"


def _filtered() -> bool:
    """Tell whether a seccomp filter is loaded: the mark of a container."""
    try:
        with open("/proc/self/status") as file:
            return any(line.split() == ["Seccomp:", "2"] for line in file)
    except OSError:
        return False


def _existing_ids() -> Ids:
    """Tell what root is root of: a process that starts as root may be in a user namespace."""
    rows = _map("/proc/self/uid_map")
    if sum(count for _, _, count in rows) >= 0xFFFFFFFF:
        return "all"
    return "single" if sum(count for _, _, count in rows) == 1 else "range"


def _map(path: str) -> list[Range]:
    with open(path) as file:
        rows = [tuple(int(word) for word in line.split()) for line in file]
    return [(row[0], row[1], row[2]) for row in rows]


def _is_mapped(gid: int) -> bool:
    return any(first <= gid < first + count for first, _, count in _map("/proc/self/gid_map"))


def _set_groups_allowed() -> bool:
    try:
        with open("/proc/self/setgroups") as file:
            return file.read().strip() == "allow"
    except OSError:
        return True


def _probe_overlay(*, userxattr: bool) -> Literal["kernel", "userxattr"] | None:
    """Mount an overlay of empty directories in a tmpfs, which only this mount namespace sees."""
    try:
        context = mounts.fsopen("tmpfs")
    except KernelError:
        return None
    try:
        tmpfs = mounts.fsmount(context)
    finally:
        os.close(context)
    try:
        # Until Linux 6.15 overlay takes no directories of a mount that is nowhere.
        mounts.move_mount(tmpfs, "/tmp")
    except KernelError:
        os.close(tmpfs)
        return None
    try:
        for name in ("lower", "upper", "work"):
            os.mkdir(name, 0o700, dir_fd=tmpfs)
        base = f"/proc/self/fd/{tmpfs}"
        lower, upper, work = f"{base}/lower", f"{base}/upper", f"{base}/work"
        # Before Linux 6.6 no tmpfs can be the upper one with userxattr, as other file systems can.
        if not _mounts_overlay([lower], upper, work, userxattr=userxattr) and not (
            userxattr and _mounts_overlay([lower, upper], None, None, userxattr=True)
        ):
            return None
    finally:
        os.close(tmpfs)
        mounts.umount2("/tmp")
    return "userxattr" if userxattr else "kernel"


def _mounts_overlay(
    lower: list[str], upper: str | None, work: str | None, *, userxattr: bool
) -> bool:
    try:
        os.close(mounts.overlay(lower, upper, work, userxattr=userxattr))
    except KernelError:
        return False
    return True
