"""What is done inside the new namespaces before the program starts: mounts and names.

A set-up operation is data. `plan.py` chooses operations without touching the system; `init.py`
runs them in order in the child. So a plan can be printed, compared in a test without root, and
blamed: a failing operation is named by its own `describe()`.

While these operations run, the tree of the container is hostile: whoever made the image, or runs
beside us on a shared mount, may have put links anywhere. Therefore every place is opened beneath
the root (`stubs.open_place`) and mounted on by descriptor; what we mounted ourselves (proc, sys,
dev) is kept by descriptor and never looked up again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable

from buildkit_py.core.data import dataclass, field
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.runtime.kernel import mounts
from buildkit_py.runtime.kernel.mounts import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
)
from buildkit_py.runtime.kernel.paths import open_beneath, open_directory_beneath
from buildkit_py.runtime.kernel.syscalls import KernelError
from buildkit_py.runtime.stubs import Stub, open_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from buildkit_py.runtime.spec import Tmpfs
else:
    Protocol = object

_NOT_ALLOWED = {
    "exec": MOUNT_ATTR_NOEXEC, "suid": MOUNT_ATTR_NOSUID, "dev": MOUNT_ATTR_NODEV,
}  # fmt: skip
_PLAIN = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Workspace:
    """What operations find and leave for later ones: descriptors of our own mounts.

    note: called with a warning for people
    channel: socket to who watches over the start of the program
    stubs: mount points that had to be made in the container's tree
    ask: for the tree of mounts at a path, with those beneath it or without, of who may reach it
    """

    note: Callable[[str], None]
    channel: int = -1
    ask: Callable[[str, bool], int] | None = None
    root: int = -1
    proc: int = -1
    sys: int = -1
    dev: int = -1
    pts: int = -1
    null: int = -1
    empty: int = -1
    terminal: int = -1
    stubs: list[Stub] = field(default_factory=list)

    def place(self, target: str, *, directory: bool) -> int:
        """Open where to mount; what is missing is made and recorded."""
        fd, made = open_place(self.root, target, directory=directory)
        self.stubs += made
        return fd


class SetupOp(Protocol):
    def describe(self) -> str: ...
    def run(self, work: Workspace) -> None: ...


@dataclass(frozen=True, slots=True)
class MountOverlay:
    """Make the root out of layers. `stubs` is the lowest of them: see stubs.py."""

    lower: tuple[str, ...]
    upper: str
    work: str
    userxattr: bool
    volatile: bool
    no_devices: bool

    def describe(self) -> str:
        return f"mount overlay of {len(self.lower)} layers, changes in `{self.upper}`"

    def run(self, work: Workspace) -> None:
        work.root = mounts.overlay(
            self.lower, self.upper, self.work, userxattr=self.userxattr, volatile=self.volatile
        )
        _attach_root(work, self.upper, no_devices=self.no_devices)


@dataclass(frozen=True, slots=True)
class MountDirectory:
    """Make a directory the root."""

    path: str
    no_devices: bool

    def describe(self) -> str:
        return f"bind `{self.path}` as root"

    def run(self, work: Workspace) -> None:
        work.root = mounts.open_tree(self.path)
        _attach_root(work, self.path, no_devices=self.no_devices)


def _attach_root(work: Workspace, path: str, *, no_devices: bool) -> None:
    """Put the root on top of the directory it was made of: it needs some place, and that exists.

    no_devices: where no cgroup guards devices, a device node in the image must stay dead
    """
    if no_devices:
        mounts.mount_setattr("", at=work.root, set_=MOUNT_ATTR_NODEV)
    mounts.mount_setattr("", at=work.root, propagation=mounts.MS_PRIVATE)
    mounts.move_mount(work.root, path)


def _own_directory(work: Workspace, name: str) -> int:
    """Open a top directory of the root that must be a real one.

    An image whose /dev, /proc or /sys is a link would have us work somewhere else:
    CVE-2019-19921, CVE-2026-41579, CVE-2026-47766.
    """
    try:
        state = os.lstat(name, dir_fd=work.root)
    except FileNotFoundError:
        return work.place(name, directory=True)
    if not stat.S_ISDIR(state.st_mode):
        raise InputError(
            f"`/{name}` of the image is not a directory",
            code="runtime/not-a-directory",
            hint=f"the image must not have a link or a file at `/{name}`",
        )
    return os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=work.root)


def mount_new(kind: str, options: Iterable[tuple[str, str | None]], attributes: int) -> int:
    """Return a new file system, mounted nowhere yet; a flag is an option without a value."""
    context = mounts.fsopen(kind)
    try:
        for key, value in options:
            mounts.fsconfig(context, key, value)
        return mounts.fsmount(context, attributes)
    finally:
        os.close(context)


def _attach(fd: int, place: int) -> None:
    """Mount on a place and close the place."""
    try:
        mounts.move_mount(fd, "", at=place)
    finally:
        os.close(place)


@dataclass(frozen=True, slots=True)
class MountProc:
    """A fresh /proc of the new process namespace."""

    def describe(self) -> str:
        return "mount proc on /proc"

    def run(self, work: Workspace) -> None:
        try:
            work.proc = mount_new("proc", (("source", "proc"),), _PLAIN)
        except KernelError as error:
            if error.errno == errno.EPERM:
                error.hint = (
                    "a container around us hides parts of /proc, and so forbids a fresh one; "
                    "start it with --security-opt systempaths=unconfined"
                )
            raise
        _attach(work.proc, _own_directory(work, "proc"))


@dataclass(frozen=True, slots=True)
class MountSys:
    """A read-only /sys; with the host's network a user namespace may only show the host's.

    bind: take over the host's /sys, the whole tree, read-only
    """

    bind: bool

    def describe(self) -> str:
        return f"{'bind' if self.bind else 'mount'} sysfs on /sys, read-only"

    def run(self, work: Workspace) -> None:
        if self.bind:
            work.sys = mounts.open_tree("/sys", recursive=True)
            mounts.mount_setattr(
                "",
                at=work.sys,
                set_=_PLAIN | MOUNT_ATTR_RDONLY,
                propagation=mounts.MS_PRIVATE,
                recursive=True,
            )
        else:
            work.sys = mount_new("sysfs", (("source", "sysfs"),), _PLAIN | MOUNT_ATTR_RDONLY)
        _attach(work.sys, _own_directory(work, "sys"))


@dataclass(frozen=True, slots=True)
class MountCgroup:
    """The container's own cgroup2 tree, read-only: a writable one is CVE-2022-0492's way out."""

    def describe(self) -> str:
        return "mount cgroup2 on /sys/fs/cgroup, read-only"

    def run(self, work: Workspace) -> None:
        options = (("source", "cgroup"),)
        fd = mount_new("cgroup2", options, _PLAIN | MOUNT_ATTR_RDONLY)
        try:
            _attach(fd, open_beneath(work.sys, "fs/cgroup", os.O_PATH | os.O_DIRECTORY))
        finally:
            os.close(fd)


NODES = (
    ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9),
    ("tty", 5, 0),
)  # fmt: skip
LINKS = (
    ("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"), ("pts/ptmx", "ptmx"),
)  # fmt: skip
"""Docker's /dev; the links are a must of runtime-spec config-linux.md, `/dev` symbolic links."""


