"""From a bundle's config to the operations that carry it out. Pure."""

from __future__ import annotations

import os

from buildkit_py.core.data import dataclass, replace
from buildkit_py.core.errors import InputError
from buildkit_py.oci.runtime_config_linux import sysctl_path
from buildkit_py.runtime import confine, setup, setup_names
from buildkit_py.runtime.bundle import options, process
from buildkit_py.runtime.bundle import setup as bundle_setup
from buildkit_py.runtime.kernel import scheduling
from buildkit_py.runtime.kernel.mounts import (
    MOUNT_ATTR_RDONLY,
    MS_PRIVATE,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
)
from buildkit_py.runtime.kernel.oci_seccomp import compile_config
from buildkit_py.runtime.kernel.syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.oci.runtime_config import Config, Device, Mount, Process
    from buildkit_py.runtime.setup import SetupOp

FLAGS = {
    "mount": CLONE_NEWNS, "cgroup": CLONE_NEWCGROUP, "uts": CLONE_NEWUTS, "ipc": CLONE_NEWIPC,
    "user": CLONE_NEWUSER, "pid": CLONE_NEWPID, "network": CLONE_NEWNET,
    "time": CLONE_NEWTIME,
}  # fmt: skip
_SPREAD = {
    "private": MS_PRIVATE, "shared": MS_SHARED, "slave": MS_SLAVE, "unbindable": MS_UNBINDABLE,
}  # fmt: skip
_NODES = (
    ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9),
    ("tty", 5, 0),
)  # fmt: skip
_LINKS = (
    ("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"), ("pts/ptmx", "ptmx"),
)  # fmt: skip
_NEEDS = {"proc": "pid", "sysfs": "network", "mqueue": "ipc", "cgroup": "cgroup"}
"""The namespace that a kind of file system shows."""


@dataclass(frozen=True, slots=True)
class BundlePlan:
    """What the container's first process does.

    flags: namespaces to be made; joins: (type, path) of those to be joined, `pid` by its parent
    before: up to `pivot_root`, EnterTime first; the hooks of the runtime come in between
    pivot: with what comes after it until the container is created; after: once it is started
    args: () where there is nothing to start
    """

    flags: int
    joins: tuple[tuple[str, str], ...]
    before: tuple[SetupOp, ...]
    pivot: tuple[SetupOp, ...]
    after: tuple[SetupOp, ...]
    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    uid: int
    warnings: tuple[str, ...]

    def describe(self) -> str:
        """Return one line per operation, in order."""
        lines = [f"clone3 {self.flags:#x}", *(f"join {kind} {path}" for kind, path in self.joins)]
        lines += [op.describe() for op in self.before]
        lines += [op.describe() for op in self.pivot]
        lines += ["created", *(op.describe() for op in self.after)]
        return "\n".join([*lines, f"execve {self.args[0]}"] if self.args else lines)


