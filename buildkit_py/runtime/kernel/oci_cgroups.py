"""The cgroups of an OCI container, from before they exist until nothing is left of them.

`oci_cgroup_paths` chooses the places. `prepare` only looks, so that the caller can record
(`to_data`) what is about to be made, before `create` makes it: a later process finds it all again
with `from_data`, even after a SIGKILL in between. cgroup v1, cgroup2, and both beside each other:
each controller is used where this machine has it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal as signals
import time

from buildkit_py.core.errors import HostError, StateError
from buildkit_py.runtime.kernel import cgroups, oci_cgroup_files, oci_cgroup_stats, oci_limits
from buildkit_py.runtime.kernel.cgroup_layout import is_free
from buildkit_py.runtime.kernel.oci_cgroup_files import has, opened, read, read_or_empty, write
from buildkit_py.runtime.kernel.oci_cgroup_paths import BASE, Place, detect
from buildkit_py.runtime.kernel.syscalls import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from buildkit_py.oci.runtime_config import Resources

_PATIENCE_SECONDS = 10.0
_MOST_PASSES = 1000
"""How often those who were born meanwhile are looked for, while they do not die of the signal."""


class CgroupInUse(StateError):
    """A container may have neither a cgroup with processes in it nor a frozen one."""

    code = "runtime/cgroup-in-use"


class Cgroup:
    """A container's cgroups. Nothing is held open between calls.

    places: its directory in each hierarchy; () where no cgroup can be made
    made: (mount point, path) of directories that are ours to remove, outermost first
    guards_devices: False for a user without root, whose user namespace needs no guard
    """

    def __init__(
        self,
        places: Sequence[Place],
        *,
        made: Sequence[tuple[str, str]] = (),
        guards_devices: bool = True,
    ) -> None:
        self.places = tuple(places)
        self.made = list(made)
        self.guards_devices = guards_devices

    @classmethod
    def prepare(cls, places: Sequence[Place], *, guards_devices: bool = True) -> Cgroup:
        """Look what is there, and return a cgroup that is yet to be made. Raises CgroupInUse."""
        cgroup = cls(places, guards_devices=guards_devices)
        for place in places:
            names = place.path.split("/")
            paths = ["/".join(names[: count + 1]) for count in range(len(names))]
            missing = [path for path in paths if not os.path.lexists(f"{place.mount}/{path}")]
            cgroup.made += [(place.mount, path) for path in missing]
        if cgroup.is_frozen():
            raise CgroupInUse(f"cgroup `{places[0].path}` is frozen")
        if found := cgroup.pids(recursive=True):
            raise CgroupInUse(f"cgroup `{places[0].path}` has processes in it: {found[0]}")
        return cgroup

    def create(self) -> None:
        """Make the directories. What cannot be made leaves nothing behind.

        Raises CgroupInUse when another container was faster, else HostError.
        """
        planned, self.made = self.made, []
        try:
            for place in self.places:
                self._create(place, planned)
        except OSError as error:
            self.delete()
            raise HostError(
                f"cgroup: {error.strerror} ({error.filename})", code="host/cgroup"
            ) from None
        except BaseException:
            self.delete()
            raise

    def _create(self, place: Place, planned: Sequence[tuple[str, str]]) -> None:
        names = place.path.split("/")
        leaf = (place.mount, place.path)
        for attempt in range(100):
            try:
                if place.unified:
                    _hand_down(place.mount, "")
                for count in range(1, len(names) + 1):
                    self._make(place, "/".join(names[:count]), leaf, planned)
                return
            except FileNotFoundError:
                # Somebody removed the directory above, empty, at this moment.
                if attempt == 99:
                    raise

    def _make(
        self, place: Place, path: str, leaf: tuple[str, str], planned: Sequence[tuple[str, str]]
    ) -> None:
        above, _, name = path.rpartition("/")
        key = (place.mount, path)
        with opened(place.mount, above) as parent_fd:
            try:
                os.mkdir(name, 0o755, dir_fd=parent_fd)
                os.chmod(name, 0o755, dir_fd=parent_fd)  # whatever the umask is: it may be shared
                if key not in self.made:
                    self.made.append(key)
            except FileExistsError:
                if key == leaf and key in planned and key not in self.made:
                    raise CgroupInUse(f"cgroup `{path}` was made by somebody else") from None
            with opened(place.mount, path) as fd:
                if "cpuset" in place.controllers:
                    _inherit_cpuset(parent_fd, fd)
                if read_or_empty(fd, "cgroup.type").strip() == "domain invalid":
                    raise HostError(
                        f"cgroup `{path}` is beneath one for threads: no process can be in it",
                        code="host/cgroup",
                    )
        if place.unified and key != leaf:
            _hand_down(place.mount, path)

    def enter(self, sub: str = "", **beneath: str) -> tuple[int, list[int]]:
        """Open what a process needs to be born here; both are the caller's to close.

        Returns the cgroup2 directory for CLONE_INTO_CGROUP, or -1, and cgroup.procs files of v1,
        into which the child writes `0` before it makes its cgroup namespace.
        sub: a cgroup beneath; it must exist in one hierarchy, in others the container's own will do
        beneath: for hierarchies with a controller, by its name; it must exist
        """
        unified, join = -1, []
        found = not sub or not self.places
        everywhere = sub
        try:
            for place in self.places:
                chosen = next((beneath[c] for c in place.controllers if c in beneath), None)
                sub = everywhere if chosen is None else chosen
                try:
                    fd = oci_cgroup_files.open_directory(place.mount, _below(place.path, sub))
                    found = True
                except FileNotFoundError:
                    if not sub or chosen is not None:
                        raise
                    fd = oci_cgroup_files.open_directory(place.mount, place.path)
                if place.unified:
                    unified = fd
                    continue
                try:
                    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                    join.append(os.open("cgroup.procs", flags, dir_fd=fd))
                finally:
                    os.close(fd)
            if not found:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), sub)
        except OSError as error:
            for fd in (unified, *join):
                if fd >= 0:
                    os.close(fd)
            raise HostError(
                f"cgroup: {error.strerror} ({error.filename})", code="host/cgroup"
            ) from None
        return unified, join

    def apply(self, resources: Resources) -> list[str]:
        """Set all limits and device rules, before a process is in. Returns warnings. HostError."""
        return oci_limits.apply(self.places, resources, guards_devices=self.guards_devices)

    def update(self, resources: Resources) -> list[str]:
        """Change limits that are given, and devices when there are rules. Returns warnings."""
        return oci_limits.update(self.places, resources, guards_devices=self.guards_devices)

    def delegate(self, uid: int, gid: int = -1) -> None:
        """Give the cgroup2 directory to a user, as far as the kernel lets it be given away."""
        try:
            with open("/sys/kernel/cgroup/delegate") as file:
                names = file.read().split()
        except OSError:
            names = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]
        for place, fd in self._open():
            if place.unified:
                os.fchown(fd, uid, gid)
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)

    def _open(self) -> Iterator[tuple[Place, int]]:
        """Yield each place that exists, with a descriptor of it."""
        for place in self.places:
            try:
                fd = oci_cgroup_files.open_directory(place.mount, place.path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                yield place, fd
            finally:
                os.close(fd)

    def exists(self) -> bool:
        return any(True for _ in self._open())

    def pids(self, *, recursive: bool = False) -> list[int]:
        """Return who is in it, sorted."""
        found: set[int] = set()
        for _, top in self._open():
            for fd in oci_cgroup_files.walk(top) if recursive else (top,):
                found.update(oci_cgroup_files.pids(fd))
        return sorted(found)

    def is_frozen(self) -> bool:
        for place, fd in self._open():
            if "freezer" in place.controllers:
                if read_or_empty(fd, "freezer.state").strip() not in ("", "THAWED"):
                    return True
            elif place.unified:
                asked = read_or_empty(fd, "cgroup.freeze").strip() == "1"
                if asked or "frozen 1" in read_or_empty(fd, "cgroup.events").splitlines():
                    return True
        return False

    def freeze(self, *, timeout_seconds: float = _PATIENCE_SECONDS) -> None:
        """Stop all processes, and return when they stand. Raises HostError; then none stands.

        cgroup2 is asked first: it tells when all stand, and what it froze can be killed.
        """
        for place, fd in self._open():
            if place.unified and has(fd, "cgroup.freeze"):
                _tell(fd, "cgroup.freeze", "1")
                if oci_cgroup_files.wait_for_event(
                    fd, "frozen", "1", timeout_seconds=timeout_seconds
                ):
                    return
                _tell(fd, "cgroup.freeze", "0")
                raise _cannot_freeze(place)
        for place, fd in self._open():
            if "freezer" in place.controllers:
                if not _freeze_v1(fd, timeout_seconds):
                    _tell(fd, "freezer.state", "THAWED")
                    raise _cannot_freeze(place)
                return
        raise HostError("nothing can be paused here: no cgroup can freeze", code="host/cgroup")

    def thaw(self, *, timeout_seconds: float = _PATIENCE_SECONDS) -> None:
        """Let all processes go on, whoever froze them and wherever."""
        for place, fd in self._open():
            if "freezer" in place.controllers:
                _tell(fd, "freezer.state", "THAWED")
            elif place.unified and has(fd, "cgroup.freeze"):
                _tell(fd, "cgroup.freeze", "0")
                oci_cgroup_files.wait_for_event(fd, "frozen", "0", timeout_seconds=timeout_seconds)

    def kill_all(self, signal: int = signals.SIGKILL) -> None:
        """Send a signal to everybody in here and beneath, also to those who are born meanwhile.

        Who is frozen by v1 does not even die before a thaw: SIGKILL thaws.
        """
        if signal == signals.SIGKILL and not self._kill_at_once():
            # Who stands still cannot fork faster than we count.
            with contextlib.suppress(HostError, OSError):
                self.freeze(timeout_seconds=1)
        done: set[tuple[int, int]] = set()
        for _ in range(_MOST_PASSES):
            if not self._signal(signal, done):
                break
        if signal == signals.SIGKILL:
            for place, fd in self._open():
                if "freezer" in place.controllers:
                    with contextlib.suppress(OSError):
                        write(fd, "freezer.state", "THAWED")

    def _kill_at_once(self) -> bool:
        """Let the kernel kill a whole tree of cgroup2, which it can from Linux 5.14 on."""
        for place, fd in self._open():
            if place.unified and has(fd, "cgroup.kill"):
                with contextlib.suppress(OSError):
                    write(fd, "cgroup.kill", "1")
                    return True
        return False

    def _signal(self, signal: int, done: set[tuple[int, int]]) -> bool:
        """Signal those not in `done`, and tell whether there was anybody."""
        opened_pids: dict[tuple[int, int], int] = {}
        try:
            for pid in self.pids(recursive=True):
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                    key = (pid, cgroups.start_time(pid))
                    if key not in done:
                        opened_pids[key] = os.pidfd_open(pid)
            # A number that is still listed now was not given to a stranger before it was opened.
            listed = set(self.pids(recursive=True)) if opened_pids else set()
            for (pid, _), fd in opened_pids.items():
                if pid in listed:
                    with contextlib.suppress(ProcessLookupError):
                        signals.pidfd_send_signal(fd, signal)
        finally:
            for fd in opened_pids.values():
                os.close(fd)
        done.update(opened_pids)
        return bool(opened_pids)

    def stats(self) -> dict[str, Any]:
        """Return what was used, in the shape of `runc events --stats`."""
        names: list[str] = []
        for _, fd in self._open():
            names += os.listdir(fd)
        v1 = frozenset(name for place in self.places for name in place.controllers)
        return oci_cgroup_stats.stats(self._read, v1, names)

    def out_of_memory(self) -> bool:
        """Tell whether the kernel killed something in here for want of memory."""
        is_v1 = any("memory" in place.controllers for place in self.places)
        return oci_cgroup_stats.oom_kills(self._read, is_v1=is_v1) > 0

    def _read(self, controller: str, name: str) -> str:
        for place, fd in self._open():
            if controller in place.controllers or (not controller and place.unified):
                return read_or_empty(fd, name)
        return ""

    def delete(self) -> None:
        """Remove what we made, with all that was made in it; its processes are dead or dying.

        Directories above, which others may use by now, go when they are empty. KernelError.
        """
        ours = {(place.mount, place.path) for place in self.places}
        failure: KernelError | None = None
        deadline = time.monotonic() + _PATIENCE_SECONDS  # for all of them: one that hangs, hangs
        for mount, path in reversed(list(self.made)):
            above, _, name = path.rpartition("/")
            with contextlib.suppress(FileNotFoundError), opened(mount, above) as parent_fd:
                if (mount, path) in ours:
                    try:
                        left = max(deadline - time.monotonic(), 0)
                        oci_cgroup_files.remove_tree(parent_fd, name, timeout_seconds=left)
                    except KernelError as error:
                        failure = failure or error
                        continue
                else:
                    with contextlib.suppress(OSError):
                        os.rmdir(name, dir_fd=parent_fd)
            self.made.remove((mount, path))
        for place in self.places:
            _remove_base(place)
        if failure is not None:
            raise failure

    def to_data(self) -> dict[str, Any]:
        """Return this as plain JSON types."""
        return {
            "places": [
                {
                    "mount": place.mount,
                    "path": place.path,
                    "controllers": list(place.controllers),
                    "unified": place.unified,
                }
                for place in self.places
            ],
            "made": [list(each) for each in self.made],
            "guardsDevices": self.guards_devices,
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Cgroup:
        places = [
            Place(each["mount"], each["path"], tuple(each["controllers"]), each["unified"])
            for each in data["places"]
        ]
        made = [(mount, path) for mount, path in data["made"]]
        return cls(places, made=made, guards_devices=data["guardsDevices"])


def thaw_process(pid: int) -> None:
    """Thaw the cgroup of v1 that a process is in, whosever that is: frozen it does not even die."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/cgroup") as file:
            rows = [line.rstrip("\n").split(":", 2) for line in file]
        for each in detect(rootless=False).hierarchies:
            for _, names, path in rows if "freezer" in each.controllers else ():
                if "freezer" in names.split(",") and ".." not in path.split("/"):
                    with opened(each.mount, path.strip("/")) as fd:
                        if read_or_empty(fd, "freezer.state").strip() != "THAWED":
                            write(fd, "freezer.state", "THAWED")


