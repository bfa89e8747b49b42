"""The zygote's own side: read requests, clone, wait for ends, clean up.

One thread, no lock, no buffer. What children need is imported here, before any of them exists:
in a container nothing may be imported. Everything lives in one epoll loop.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import marshal
import os
import pickle
import select
import signal
import socket
import traceback
from collections.abc import Sequence

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import Bug, BuildkitError, HostError, InputError
from buildkit_py.runtime import execute, init
from buildkit_py.runtime.execute import Execution
from buildkit_py.runtime.host import Host
from buildkit_py.runtime.kernel import cgroups, processes
from buildkit_py.runtime.kernel.command_line import Memory
from buildkit_py.runtime.kernel.syscalls import CLONE_NEWCGROUP, CLONE_NEWNET, CLONE_PARENT
from buildkit_py.runtime.network import interface
from buildkit_py.runtime.plan import Plan
from buildkit_py.runtime.spec import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

CONTROL = 3
"""The descriptor of the control socket."""

_MOST_FDS = 64
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(slots=True)
class _Child:
    """A container, a further program in one (without a cgroup of its own), or a helper.

    Helpers have neither channel nor cgroup.
    """

    pid: int
    pidfd: int
    channel: socket.socket | None = None
    cgroup: cgroups.Cgroup | None = None


def main() -> NoReturn:
    """Serve until the control socket ends. Never returns. The first message is the Host."""
    code, control = 70, None
    try:
        for name in os.listdir("/proc/self/fd"):
            if int(name) > CONTROL:
                with contextlib.suppress(OSError):  # the listing's own, closed by now
                    os.close(int(name))
        os.set_inheritable(CONTROL, False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        control = socket.socket(fileno=CONTROL)
        host = pickle.loads(control.recv(1 << 16))
        gc.collect()
        gc.freeze()
        gc.disable()  # a collection in a child would copy every page it looks at
        _Loop(control, host).serve()
        code = 0
    except BaseException:
        # The asking process tells people; see Zygote._lost.
        if control is not None:
            _send(control, traceback.format_exc().encode()[-4000:])
    finally:
        os._exit(code)


class _Loop:
    def __init__(self, control: socket.socket, host: Host) -> None:
        self.control = control
        self.owner = cgroups.Owner(host.cgroups)
        self.memory = Memory.of_this_process()
        self.children: dict[int, _Child] = {}
        self.channels: dict[int, _Child] = {}
        self.epoll = select.epoll()
        self.epoll.register(control.fileno(), select.EPOLLIN)

    def serve(self) -> None:
        try:
            while True:
                for fd, _ in self.epoll.poll():
                    if fd == self.control.fileno():
                        if not self._request():
                            return
                    elif fd in self.children:
                        self._ended(self.children[fd])
                    elif fd in self.channels:
                        # Nobody holds the other end any more: nobody wants this container.
                        self._forget_channel(self.channels[fd])
        finally:
            for child in list(self.children.values()):
                _kill(child)
            # A container's first process ends after the programs that were added to it, and
            # those only after somebody has reaped them.
            for child in sorted(self.children.values(), key=lambda each: each.cgroup is not None):
                self._ended(child)
            self.owner.close()

    def _request(self) -> bool:
        """Serve one request; False when the asking process is gone."""
        data, fds, _, _ = socket.recv_fds(self.control, 1 << 17, _MOST_FDS)
        if not data:
            return False
        if data[:1] == b"M":
            memory = fds.pop(0)
            with open(memory, "rb") as file:
                file.seek(0)
                body = file.read()
        else:
            body = data[1:]
        channel = socket.socket(fileno=fds.pop(0))
        try:
            match pickle.loads(body):
                case ("create", plan, limits):
                    self._create(plan, limits, channel, fds)
                case ("network", specs):
                    self._network(specs, channel)
                case ("execute", pid, execution):
                    self._execute(pid, execution, channel, fds)
                case ("helper", argv, in_netns):
                    self._helper(argv, channel, fds, in_netns)
                case other:
                    raise Bug(f"the zygote does not know the request {other!r:.40}")
        except BuildkitError as error:
            _send_error(channel, error)
        except OSError as error:
            _send_error(channel, HostError(f"zygote: {error}", code="host/zygote"))
        finally:
            for fd in fds:
                os.close(fd)
            if not any(child.channel is channel for child in self.children.values()):
                channel.close()
        return True

    def _create(self, plan: Plan, limits: Limits, channel: socket.socket, fds: list[int]) -> None:
        cgroup = self.owner.create(limits)
        # Nothing is ever written to this pipe: its end says that the program runs.
        executed, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            # With cgroups to join first, the child makes its cgroup namespace afterwards: it
            # shows the cgroup it was made in as the root.
            flags = plan.flags & ~CLONE_NEWCGROUP if cgroup.join else plan.flags
            pid, pidfd = processes.clone3(flags, cgroup_fd=cgroup.fd)
        except BaseException:
            os.close(executed)
            os.close(theirs)
            cgroup.remove()
            raise
        if pid == 0:
            init.run_child(
                plan,
                channel=channel.fileno(),
                send=init.sender(channel),
                stdio=(fds[0], fds[1], fds[2]),
                join=tuple(cgroup.join),
                network=_bring_up,
                memory=self.memory,
            )
        os.close(theirs)
        child = _Child(pid, pidfd, channel, cgroup)
        self._watch(child)
        for text in cgroup.warnings:
            _send(channel, init.NOTE + text.encode())
        given = [pidfd, executed]
        netns = -1
        if plan.private_network:
            netns = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            given.append(netns)
        _send(channel, init.STARTED + marshal.dumps(pid), given)
        for fd in given[1:]:
            os.close(fd)
        cgroup.close()

    def _execute(
        self, pid: int, execution: Execution, channel: socket.socket, fds: list[int]
    ) -> None:
        """Start a further program in a container that runs."""
        container = next(
            (each for each in self.children.values() if each.pid == pid and each.cgroup), None
        )
        if container is None or container.cgroup is None:
            raise HostError("the container does not run", code="runtime/not-running")
        cgroup_fd, join = container.cgroup.enter()
        executed, theirs = os.pipe2(os.O_CLOEXEC)
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        processes.set_dumpable(False)
        try:
            # Who has once borne children in another process namespace may not come back without
            # rights over the host's: a helper does, and leaves its child to us.
            _, helper = processes.clone3(0)
            if helper < 0:
                _bear(execution, container.pidfd, far, channel, fds, cgroup_fd, join)
            far.close()
            data, given, _, _ = socket.recv_fds(near, 64, 1)
            os.waitid(os.P_PIDFD, helper, os.WEXITED)
            os.close(helper)
        except BaseException:
            os.close(executed)
            raise
        finally:
            near.close()
            far.close()
            processes.set_dumpable(True)
            for fd in (cgroup_fd, theirs, *join):
                if fd >= 0:
                    os.close(fd)
        if not data:
            os.close(executed)
            raise HostError("the container does not run", code="runtime/not-running")
        child_pid, pidfd = int(data), given[0]
        self._watch(_Child(child_pid, pidfd, channel))
        _send(channel, init.STARTED + marshal.dumps(child_pid), [pidfd, executed])
        os.close(executed)

    def _network(self, specs: tuple[tuple[int, int, int], ...], channel: socket.socket) -> None:
        pid, pidfd = processes.clone3(CLONE_NEWNET)
        if pid == 0:
            try:
                sockets = [socket.socket(*spec) for spec in specs]
                fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                _send(channel, init.STARTED, [fd, *(each.fileno() for each in sockets)])
            except OSError as error:
                text = f"new network namespace: {error.strerror}"
                _send_error(channel, HostError(text, code="host/network-namespace"))
            finally:
                os._exit(0)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)

    def _helper(
        self, argv: tuple[str, ...], channel: socket.socket, fds: list[int], in_netns: bool
    ) -> None:
        netns = fds[-1] if in_netns else -1
        given = fds[:-1] if in_netns else fds
        read, write = os.pipe()
        pid, pidfd = processes.clone3(0)
        if pid == 0:
            _exec_helper(argv, given, netns, write)
        os.close(write)
        said = os.read(read, 16)
        os.close(read)
        if said:
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
            os.close(pidfd)
            _send(channel, init.EXEC + marshal.dumps(int(said)))
            return
        self._watch(_Child(pid, pidfd))
        _send(channel, init.STARTED, [pidfd])

    def _watch(self, child: _Child) -> None:
        self.children[child.pidfd] = child
        self.epoll.register(child.pidfd, select.EPOLLIN)
        if child.channel is not None:
            # No events asked for: a hang-up is always told.
            self.channels[child.channel.fileno()] = child
            self.epoll.register(child.channel.fileno(), 0)

    def _forget_channel(self, child: _Child) -> None:
        _kill(child)
        if child.channel is not None:
            fd = child.channel.fileno()
            if self.channels.pop(fd, None) is not None:
                self.epoll.unregister(fd)

    def _ended(self, child: _Child) -> None:
        """Reap a child, tell how it ended, remove its cgroups."""
        self.epoll.unregister(child.pidfd)
        del self.children[child.pidfd]
        result = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
        os.close(child.pidfd)
        if child.channel is None or result is None:
            return
        oom = False
        if child.cgroup is not None:
            oom = child.cgroup.out_of_memory()
            try:
                child.cgroup.remove()
            except OSError as error:
                _send(child.channel, init.NOTE + f"a cgroup is left behind: {error}".encode())
        exited = result.si_code == os.CLD_EXITED
        row = (result.si_status if exited else 0, 0 if exited else result.si_status, oom)
        _send(child.channel, init.EXIT + marshal.dumps(row))
        fd = child.channel.fileno()
        if self.channels.pop(fd, None) is not None:
            self.epoll.unregister(fd)
        child.channel.close()


def _bear(
    execution: Execution,
    pidfd: int,
    teller: socket.socket,
    channel: socket.socket,
    fds: list[int],
    cgroup_fd: int,
    join: list[int],
) -> NoReturn:
    """Start a sibling in the container's process namespace, tell about it, and end."""
    try:
        processes.bear_children_in(pidfd)
        child, child_pidfd = processes.clone3(CLONE_PARENT, cgroup_fd=cgroup_fd)
        if child == 0:
            execute.run_child(
                execution,
                pidfd=pidfd,
                channel=channel.fileno(),
                send=init.sender(channel),
                stdio=(fds[0], fds[1], fds[2]),
                join=tuple(join),
            )
        _send(teller, str(child).encode(), [child_pidfd])
    finally:
        os._exit(0)