def plan(
    config: Config,
    *,
    bundle: str,
    rootfs: str,
    machine: str,
    umask: int,
    cgroup: str,
    no_new_keyring: bool = False,
    no_pivot: bool = False,
    rootless: bool = False,
    selinux: bool = False,
) -> BundlePlan:
    """Choose the operations for a bundle. Raises InputError for what cannot be.

    bundle: absolute path; rootfs: of the root, without links
    umask: the caller's, kept where the config says none
    cgroup: `v1`, `v2` or `hybrid`: what a mount of type `cgroup` shows; "" is nothing
    no_pivot: leave the machine's root beneath, as an initramfs must
    rootless: who creates it is not root
    selinux: whether mounts can be labelled here
    """
    linux = config.linux
    warnings: list[str] = []
    program = config.process
    mount_namespace = linux.namespace("mount")
    is_own = mount_namespace is not None and not mount_namespace.path
    new = [each.type for each in linux.namespaces if not each.path]
    flags = sum(FLAGS[kind] for kind in new) & ~CLONE_NEWTIME
    userns = linux.namespace("user") is not None
    before: list[SetupOp] = []
    if "time" in new:
        offsets = tuple(
            (name, each.seconds, each.nanoseconds) for name, each in linux.time_offsets.items()
        )
        before.append(process.EnterTime(offsets))
    if program is not None and program.oom_score_adj is not None:
        before.append(process.SetOom(program.oom_score_adj))
    spread = linux.rootfs_propagation
    shared = {"shared": MS_SHARED, "rshared": MS_SHARED | MS_REC}.get(spread, 0)
    if is_own:
        if shared:
            from buildkit_py.runtime.bundle.shared_root import ShareMounts

            before.append(ShareMounts(rootfs, shared))
        slave = spread in ("slave", "rslave")
        before.append(bundle_setup.BindRoot(rootfs, hidden=not shared, slave=slave))
    else:
        from buildkit_py.runtime.bundle import chroot

        chroot.check(config)
        before.append(chroot.FindRoot(rootfs))
    before.append(bundle_setup.CheckDev())
    label = linux.mount_label if selinux else ""
    if linux.mount_label and not selinux:
        warnings.append("linux.mountLabel: this machine has no SELinux: mounts are not labelled")
    for mount in config.mounts:
        before += _mount(mount, config, bundle, cgroup, label)
    before += _devices(config, bind=userns)
    if program is not None and program.terminal:
        before.append(process.MakeConsole())
    before.append(bundle_setup.FindProc())
    before += [
        setup_names.WriteSysctl(sysctl_path(name), value, optional=False)
        for name, value in linux.sysctl.items()
    ]
    if program is not None:
        before.append(bundle_setup.MakeFolder(program.cwd))
    if linux.readonly_paths:
        before.append(bundle_setup.LockPaths(linux.readonly_paths))
    if linux.masked_paths:
        before.append(bundle_setup.HidePaths(tuple(dict.fromkeys(linux.masked_paths))))
    if config.hostname:
        before.append(setup_names.SetHostname(config.hostname))
    if config.domainname:
        before.append(setup_names.SetDomainname(config.domainname))
    pivot: list[SetupOp] = [_take_root(config, no_pivot=no_pivot, is_own=is_own)]
    if spread:
        recursive = spread.startswith("r")
        kind = _SPREAD[spread.removeprefix("r") if recursive else spread]
        pivot.append(bundle_setup.SpreadRoot(kind, recursive))
    pivot.append(_session(program, keyring=not no_new_keyring))
    if any(_locks_dev(mount, options.parse(mount.options, "")) for mount in config.mounts):
        pivot.append(bundle_setup.LockDev())
    return BundlePlan(
        flags=flags,
        joins=tuple((each.type, each.path) for each in linux.namespaces if each.path),
        before=tuple(before),
        pivot=tuple(pivot),
        after=() if program is None else ending(
            config, program, machine=machine, umask=umask, warnings=warnings, rootless=rootless,
        ),
        args=program.args if program else (),
        env=program.env if program else (),
        cwd=program.cwd if program else "/",
        uid=program.user.uid if program else 0,
        warnings=tuple(warnings),
    )  # fmt: skip


def ending(
    config: Config,
    program: Process,
    *,
    machine: str,
    umask: int,
    warnings: list[str],
    rootless: bool = False,
) -> tuple[SetupOp, ...]:
    """Return what is done last before a program of the container, its first or another, starts."""
    linux = config.linux
    operations: list[SetupOp] = [
        setup.ChangeDirectory(program.cwd, make=True),  # made as it is meant, without a umask
        confine.SetUmask(umask if program.user.umask is None else program.user.umask),
    ]
    if program.user.uid and not program.terminal:
        operations.append(process.GiveStreams(program.user.uid, program.user.gid))
    if program.apparmor_profile:
        operations.append(process.SetLabel("apparmor", program.apparmor_profile))
    if program.selinux_label:
        operations.append(process.SetLabel("selinux", program.selinux_label))
    policy = linux.memory_policy
    if program.scheduler or program.io_priority or policy or linux.personality:
        mode, nodes = -1, frozenset[int]()
        if policy is not None:
            mode = scheduling.MEMORY_MODES[policy.mode]
            mode |= sum(scheduling.MEMORY_FLAGS[flag] for flag in policy.flags)
            nodes = numbers_of(policy.nodes)
        operations.append(process.SetScheduling(program, linux.personality, mode, nodes))
    filter: SetupOp | None = None
    if linux.seccomp is not None:
        compiled = compile_config(linux.seccomp, machine)
        warnings += compiled.warnings
        if compiled.notifies:
            from buildkit_py.runtime.bundle.listener import choose

            filter = choose(linux.seccomp, compiled, rootless=rootless)
        else:
            filter = process.LoadProgram(compiled.program, compiled.flags)
    operations += process.confinement(program, filter=filter, warnings=warnings)
    return tuple(operations)


def _session(program: Process | None, *, keyring: bool) -> SetupOp:
    if program is None:
        return process.OpenSession(False, 0, (0, 0), keyring=keyring)
    return process.OpenSession(
        program.terminal, program.user.uid, program.console_size, keyring=keyring
    )