@dataclass(frozen=True, slots=True)
class MountDev:
    """A small /dev of our own: nodes, links, terminals, shared memory, message queues.

    make_nodes: mknod; otherwise the host's nodes are bound, as a user namespace must
    terminal_group: the group of terminals, 5 where that id exists, or None
    """

    make_nodes: bool
    terminal_group: int | None
    shm_bytes: int

    def describe(self) -> str:
        how = "new" if self.make_nodes else "bound"
        return (
            f"mount tmpfs on /dev with {how} nodes, devpts, {self.shm_bytes} bytes of shm, mqueue"
        )

    def run(self, work: Workspace) -> None:
        options = (("source", "tmpfs"), ("mode", "755"), ("size", "65536k"))
        work.dev = dev = mount_new("tmpfs", options, MOUNT_ATTR_NOSUID)
        for target, name in LINKS:
            os.symlink(target, name, dir_fd=dev)
        for name in ("pts", "shm", "mqueue"):
            os.mkdir(name, 0o755, dir_fd=dev)
        for name, major, minor in NODES:
            if self.make_nodes:
                os.mknod(name, stat.S_IFCHR | 0o666, os.makedev(major, minor), dir_fd=dev)
                os.chmod(name, 0o666, dir_fd=dev)
            else:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=dev))
        if self.make_nodes:
            work.null = _open_device("null", 1, 3, at=dev)
        else:
            work.null = _open_device("/dev/null", 1, 3)
        _attach(dev, _own_directory(work, "dev"))
        if not self.make_nodes:
            for name, major, minor in NODES:
                node = _open_device(f"/dev/{name}", major, minor)
                bind_fd(node, os.open(name, _PLACE, dir_fd=dev), read_only=True)
                os.close(node)
        terminals: tuple[tuple[str, str | None], ...] = (
            ("source", "devpts"), ("newinstance", None), ("ptmxmode", "0666"), ("mode", "0620"),
        )  # fmt: skip
        if self.terminal_group is not None:
            terminals += (("gid", str(self.terminal_group)),)
        pts = mount_new("devpts", terminals, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)
        _attach(pts, os.open("pts", _PLACE, dir_fd=dev))
        work.pts = pts
        shm = (("source", "shm"), ("mode", "1777"), ("size", str(self.shm_bytes)))
        fd = mount_new("tmpfs", shm, _PLAIN)
        _attach(fd, os.open("shm", _PLACE, dir_fd=dev))
        os.close(fd)
        fd = mount_new("mqueue", (("source", "mqueue"),), _PLAIN)
        _attach(fd, os.open("mqueue", _PLACE, dir_fd=dev))
        os.close(fd)


