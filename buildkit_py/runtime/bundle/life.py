"""The beginning of a bundle's container: create, start. Linux, no daemon; see end.py, too.

Each function is one command of `pyruntime`, in a process of its own with one thread. What is on
disk (state.py) is written before anything else is made, so that whoever comes after a SIGKILL
finds what there is to remove.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time

from buildkit_py.core.data import dataclass, replace
from buildkit_py.core.errors import BuildkitError, HostError, InputError
from buildkit_py.oci.runtime_config_reader import read
from buildkit_py.runtime import init
from buildkit_py.runtime.bundle import child, hooks
from buildkit_py.runtime.bundle.birth import bear
from buildkit_py.runtime.bundle.ids import map_ids
from buildkit_py.runtime.bundle.plan import FLAGS, is_mapped, notifies, plan
from buildkit_py.runtime.bundle.state import (
    Place,
    State,
    WrongStatus,
    cgroup_of,
    for_others,
    status_of,
    with_pid,
)
from buildkit_py.runtime.kernel import oci_cgroup_paths, processes
from buildkit_py.runtime.kernel.oci_cgroups import Cgroup
from buildkit_py.runtime.kernel.syscalls import CLONE_NEWCGROUP, CLONE_NEWUSER, MACHINE
from buildkit_py.runtime.process import error_of, receive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from buildkit_py.oci.runtime_config import Config
    from buildkit_py.runtime.bundle.plan import BundlePlan


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says of a container to be created.

    listen_fds: sockets from descriptor 3 on that its caller was handed, and hands on
    """

    bundle: str
    config: str = ""
    console_socket: str = ""
    pid_file: str = ""
    preserve: int = 0
    pidfd_socket: str = ""
    no_new_keyring: bool = False
    no_pivot: bool = False
    systemd_cgroup: bool = False
    no_cgroup: bool = False
    listen_fds: int = 0


@dataclass(slots=True)
class Created:
    """A container that waits for its start. terminal: the near end of it, or -1"""

    pid: int
    pidfd: int
    terminal: int
    warnings: list[str]


def create(
    root: str, id: str, wishes: Wishes, *, meanwhile: Callable[[], None] = lambda: None
) -> Created:
    """Make a container up to where it waits for `start`. What fails leaves nothing behind.

    meanwhile: called while the container sets itself up
    """
    place = Place(root, id)
    bundle = os.path.abspath(wishes.bundle)
    data = _config_data(os.path.join(bundle, wishes.config or "config.json"))
    config = read(data)
    umask = os.umask(0o077)
    rootless = os.geteuid() != 0
    if rootless and config.linux.namespace("user") is None:
        raise InputError(
            "without root a container needs a user namespace", code="runtime/needs-user-namespace",
            hint="`pyruntime spec --rootless` writes such a config.json",
        )  # fmt: skip
    rootfs = os.path.realpath(os.path.join(bundle, config.root_path))
    _check_root(rootfs)
    host = oci_cgroup_paths.detect(rootless=rootless)
    places = oci_cgroup_paths.plan_paths(
        config.linux.cgroups_path, id, host, systemd=wishes.systemd_cgroup
    )
    if wishes.no_cgroup:
        places = ()
    is_v1 = any(not each.unified for each in places)
    made = plan(
        config, bundle=bundle, rootfs=rootfs, machine=MACHINE, umask=umask,
        cgroup="v1" if is_v1 else "v2" if places else "", no_new_keyring=wishes.no_new_keyring,
        rootless=rootless, no_pivot=wishes.no_pivot, selinux=_has_selinux(config),
    )  # fmt: skip
    if wishes.listen_fds:
        # sd_listen_fds(3): the program is process 1 of its namespace.
        told = (f"LISTEN_FDS={wishes.listen_fds}", "LISTEN_PID=1")
        made = replace(made, env=(*made.env, *told))
    _check_terminal(config, wishes)
    place.claim()
    lock = place.lock()
    lock.acquire()
    try:
        place.keep_config(data)
        cgroup = Cgroup.prepare(places, guards_devices=not rootless)
        state = State(
            id, bundle, rootfs,
            created=_now(),
            owner=os.getuid(), annotations=config.annotations, cgroup=cgroup.to_data(),
        )  # fmt: skip
        place.write(state)
        try:
            return _Maker(place, state, config, made, wishes, lock.fd).make(cgroup, meanwhile)
        except BaseException:
            cgroup.kill_all()
            cgroup.delete()
            if config.linux.intel_rdt is not None:
                from buildkit_py.runtime.bundle.end import leave_resctrl

                leave_resctrl(config, id)
            raise
    except BaseException:
        place.remove()
        raise
    finally:
        lock.release()