def _take_root(config: Config, *, no_pivot: bool, is_own: bool) -> SetupOp:
    if not is_own:
        from buildkit_py.runtime.bundle.chroot import EnterRoot

        return EnterRoot()
    if not no_pivot:
        shared = config.linux.rootfs_propagation in ("shared", "rshared")
        return setup.PivotRoot(config.root_readonly, shared)
    from buildkit_py.runtime.bundle.move_root import MoveRoot

    return MoveRoot(config.root_readonly)


def notifies(config: Config) -> bool:
    """Say whether an agent is asked about some system calls."""
    filter = config.linux.seccomp
    return filter is not None and any(each.action == "SCMP_ACT_NOTIFY" for each in filter.rules)


def numbers_of(text: str) -> frozenset[int]:
    """Return the numbers of a list such as `0-2,5`, which was checked before."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _mount(mount: Mount, config: Config, bundle: str, cgroup: str, label: str) -> list[SetupOp]:
    read = options.parse(mount.options, f"config.json: mounts: `{mount.destination}`")
    if read.bind is None and mount.type in ("bind", "none") and not read.remount:
        read = replace(read, bind=mount.type == "bind")
    destination = "/" + mount.destination.lstrip("/")
    own = config.linux.namespace(_NEEDS.get(mount.type, "")) is not None
    kind = mount.type
    if _locks_dev(mount, read):
        read = replace(read, set_=read.set_ & ~MOUNT_ATTR_RDONLY)
    if read.bind is not None:
        if read.data:
            raise InputError(
                f"config.json: mounts: `{destination}`: a bind takes no `{read.data[0][0]}`",
                code="runtime/mount-option",
            )
        source = os.path.join(bundle, mount.source)
        return [_mapped(mount, bundle_setup.MountEntry(destination, "bind", source, read))]
    if kind in ("cgroup", "cgroup2"):
        if not cgroup:
            return []
        if kind == "cgroup" and cgroup != "v2":
            return [bundle_setup.MountCgroups(destination, read, own)]
        kind, own = "cgroup2", config.linux.namespace("cgroup") is not None
    if label and kind not in _NEEDS and kind != "cgroup2" and not read.remount:
        read = replace(read, data=(*read.data, ("context", label)))
    entry = bundle_setup.MountEntry(
        destination, kind, mount.source, read, own or kind not in _NEEDS
    )
    return [_mapped(mount, entry)]


def is_mapped(mount: Mount) -> bool:
    """Say whether files have other ids in a mount than on the machine."""
    return bool(mount.uid_mappings) or "idmap" in mount.options or "ridmap" in mount.options


def _mapped(mount: Mount, entry: bundle_setup.MountEntry) -> SetupOp:
    """Return what mounts with other ids, if that is asked for, or else the entry itself."""
    if not is_mapped(mount):
        return entry
    from buildkit_py.runtime.bundle.idmap import MountMapped

    if entry.options.remount:
        raise InputError(
            f"config.json: mounts: `{entry.destination}`: what is mounted is mapped no more",
            code="runtime/idmap", hint="map it where it is mounted, not with `remount`",
        )  # fmt: skip
    return MountMapped(entry, mount.uid_mappings, mount.gid_mappings)


def _locks_dev(mount: Mount, read: options.Options) -> bool:
    """Say whether a mount is a /dev that nobody may write to, once we have."""
    is_new = read.bind is None and not read.remount and mount.type not in ("bind", "none")
    return (
        is_new and mount.destination.rstrip("/") == "/dev" and bool(read.set_ & MOUNT_ATTR_RDONLY)
    )


def _devices(config: Config, *, bind: bool) -> list[SetupOp]:
    """Return what fills /dev, unless the host's own is bound there."""
    for mount in config.mounts:
        if mount.destination.rstrip("/") == "/dev" and (
            mount.type == "bind" or "bind" in mount.options or "rbind" in mount.options
        ):
            return []
    found = {
        f"/dev/{name}": bundle_setup.Node(f"/dev/{name}", "c", major, minor, 0o666, 0, 0)
        for name, major, minor in _NODES
    }
    for device in config.linux.devices:
        found[device.path.rstrip("/")] = _node(device)
    # `/dev/ptmx` is the link into the container's own devpts.
    nodes = tuple(node for path, node in found.items() if path != "/dev/ptmx")
    return [bundle_setup.MakeNodes(nodes, bind), bundle_setup.MakeLinks(_LINKS)]


def _node(device: Device) -> bundle_setup.Node:
    mode = 0o666 if device.mode is None else device.mode & 0o7777
    return bundle_setup.Node(
        device.path.rstrip("/"),
        device.type,
        device.major,
        device.minor,
        mode,
        device.uid,
        device.gid,
    )
