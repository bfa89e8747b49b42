"""Set-up operations that only bundles need: any mount, any device, any path hidden.

As in `runtime/setup.py` the container's tree is hostile: every place is opened beneath the root
and mounted on by descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.runtime.bundle.options import Options
from buildkit_py.runtime.kernel import mounts
from buildkit_py.runtime.kernel.mounts import MOUNT_ATTR_RDONLY
from buildkit_py.runtime.kernel.oci_cgroup_paths import own_directories
from buildkit_py.runtime.kernel.paths import open_beneath, open_directory_beneath
from buildkit_py.runtime.kernel.syscalls import KernelError
from buildkit_py.runtime.setup import Workspace, bind_fd, hide, lock, mount_new

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PLACE = os.O_PATH | os.O_CLOEXEC
_HERE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class BindRoot:
    """Make a directory the root, with the mounts beneath it.

    hidden: the host's mounts see nothing of ours, as they are made its slaves here
    slave: what the host mounts there later is seen
    """

    path: str
    hidden: bool = True
    slave: bool = False

    def describe(self) -> str:
        return f"bind `{self.path}` as root"

    def run(self, work: Workspace) -> None:
        if self.hidden:
            mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_SLAVE)
        work.root = mounts.open_tree(self.path, recursive=True)
        kind = mounts.MS_SLAVE if self.slave else mounts.MS_PRIVATE
        mounts.mount_setattr("", at=work.root, propagation=kind, recursive=True)
        mounts.move_mount(work.root, self.path)


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One entry of `mounts`: a bind, a new file system, or other options for what is there.

    own: whether the namespace that this kind of file system shows is the container's own; with
        the host's a bind takes the place of what the kernel refuses to a user namespace
    """

    destination: str
    kind: str
    source: str
    options: Options
    own: bool = True

    def describe(self) -> str:
        what = f"bind `{self.source}`" if self.options.bind is not None else f"mount {self.kind}"
        return f"{'re' if self.options.remount else ''}{what} on `{self.destination}`"

    def run(self, work: Workspace) -> None:
        if self.options.remount:
            self._remount(work)
            return
        fd = self.new(work) if self.options.bind is None else self.open_bind(work)
        self.attach(work, fd)

    def _check_place(self, work: Workspace) -> None:
        """Refuse an image whose /proc or /sys is a link: what guards them would be elsewhere."""
        above, _, name = self.destination.rstrip("/").rpartition("/")
        try:
            folder = open_beneath(work.root, above or "/", _HERE)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                    raise InputError(
                        f"`{self.destination}` of the container is a link or a file: {self.kind} "
                        "must be mounted on ordinary directory",
                        code="runtime/not-a-directory",
                    )
        finally:
            os.close(folder)

    def attach(self, work: Workspace, fd: int) -> None:
        """Put what was made in its place, and close it."""
        try:
            if self.kind in ("proc", "sysfs") and self.destination != "/":
                self._check_place(work)
            is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
            place = work.place(self.destination, directory=is_directory)
            try:
                copied = _listing(place) if self.options.copy_up else None
                mounts.move_mount(fd, "", at=place)
                if copied is not None:
                    _copy_up(place, fd)
                    mounts.mount_setattr("", at=fd, set_=self.options.set_ & MOUNT_ATTR_RDONLY)
            finally:
                os.close(place)
            self._shape(fd)
        finally:
            os.close(fd)

    def open_bind(self, work: Workspace | None = None) -> int:
        try:
            fd = self._open_source(work)
        except OSError as error:
            raise InputError(
                f"`{self.source}` cannot be bound: {error.strerror}", code="runtime/bind-source"
            ) from None
        mounts.mount_setattr("", at=fd, set_=self.options.set_, clear=self.options.clear)
        return fd

    def _open_source(self, work: Workspace | None) -> int:
        recursive = bool(self.options.bind)
        try:
            source = os.open(self.source, _PLACE)
        except PermissionError:  # as root of a user namespace
            if work is None or work.ask is None:
                raise
            return work.ask(self.source, recursive)
        try:
            return mounts.open_tree("", at=source, recursive=recursive)
        finally:
            os.close(source)

    def _mode(self, work: Workspace) -> tuple[tuple[str, str], ...]:
        """Return the mode of a tmpfs that says none: the directory's on which it comes to lie.

        As runc and crun have it: a tmpfs on /tmp is everybody's, one on /root is not.
        """
        if self.kind != "tmpfs" or any(key == "mode" for key, _ in self.options.data):
            return ()
        try:
            place = open_beneath(work.root, self.destination, _HERE)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        try:
            return (("mode", f"{stat.S_IMODE(os.fstat(place).st_mode):o}"),)
        finally:
            os.close(place)

    def new(self, work: Workspace) -> int:
        try:
            return self._create(self._mode(work))
        except KernelError as error:
            # A user namespace may show only what is its own: the host's is bound instead.
            if self.own or error.errno != errno.EPERM:
                raise
        places = {"proc": "/proc", "sysfs": "/sys", "mqueue": "/dev/mqueue"}
        fd = mounts.open_tree(places.get(self.kind, "/sys/fs/cgroup"), recursive=True)
        mounts.mount_setattr("", at=fd, set_=self.options.set_)
        return fd

    def _create(self, extra: tuple[tuple[str, str], ...]) -> int:
        attributes = self.options.set_ & 0xFF
        if self.options.copy_up:
            attributes &= ~MOUNT_ATTR_RDONLY  # until it is filled
        flags = ((flag, None) for flag in self.options.flags)
        source = ("source", self.source or self.kind)
        return mount_new(self.kind, (source, *flags, *self.options.data, *extra), attributes)

    def _shape(self, fd: int) -> None:
        """Give the mount, and those beneath it, what was asked for besides."""
        options = self.options
        if options.set_ & ~0xFF:
            mounts.mount_setattr("", at=fd, set_=options.set_ & ~0xFF)
        if options.recursive_set or options.recursive_clear:
            mounts.mount_setattr(
                "", at=fd, set_=options.recursive_set, clear=options.recursive_clear,
                recursive=True,
            )  # fmt: skip
        for kind, recursive in options.propagation:
            mounts.mount_setattr("", at=fd, propagation=kind, recursive=recursive)

    def _remount(self, work: Workspace) -> None:
        fd = open_beneath(work.root, self.destination, os.O_PATH)
        try:
            flags = tuple((flag, None) for flag in self.options.flags)
            if self.options.bind is None and (flags or self.options.data):
                mounts.reconfigure(fd, (*flags, *self.options.data))
            mounts.mount_setattr("", at=fd, set_=self.options.set_, clear=self.options.clear)
            self._shape(fd)
        finally:
            os.close(fd)