class _Maker:
    """The making of one container, from its cgroup to where it waits."""

    def __init__(
        self,
        place: Place,
        state: State,
        config: Config,
        made: BundlePlan,
        wishes: Wishes,
        lock_fd: int,
    ) -> None:
        self.place = place
        self.state = state
        self.config = config
        self.plan = made
        self.wishes = wishes
        self.lock_fd = lock_fd
        self.warnings = list(made.warnings)
        self.terminal = -1

    def make(self, cgroup: Cgroup, meanwhile: Callable[[], None]) -> Created:
        cgroup.create()
        self.warnings += cgroup.apply(self.config.linux.resources)
        if not cgroup.places and _has_limits(self.config):
            self.warnings.append("no cgroup can be made here: resources are not limited")
        group = None
        if self.config.linux.intel_rdt is not None:
            from buildkit_py.runtime.bundle import resctrl

            group = resctrl.Group(self.config.linux.intel_rdt, self.place.id)
            group.create()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            _bind(listener, self.place.socket)
            pid, pidfd = self._clone(cgroup, near, far, listener)
            far.close()
            try:
                if group is not None:
                    group.add(pid)
                meanwhile()
                self._accompany(pid, near)
                if self.wishes.pidfd_socket:
                    give_pidfd(pidfd, self.wishes.pidfd_socket, b"standard")
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
                os.close(pidfd)
                raise
        finally:
            listener.close()
            near.close()
            far.close()
        return Created(pid, pidfd, self.terminal, self.warnings)

    def _clone(
        self, cgroup: Cgroup, near: socket.socket, far: socket.socket, listener: socket.socket
    ) -> tuple[int, int]:
        joins = [(_open_namespace(path, kind), kind) for kind, path in self.plan.joins]
        unified, join = cgroup.enter() if cgroup.places else (-1, [])
        flags = self.plan.flags & ~CLONE_NEWCGROUP if join else self.plan.flags
        inner = for_others(self.place, self.state, status="creating")
        by_kind = {kind: fd for fd, kind in joins}
        made, opened = self._opened(by_kind.get("user", -1))

        def start_hooks(env: tuple[str, ...]) -> None:
            self._inner_hooks("startContainer", inner, env)

        def run() -> NoReturn:
            near.close()
            child.run(
                made,
                channel=far,
                listener=listener,
                join_cgroups=tuple(join),
                namespaces=tuple(each for each in joins if each[1] not in ("pid", "user")),
                mapped=bool(self.plan.flags & CLONE_NEWUSER),
                joined_user="user" in by_kind,
                create_hooks=lambda: self._inner_hooks("createContainer", inner, ()),
                start_hooks=start_hooks if self.config.hooks.start_container else None,
                preserve=self.wishes.preserve,
                close=(self.lock_fd,),
            )

        pid, pidfd = bear(
            run, flags=flags, cgroup_fd=unified, user_fd=by_kind.get("user", -1),
            pid_fd=by_kind.get("pid", -1),
        )  # fmt: skip
        for fd in (unified, *join, *opened, *(fd for fd, _ in joins)):
            if fd >= 0:
                os.close(fd)
        self.state = with_pid(self.state, pid)
        self.place.write(self.state)
        return pid, pidfd

    def _opened(self, user_fd: int) -> tuple[BundlePlan, list[int]]:
        """Return the plan with what only we may open for it, and the descriptors of that."""
        if not any(is_mapped(mount) for mount in self.config.mounts):
            return self.plan, []
        from buildkit_py.runtime.bundle import idmap

        before, fds = idmap.prepare(self.plan.before, self.config, user_fd)
        return replace(self.plan, before=before), fds

    def _inner_hooks(self, name: str, state: bytes, env: tuple[str, ...]) -> None:
        """Run the container's own hooks, as its first process. env: of those given none"""
        ours = self.config.hooks
        data = json.loads(state)
        data["pid"] = os.getpid()
        if name == "createContainer":
            hooks.run_all(name, ours.create_container, json.dumps(data).encode())
            return
        data["status"] = "created"
        hooks.run_all(name, ours.start_container, json.dumps(data).encode(), env=env)

    def _accompany(self, pid: int, channel: socket.socket) -> None:
        """Do what the container needs of us while it is being made."""
        if self.plan.flags & CLONE_NEWUSER:
            map_ids(pid, self.config)
            channel.send(b"mapped")
        while True:
            data, fds = receive(channel, 1)
            match data[:1]:
                case init.NOTE:
                    self.warnings.append(data[1:].decode())
                case init.ERROR:
                    raise error_of(data[1:])
                case init.EXEC:
                    raise CannotRun(data[1:])
                case child.SOURCE:
                    from buildkit_py.runtime.bundle import sources

                    bundle = self.state.bundle
                    known = {os.path.join(bundle, each.source) for each in self.config.mounts}
                    sources.hand_over(channel, data[1:], pid, known)
                case child.SET_UP:
                    if self.config.linux.net_devices:
                        from buildkit_py.runtime.bundle import net_devices

                        net_devices.move(pid, self.config.linux.net_devices)
                    state = for_others(self.place, self.state, status="creating")
                    ours, folder = self.config.hooks, self.state.bundle
                    hooks.run_all("prestart", ours.prestart, state, folder=folder)
                    hooks.run_all("createRuntime", ours.create_runtime, state, folder=folder)
                    channel.send(b"go")
                case init.READY:
                    if fds:
                        self.terminal = give_terminal(fds[0], self.wishes.console_socket)
                    if self.wishes.pid_file:
                        write_pid(self.wishes.pid_file, pid)
                    return
                case _:
                    raise self._death()

    def _death(self) -> HostError:
        if cgroup_of(self.state).out_of_memory():
            hint = "the kernel killed it for want of memory: its limit is too low"
        else:
            hint = None
        return HostError("the container died while it was made", code="host/set-up", hint=hint)