def _open_device(path: str, major: int, minor: int, *, at: int | None = None) -> int:
    """Open a node and make sure that it is the device it should be (CVE-2025-31133)."""
    fd = os.open(path, _PLACE, dir_fd=at)
    state = os.fstat(fd)
    if not stat.S_ISCHR(state.st_mode) or state.st_rdev != os.makedev(major, minor):
        raise HostError(
            f"`{path}` of this machine is not the device {major}:{minor}", code="host/device-node"
        )
    return fd


def bind_fd(source: int, place: int, *, read_only: bool = False, attributes: int = 0) -> None:
    """Bind what a descriptor refers to. attributes: further MOUNT_ATTR_*

    read_only: devices can be written to all the same, but their mode and owner are safe
    """
    clone = mounts.open_tree("", at=source)
    try:
        attributes |= MOUNT_ATTR_RDONLY if read_only else 0
        mounts.mount_setattr("", at=clone, set_=attributes, propagation=mounts.MS_PRIVATE)
        _attach(clone, place)
    finally:
        os.close(clone)


@dataclass(frozen=True, slots=True)
class WriteFiles:
    """Files that the host makes, such as /etc/hosts, bound over the image's, read-only.

    files: (path in the container, text); they live in a file system of their own, in memory
    """

    files: tuple[tuple[str, str], ...]

    def describe(self) -> str:
        return "bind files: " + " ".join(path for path, _ in self.files)

    def run(self, work: Workspace) -> None:
        options = (("source", "tmpfs"), ("mode", "755"), ("size", "16m"))
        fd = mount_new("tmpfs", options, _PLAIN)
        for number, (_, text) in enumerate(self.files):
            file = os.open(str(number), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644, dir_fd=fd)
            os.fchmod(file, 0o644)
            data = text.encode()
            while data:
                data = data[os.write(file, data) :]
            os.close(file)
        # A clone can be taken of an attached mount only: on /dev/shm it is out of everybody's
        # sight, the program does not run yet, and it is taken away again at once.
        place = os.open("shm", _PLACE, dir_fd=work.dev)
        mounts.move_mount(fd, "", at=place)
        for number, (path, _) in enumerate(self.files):
            clone = mounts.open_tree(str(number), at=fd)
            mounts.mount_setattr("", at=clone, set_=MOUNT_ATTR_RDONLY)
            _attach(clone, work.place(path, directory=False))
            os.close(clone)
        mounts.umount2(f"/proc/self/fd/{fd}", mounts.MNT_DETACH)
        os.close(place)
        os.close(fd)