def _listing(place: int) -> list[str]:
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _copy_up(below: int, above: int) -> None:
    """Copy what a directory held into the file system that was mounted on it; no link is followed.

    below, above: O_PATH descriptors of the directory beneath and of the new file system
    """
    for name in _listing(below):
        state = os.lstat(name, dir_fd=below)
        if stat.S_ISLNK(state.st_mode):
            os.symlink(os.readlink(name, dir_fd=below), name, dir_fd=above)
        elif stat.S_ISDIR(state.st_mode):
            os.mkdir(name, 0o700, dir_fd=above)
            flags = _HERE | os.O_NOFOLLOW
            source = os.open(name, flags, dir_fd=below)
            target = os.open(name, flags, dir_fd=above)
            try:
                _copy_up(source, target)
            finally:
                os.close(source)
                os.close(target)
        elif stat.S_ISREG(state.st_mode):
            _copy_file(name, below, above)
        else:
            os.mknod(name, state.st_mode, state.st_rdev, dir_fd=above)
        os.chown(name, state.st_uid, state.st_gid, dir_fd=above, follow_symlinks=False)
        if not stat.S_ISLNK(state.st_mode):
            os.chmod(name, stat.S_IMODE(state.st_mode), dir_fd=above)


def _copy_file(name: str, below: int, above: int) -> None:
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=below)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        target = os.open(name, flags, 0o600, dir_fd=above)
        try:
            while data := os.read(source, 1 << 16):
                while data:
                    data = data[os.write(target, data) :]
        finally:
            os.close(target)
    finally:
        os.close(source)


