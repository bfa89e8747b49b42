"""From a container to the operations that set it up. Pure.

Two lists: what is done before the barrier, while the caller plugs the network, and what is done
after it, ending in execve. Values are docker's: moby/moby daemon/pkg/oci/defaults.go.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.runtime import confine, setup, setup_names
from buildkit_py.runtime.host import Host
from buildkit_py.runtime.kernel import capabilities
from buildkit_py.runtime.kernel.seccomp_profile import docker_program
from buildkit_py.runtime.kernel.syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
)
from buildkit_py.runtime.spec import (
    DEFAULT_PATH,
    Account,
    Bind,
    Container,
    Directory,
    Interface,
    Overlay,
    Tmpfs,
)

MASKED_PROC = (
    "acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi",
    "timer_list", "timer_stats",
)  # fmt: skip
MASKED_SYS = ("devices/virtual/powercap", "firmware")
READ_ONLY_PROC = ("bus", "fs", "irq", "sys", "sysrq-trigger")

_NAMESPACES = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the child needs to know, as data.

    before: operations up to the barrier; after: those behind it
    interface: configured between the barrier and `after`, once the parent plugged it
    private_network: bring `lo` up
    """

    flags: int
    before: tuple[setup.SetupOp, ...]
    after: tuple[setup.SetupOp, ...]
    args: tuple[str, ...]
    env: tuple[str, ...]
    interface: Interface | None
    private_network: bool
    further_interfaces: tuple[Interface, ...] = ()
    nameserver: bool = False
    init: bool = False

    def describe(self) -> str:
        """Return one line per operation, in order."""
        lines = [f"clone3 {self.flags:#x}", *(op.describe() for op in self.before), "barrier"]
        if self.private_network:
            interfaces = ((self.interface,) if self.interface else ()) + self.further_interfaces
            lines.append(" ".join(["up lo", *(each.name for each in interfaces)]))
        if self.nameserver:
            lines.append("open the sockets of 127.0.0.11")
        lines += [op.describe() for op in self.after]
        how = "as a child, execve" if self.init else "execve"
        return "\n".join([*lines, f"{how} {self.args[0]}"])


def plan(container: Container, host: Host, *, stubs: str = "") -> Plan:
    """Choose the operations for a container. Raises InputError for what cannot be.

    stubs: directory of mount points to be put below all layers; see stubs.py
    """
    if not container.args:
        raise InputError("there is no program to run", code="runtime/no-program")
    names = (container.hostname, container.domainname)
    for text in (*container.args, *container.env, container.cwd, *names):
        if "\0" in text:
            raise InputError(f"`{text}` holds a zero byte", code="runtime/zero-byte")
    private = container.network == "private"
    flags = _NAMESPACES | (CLONE_NEWNET if private else 0)
    account = container.account
    before: list[setup.SetupOp] = [
        _root(container, host, stubs),
        setup.MountProc(),
        setup.MountSys(bind=host.rootless and not private),
        setup.MountDev(
            make_nodes=not host.rootless,
            terminal_group=host.terminal_group,
            shm_bytes=container.shm_bytes,
        ),
    ]
    if host.cgroup == "v2":
        before.append(setup.MountCgroup())
    if container.files:
        before.append(setup.WriteFiles(tuple(sorted(container.files.items()))))
    before += [_mount(spec) for spec in sorted(container.mounts, key=_depth)]
    before += [setup_names.WriteSysctl(*each) for each in _sysctls(container, host, private)]
    if container.security == "sandbox":
        before.append(setup.MaskPaths(MASKED_PROC, MASKED_SYS + host.masked_sys))
        before.append(setup.ReadOnlyPaths(READ_ONLY_PROC))
    before.append(setup_names.SetHostname(container.hostname))
    if container.domainname:
        before.append(setup_names.SetDomainname(container.domainname))
    before.append(setup.PivotRoot(container.read_only))
    after: list[setup.SetupOp] = []
    after.append(confine.SetUmask(container.umask))
    after.append(confine.NewSession(container.terminal, account.uid, container.terminal_size))
    after.append(setup.ChangeDirectory(container.cwd, container.make_cwd))
    after += confinement(container, host, account)
    return Plan(
        flags=flags,
        before=tuple(before),
        after=tuple(after),
        args=container.args,
        env=environment(container.env, container.account, terminal=container.terminal),
        interface=container.interface,
        private_network=private,
        further_interfaces=container.further_interfaces,
        nameserver=container.nameserver and private,
        init=container.init,
    )