def _below(path: str, sub: str) -> str:
    names = [name for name in sub.split("/") if name not in ("", ".")]
    if ".." in names:
        raise HostError(f"cgroup `{sub}`: `..` components are not allowed", code="host/cgroup")
    return "/".join([path, *names])


def _remove_base(place: Place) -> None:
    """Remove our base and what is in it when empty: whoever made it may have left before us."""
    names = place.path.split("/")
    for count in range(len(names) - 1, 0, -1):
        if BASE in names[:count]:
            with (
                contextlib.suppress(OSError),
                opened(place.mount, "/".join(names[: count - 1])) as fd,
            ):
                os.rmdir(names[count - 1], dir_fd=fd)


def _hand_down(mount: str, path: str) -> None:
    """Let cgroups beneath have all controllers. One that cannot be is found missing later."""
    with opened(mount, path) as fd:
        there = set(read_or_empty(fd, "cgroup.subtree_control").split())
        missing = set(read_or_empty(fd, "cgroup.controllers").split()) - there
        if missing and is_free(os.path.join(mount, path)):
            for name in sorted(missing):
                with contextlib.suppress(OSError):
                    write(fd, "cgroup.subtree_control", f"+{name}")


def _inherit_cpuset(parent_fd: int, fd: int) -> None:
    """Fill empty files from above: an empty one lets no process in."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not read(fd, name).strip():
            write(fd, name, read(parent_fd, name).strip())


def _tell(fd: int, name: str, text: str) -> None:
    try:
        write(fd, name, text)
    except OSError as error:
        raise KernelError("write", f"{name} = {text}", error.errno or 0) from None


def _freeze_v1(fd: int, timeout_seconds: float) -> bool:
    """Freeze by v1, which tells nobody when it is done and may get stuck on a fork."""
    deadline = time.monotonic() + timeout_seconds
    wait_seconds = 0.001
    while True:
        _tell(fd, "freezer.state", "FROZEN")
        if read(fd, "freezer.state").strip() == "FROZEN":
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(wait_seconds)
        wait_seconds = min(2 * wait_seconds, 0.05)
        if wait_seconds == 0.05:
            _tell(fd, "freezer.state", "THAWED")


def _cannot_freeze(place: Place) -> KernelError:
    return KernelError("freeze", place.directory, errno.ETIMEDOUT)