@dataclass(frozen=True, slots=True)
class BindPath:
    """Show a file or directory of the host in the container."""

    source: str
    target: str
    read_only: bool
    recursive: bool

    def describe(self) -> str:
        mode = "read-only" if self.read_only else "writable"
        return f"bind `{self.source}` on `{self.target}`, {mode}"

    def run(self, work: Workspace) -> None:
        try:
            source = os.open(self.source, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(
                f"`{self.source}` cannot be bound: {error.strerror}", code="runtime/bind-source"
            ) from None
        kind = os.fstat(source).st_mode
        fd = mounts.open_tree("", at=source, recursive=self.recursive)
        os.close(source)
        attributes = 0 if stat.S_ISCHR(kind) or stat.S_ISBLK(kind) else MOUNT_ATTR_NODEV
        if self.read_only:
            attributes |= MOUNT_ATTR_RDONLY
        mounts.mount_setattr(
            "", at=fd, set_=attributes, propagation=mounts.MS_PRIVATE, recursive=self.recursive
        )
        _attach(fd, work.place(self.target, directory=stat.S_ISDIR(kind)))
        os.close(fd)


@dataclass(frozen=True, slots=True)
class MountTmpfs:
    spec: Tmpfs

    def describe(self) -> str:
        return f"mount tmpfs on `{self.spec.target}`"

    def run(self, work: Workspace) -> None:
        spec = self.spec
        options: list[tuple[str, str | None]] = [("source", "tmpfs"), ("mode", f"{spec.mode:o}")]
        options += [
            (name, str(value))
            for name, value in (
                ("size", spec.size_bytes),
                ("nr_inodes", spec.inodes),
                ("uid", spec.uid),
                ("gid", spec.gid),
            )
            if value
        ]
        attributes = MOUNT_ATTR_RDONLY if spec.read_only else 0
        for name, attribute in _NOT_ALLOWED.items():
            if name not in spec.allowed:
                attributes |= attribute
        fd = mount_new("tmpfs", tuple(options), attributes)
        _attach(fd, work.place(spec.target, directory=True))
        os.close(fd)


@dataclass(frozen=True, slots=True)
class MaskPaths:
    """Hide what the kernel would tell: files become /dev/null, directories empty.

    proc, sys: paths beneath those mounts, which are ours; a missing one is nothing to hide
    """

    proc: tuple[str, ...]
    sys: tuple[str, ...]

    def describe(self) -> str:
        paths = [f"/proc/{path}" for path in self.proc] + [f"/sys/{path}" for path in self.sys]
        return f"mask {' '.join(paths)}"

    def run(self, work: Workspace) -> None:
        for base, paths in ((work.proc, self.proc), (work.sys, self.sys)):
            for path in paths if base >= 0 else ():
                try:
                    place = open_beneath(base, path, _PLACE)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                hide(work, place)


def hide(work: Workspace, place: int) -> None:
    """Put /dev/null on a file, an empty directory on a directory; closes the place."""
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        bind_fd(work.null, place, read_only=True)
    elif work.empty < 0:
        options = (("source", "tmpfs"), ("mode", "755"), ("nr_inodes", "2"))
        work.empty = mount_new("tmpfs", options, _PLAIN | MOUNT_ATTR_RDONLY)
        _attach(work.empty, place)
    else:
        bind_fd(work.empty, place, read_only=True)


@dataclass(frozen=True, slots=True)
class ReadOnlyPaths:
    """Let nobody write to parts of /proc."""

    proc: tuple[str, ...]

    def describe(self) -> str:
        return "read-only " + " ".join(f"/proc/{path}" for path in self.proc)

    def run(self, work: Workspace) -> None:
        for path in self.proc:
            try:
                place = open_beneath(work.proc, path, _PLACE)
            except FileNotFoundError:
                continue
            lock(place)


def lock(place: int) -> None:
    """Let nobody write to a place and what is beneath it; closes the place."""
    fd = mounts.open_tree("", at=place, recursive=True)
    try:
        mounts.mount_setattr("", at=fd, set_=MOUNT_ATTR_RDONLY, recursive=True)
        _attach(fd, place)
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class PivotRoot:
    """Make the container's root the only tree there is; the host's goes out of sight.

    pivot_root(2), "pivot_root(".", ".")": the old root is stacked on the new one and unmounted.
    shared: the host would hear of the unmounting
    """

    read_only: bool
    shared: bool = False

    def describe(self) -> str:
        return f"pivot_root, {'read-only' if self.read_only else 'writable'}"

    def run(self, work: Workspace) -> None:
        if self.read_only:
            mounts.mount_setattr("", at=work.root, set_=MOUNT_ATTR_RDONLY)
        old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if self.shared else -1
        os.fchdir(work.root)
        mounts.pivot_root(".", ".")
        if self.shared:
            os.fchdir(old)
            os.close(old)
            mounts.mount("", ".", "", mounts.MS_SLAVE | mounts.MS_REC)
        mounts.umount2(".", mounts.MNT_DETACH)
        os.chdir("/")


@dataclass(frozen=True, slots=True)
class ChangeDirectory:
    """Enter the working directory: beneath the root, never through /proc/self/fd (2024-21626).

    make: it is made where it is missing, root's own, as runc and BuildKit do
    """

    path: str
    make: bool = False

    def describe(self) -> str:
        return f"chdir `{self.path}`"

    def run(self, work: Workspace) -> None:
        try:
            if self.make:
                fd, _ = open_directory_beneath(work.root, self.path)
            else:
                fd = open_beneath(work.root, self.path, os.O_PATH | os.O_DIRECTORY)
            os.fchdir(fd)
            os.close(fd)
        except OSError as error:
            raise InputError(
                f"working directory `{self.path}`: {error.strerror}", code="runtime/cwd"
            ) from None
        if not os.getcwd().startswith("/"):
            raise InputError(
                f"working directory `{self.path}` is outside the container", code="runtime/cwd"
            )