def give_terminal(fd: int, path: str) -> int:
    """Send the near end of a terminal to a console socket; without one return it."""
    if not path:
        return fd
    try:
        _give("console", path, b"/dev/ptmx", fd, code="runtime/console-socket")
    finally:
        os.close(fd)
    return -1


def give_pidfd(pidfd: int, path: str, kind: bytes) -> None:
    """Send the descriptor of a process to who asked for it. kind: runc's `standard` or `setns`"""
    _give("pidfd", path, kind, pidfd, code="runtime/pidfd-socket")


def _give(what: str, path: str, text: bytes, fd: int, *, code: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as handle:
        try:
            handle.connect(path)
            socket.send_fds(handle, [text], [fd])
        except OSError as error:
            raise HostError(f"{what} socket `{path}`: {error.strerror}", code=code) from None


def start(root: str, id: str) -> list[str]:
    """Let a created container's program run; return warnings. Raises WrongStatus, and why not."""
    place = Place(root, id)
    state = place.read()
    status = status_of(place, state)
    if status != "created":
        raise WrongStatus(f"container `{id}` is {status}, not created")
    config = read(place.config())
    if config.process is None:
        raise InputError(
            f"container `{id}` has no `process` in its config.json: there is nothing to start",
            code="runtime/no-program",
        )
    warnings: list[str] = []
    listens = notifies(config)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as handle:
        try:
            _connect(handle, place.socket)
        except OSError:
            raise WrongStatus(f"container `{id}` does not wait for its start any more") from None
        os.unlink(place.socket)
        while (said := receive(handle, 1))[0]:
            data, fds = said
            match data[:1]:
                case init.NOTE:
                    warnings.append(data[1:].decode())
                case init.LISTENER:
                    from buildkit_py.runtime.bundle import listener

                    told = for_others(place, state, status="created")
                    listener.hand_over(handle, data[1:], fds, state.pid, config, told)
                    listens = False
                case init.ERROR:
                    raise error_of(data[1:])
                case init.EXEC:
                    raise CannotRun(data[1:])
                case _:
                    raise HostError("the container said what it should not", code="host/set-up")
    if listens:
        from buildkit_py.runtime.bundle.listener import NotHanded

        raise NotHanded
    try:
        hooks.run_all(
            "poststart", config.hooks.poststart, for_others(place, state, status="running")
        )
    except BuildkitError:
        from buildkit_py.runtime.bundle.end import delete

        delete(root, id, force=True)  # runtime.md, Lifecycle: it is destroyed
        raise
    return warnings


class CannotRun(InputError):
    """The program is not there, or is none.

    program_code: what `run` and `exec` end with: 127 for what is not there, else 126
    """

    code = "runtime/cannot-run"

    def __init__(self, said: bytes) -> None:
        """said: the body of a message EXEC; see init.py"""
        super().__init__(said[1:].decode())
        self.program_code = said[0]


def _now() -> str:
    """Return the time as RFC 3339 has it; `datetime` takes 2 ms to import."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09}Z"


def _config_data(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(64 << 20)
    except OSError as error:
        raise InputError(f"`{path}`: {error.strerror}", code="runtime/no-config") from None


def _check_root(path: str) -> None:
    if not os.path.isdir(path):
        raise InputError(f"root.path: `{path}` is not a directory", code="runtime/no-root")


def _check_terminal(config: Config, wishes: Wishes) -> None:
    terminal = config.process is not None and config.process.terminal
    if wishes.console_socket and not terminal:
        raise InputError(
            "`--console-socket` is for containers with a terminal", code="runtime/console-socket",
            hint="set `process.terminal` in config.json",
        )  # fmt: skip


def _has_selinux(config: Config) -> bool:
    return bool(config.linux.mount_label) and os.path.exists("/sys/fs/selinux/enforce")


def _has_limits(config: Config) -> bool:
    from buildkit_py.oci.runtime_config import Resources

    return replace(config.linux.resources, devices=()) != Resources()


def _open_namespace(path: str, kind: str) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(
            f"namespace `{path}`: {error.strerror}", code="runtime/no-namespace"
        ) from None
    if processes.namespace_type(fd) != FLAGS[kind]:
        raise InputError(f"`{path}` is no namespace `{kind}`", code="runtime/no-namespace")
    return fd


def write_pid(path: str, pid: int) -> None:
    """Write a file that is there whole, or not."""
    part = f"{path}.{pid}"
    try:
        with open(part, "w") as file:
            file.write(str(pid))
        os.rename(part, path)
    except OSError as error:
        raise HostError(f"`{path}`: {error.strerror}", code="host/pid-file") from None


def _bind(handle: socket.socket, path: str) -> None:
    """Bind a socket whose path may be longer than an address is."""
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        handle.bind(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
        handle.listen(4)
    finally:
        os.close(folder)


def _connect(handle: socket.socket, path: str) -> None:
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        handle.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    finally:
        os.close(folder)