def _kill(child: _Child) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)


def _bring_up(plan: Plan) -> Sequence[socket.socket]:
    if plan.interface is not None:
        interface.configure(plan.interface, *plan.further_interfaces)
    else:
        interface.configure_loopback()
    return interface.open_nameserver() if plan.nameserver else ()


def _send(channel: socket.socket, data: bytes, fds: list[int] | None = None) -> None:
    """Send to somebody who may be gone, which is no fault."""
    with contextlib.suppress(BrokenPipeError, ConnectionError):
        if fds:
            socket.send_fds(channel, [data], fds)
        else:
            channel.send(data)


def _send_error(channel: socket.socket, error: BuildkitError) -> None:
    kind = "input" if isinstance(error, InputError) else "host"
    row = (kind, error.code, error.message, error.hint or "", tuple(error.notes), "")
    _send(channel, init.ERROR + marshal.dumps(row))


def _exec_helper(argv: tuple[str, ...], given: list[int], netns: int, write: int) -> NoReturn:
    """Become a helper program: its descriptors, no others, and death with the zygote."""
    number = errno.EINVAL
    try:
        processes.die_with_parent()
        if netns >= 0:
            processes.enter_network(netns)
        # First out of the way: a target number may be another one's present number.
        far = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in given]
        write = fcntl.fcntl(write, fcntl.F_DUPFD_CLOEXEC, 200)
        processes.close_on_exec_from(0)
        for target, fd in enumerate(far):
            os.dup2(fd, target)
        processes.reset_signals()
        os.execve(argv[0], argv, _ENVIRONMENT)
    except OSError as error:
        number = error.errno or number
    finally:
        os.write(write, str(number).encode())
        os._exit(127)