def confinement(container: Container, host: Host, account: Account) -> list[setup.SetupOp]:
    """Return the last operations, those that take rights away, for any process of a container."""
    granted = capabilities.DOCKER if container.capabilities is None else container.capabilities
    unknown = sorted(granted - set(capabilities.NAMES))
    if unknown:
        raise InputError(f"unknown capability `{unknown[0]}`", code="runtime/unknown-capability")
    operations: list[setup.SetupOp] = []
    if container.security == "sandbox":
        keep = capabilities.mask(granted)
        operations.append(confine.LoadFilter(docker_program(granted, host.machine)))
    else:
        keep = (1 << len(capabilities.NAMES)) - 1
    if container.rlimits:
        limits = tuple((name, *pair) for name, pair in sorted(container.rlimits.items()))
        operations.append(confine.SetLimits(limits))
    operations.append(
        confine.BecomeAccount(account.uid, account.gid, account.groups, keep, host.set_groups)
    )
    if container.no_new_privileges:
        operations.append(confine.GainNothing())
    return operations


def mount_points(container: Container, *, is_directory: dict[str, bool]) -> list[tuple[str, bool]]:
    """Return (path, whether a directory) of every place that is mounted on, parents first.

    is_directory: for each source of a bind, which only its reader can know
    """
    points = [("/dev", True), ("/proc", True), ("/sys", True)]
    points += [(path, False) for path in container.files]
    for spec in container.mounts:
        points.append((spec.target, isinstance(spec, Tmpfs) or is_directory[spec.source]))
    # What is inside of ours is made there: /dev is a file system of the child's.
    inner = ("/dev/", "/proc/", "/sys/")
    return sorted({point for point in points if not point[0].startswith(inner)})


def _root(container: Container, host: Host, stubs: str) -> setup.SetupOp:
    no_devices = not host.guards_devices
    match container.root:
        case Directory(path):
            return setup.MountDirectory(path, no_devices)
        case Overlay() as overlay:
            if host.overlay is None:
                raise HostError(
                    "this kernel refuses overlay mounts here", code="host/overlay",
                    hint="use the `copy` snapshotter",
                )  # fmt: skip
            return setup.MountOverlay(
                lower=overlay.lower + ((stubs,) if stubs else ()),
                upper=overlay.upper,
                work=overlay.work,
                userxattr=overlay.userxattr or host.overlay == "userxattr",
                volatile=overlay.volatile,
                no_devices=no_devices,
            )


def _depth(spec: Bind | Tmpfs) -> int:
    """Sort key: outer targets before inner ones; equal ones stay as they were given."""
    return len([name for name in spec.target.split("/") if name])


def _mount(spec: Bind | Tmpfs) -> setup.SetupOp:
    names = [name for name in spec.target.split("/") if name not in ("", ".")]
    if not names or names[0] == "proc" or ".." in names:
        raise InputError(
            f"nothing can be mounted on `{spec.target}`",
            code="runtime/mount-target",
            hint="choose a target other than `/` and `/proc`, without `..`",
        )
    match spec:
        case Bind():
            return setup.BindPath(spec.source, spec.target, spec.read_only, spec.recursive)
        case Tmpfs():
            return setup.MountTmpfs(spec)


def _sysctls(container: Container, host: Host, private: bool) -> list[tuple[str, str, bool]]:
    """Return (name, value, may fail); docker's defaults first, so that others win."""
    rows: list[tuple[str, str, bool]] = []
    if private and container.security == "sandbox":
        highest = 0 if host.ids == "single" else 65535 if host.rootless else 2147483647
        rows.append(("net.ipv4.ping_group_range", f"0 {highest}", True))
        rows.append(("net.ipv4.ip_unprivileged_port_start", "0", True))
    for name, value in sorted(container.sysctls.items()):
        allowed = name.startswith(_SYSCTLS) or (name.startswith("net.") and private)
        if not allowed or "/" in name or ".." in name:
            raise InputError(
                f"sysctl `{name}` does not belong to the container alone", code="runtime/sysctl"
            )
        rows.append((name, value, False))
    return rows


_SYSCTLS = (
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
    "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced", "fs.mqueue.",
)  # fmt: skip
"""Those of the ipc namespace; runtime-spec config-linux.md, `sysctl`."""


def environment(env: Sequence[str], account: Account, *, terminal: bool) -> tuple[str, ...]:
    """Return the environment with PATH and HOME; of two settings of one name the last wins."""
    values = {"PATH": DEFAULT_PATH, "HOME": account.home}
    if terminal:
        values["TERM"] = "xterm"
    for entry in env:
        name, _, value = entry.partition("=")
        values[name] = value
    return tuple(itertools.starmap("{}={}".format, values.items()))