@dataclass(frozen=True, slots=True)
class Node:
    """A device node, or a fifo (`p`), that the container gets."""

    path: str
    type: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class MakeNodes:
    """Device nodes, made; or bound from this machine, as a user namespace must."""

    nodes: tuple[Node, ...]
    bind: bool

    def describe(self) -> str:
        return f"{'bind' if self.bind else 'make'} nodes " + " ".join(n.path for n in self.nodes)

    def run(self, work: Workspace) -> None:
        for node in self.nodes:
            folder = work.place(os.path.dirname(node.path), directory=True)
            try:
                self._make(node, os.path.basename(node.path), folder)
            finally:
                os.close(folder)

    def _make(self, node: Node, name: str, folder: int) -> None:
        kind = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
        number = os.makedev(node.major, node.minor) if node.type != "p" else 0
        try:
            state = os.lstat(name, dir_fd=folder)
        except FileNotFoundError:
            pass
        else:
            if stat.S_IFMT(state.st_mode) != kind[node.type] or state.st_rdev != number:
                raise InputError(
                    f"`{node.path}` of the container is something else already",
                    code="runtime/device-exists",
                )
            return
        if self.bind and node.type != "p":
            self._bind(node, name, folder, number)
            return
        os.mknod(name, kind[node.type] | node.mode, number, dir_fd=folder)
        os.chown(name, node.uid, node.gid, dir_fd=folder, follow_symlinks=False)
        os.chmod(name, node.mode, dir_fd=folder)

    def _bind(self, node: Node, name: str, folder: int, number: int) -> None:
        try:
            source = os.open(node.path, _PLACE | os.O_NOFOLLOW)
        except OSError as error:
            raise HostError(
                f"`{node.path}` of this machine: {error.strerror}", code="host/device-node"
            ) from None
        try:
            if os.fstat(source).st_rdev != number:
                raise HostError(
                    f"`{node.path}` of this machine is not the device {node.major}:{node.minor}",
                    code="host/device-node",
                )
            flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o600, dir_fd=folder))
            place = os.open(name, _PLACE | os.O_NOFOLLOW, dir_fd=folder)
            no_programs = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NOEXEC
            bind_fd(source, place, attributes=no_programs)
        finally:
            os.close(source)


@dataclass(frozen=True, slots=True)
class MakeLinks:
    """The links of /dev that the specification asks for, where there is nothing yet."""

    links: tuple[tuple[str, str], ...]
    """(text, name in /dev)"""

    def describe(self) -> str:
        return "link " + " ".join(f"/dev/{name}" for _, name in self.links)

    def run(self, work: Workspace) -> None:
        folder = work.place("/dev", directory=True)
        work.dev = folder
        for text, name in self.links:
            with contextlib.suppress(FileExistsError):
                os.symlink(text, name, dir_fd=folder)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            work.pts = open_beneath(work.root, "dev/pts", os.O_PATH | os.O_DIRECTORY)
        work.null = _null(work)


def _null(work: Workspace) -> int:
    """Open the container's /dev/null, and make sure that it is it (CVE-2025-31133)."""
    fd = open_beneath(work.root, "dev/null", os.O_PATH)
    state = os.fstat(fd)
    if not stat.S_ISCHR(state.st_mode) or state.st_rdev != os.makedev(1, 3):
        raise InputError("`/dev/null` of the container is not it", code="runtime/device-exists")
    return fd


@dataclass(frozen=True, slots=True)
class LockDev:
    """Make /dev read-only, once all that belongs there is there."""

    def describe(self) -> str:
        return "read-only /dev"

    def run(self, work: Workspace) -> None:
        mounts.mount_setattr("", at=work.dev, set_=MOUNT_ATTR_RDONLY)


@dataclass(frozen=True, slots=True)
class CheckDev:
    """Refuse an image whose /dev is a link: nothing is to be made elsewhere (CVE-2026-41579)."""

    def describe(self) -> str:
        return "look at /dev"

    def run(self, work: Workspace) -> None:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.lstat("dev", dir_fd=work.root).st_mode):
                raise InputError(
                    "`/dev` of the container is not a directory", code="runtime/not-a-directory"
                )


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """Make the working directory while the root may still be written to."""

    path: str

    def describe(self) -> str:
        return f"make `{self.path}`"

    def run(self, work: Workspace) -> None:
        with contextlib.suppress(OSError):  # entering it tells what is wrong
            fd, _ = open_directory_beneath(work.root, self.path)
            os.close(fd)


@dataclass(frozen=True, slots=True)
class FindProc:
    """Keep our own /proc by descriptor: sysctls are written through it."""

    def describe(self) -> str:
        return "open /proc"

    def run(self, work: Workspace) -> None:
        with contextlib.suppress(FileNotFoundError):
            fd = open_beneath(work.root, "proc", os.O_PATH | os.O_DIRECTORY)
            if mounts.is_proc(fd):
                work.proc = fd
            else:
                os.close(fd)


def _places(work: Workspace, paths: tuple[str, ...]) -> Iterator[int]:
    """Open those paths that are there, one after the other."""
    for path in paths:
        try:
            place = open_beneath(work.root, path, _PLACE)
        except (FileNotFoundError, NotADirectoryError):
            continue
        yield place


@dataclass(frozen=True, slots=True)
class HidePaths:
    """`maskedPaths`: files become /dev/null, directories an empty one; a missing one is hidden."""

    paths: tuple[str, ...]

    def describe(self) -> str:
        return "mask " + " ".join(self.paths)

    def run(self, work: Workspace) -> None:
        for place in _places(work, self.paths):
            if work.null < 0:  # /dev is the host's
                work.null = _null(work)
            hide(work, place)


@dataclass(frozen=True, slots=True)
class LockPaths:
    """`readonlyPaths`: nobody writes there; a missing one is nothing to write to."""

    paths: tuple[str, ...]

    def describe(self) -> str:
        return "read-only " + " ".join(self.paths)

    def run(self, work: Workspace) -> None:
        for place in _places(work, self.paths):
            lock(place)


@dataclass(frozen=True, slots=True)
class SpreadRoot:
    """`rootfsPropagation`, once the root is where it belongs."""

    kind: int
    recursive: bool

    def describe(self) -> str:
        return f"propagation of the root {self.kind:#x}"

    def run(self, work: Workspace) -> None:
        mounts.mount_setattr("/", propagation=self.kind, recursive=self.recursive)


@dataclass(frozen=True, slots=True)
class MountCgroups:
    """All hierarchies of v1 on one directory, each showing the container's own part of it.

    own: in a cgroup namespace of the container's; a new mount there starts at its cgroup, while
        the host's would show the host's
    """

    destination: str
    options: Options
    own: bool

    def describe(self) -> str:
        return f"mount cgroups on `{self.destination}`"

    def run(self, work: Workspace) -> None:
        options = (("source", "tmpfs"), ("mode", "755"), ("size", "64k"))
        top = mount_new("tmpfs", options, self.options.set_ & 0xFF & ~MOUNT_ATTR_RDONLY)
        place = work.place(self.destination, directory=True)
        try:
            mounts.move_mount(top, "", at=place)
        finally:
            os.close(place)
        try:
            for names, path in own_directories():
                self._one(top, names, path)
            if self.options.set_ & MOUNT_ATTR_RDONLY:
                mounts.mount_setattr("", at=top, set_=MOUNT_ATTR_RDONLY)
        finally:
            os.close(top)

    def _one(self, top: int, names: tuple[str, ...], path: str) -> None:
        name = ",".join(names).removeprefix("name=")
        os.mkdir(name, 0o755, dir_fd=top)
        fd = self._new(names) if self.own else mounts.open_tree(path)
        try:
            mounts.mount_setattr("", at=fd, set_=self.options.set_, propagation=mounts.MS_PRIVATE)
            place = os.open(name, _HERE | os.O_NOFOLLOW, dir_fd=top)
            try:
                mounts.move_mount(fd, "", at=place)
            finally:
                os.close(place)
        finally:
            os.close(fd)
        for single in names if len(names) > 1 else ():
            os.symlink(name, single, dir_fd=top)

    def _new(self, names: tuple[str, ...]) -> int:
        options: list[tuple[str, str | None]] = [("source", "cgroup")]
        for name in names:
            if name.startswith("name="):  # a hierarchy without controllers
                options += [("none", None), ("name", name.removeprefix("name="))]
            else:
                options.append((name, None))
        return mount_new("cgroup", options, 0)
