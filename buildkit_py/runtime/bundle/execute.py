"""A further program in a bundle's container: `pyruntime exec`.

Its first moments are ours, inside of the container: so it is not dumpable (CVE-2016-9962), it
waits outside until all is ready, and joins then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys

from buildkit_py.core.data import dataclass, replace
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.oci.runtime_config import Capabilities, User
from buildkit_py.oci.runtime_config_reader import read, read_process
from buildkit_py.runtime import init
from buildkit_py.runtime.bundle.birth import bear
from buildkit_py.runtime.bundle.life import CannotRun, Created, give_pidfd, give_terminal, write_pid
from buildkit_py.runtime.bundle.plan import FLAGS, ending, notifies
from buildkit_py.runtime.bundle.process import SetOom, with_home
from buildkit_py.runtime.bundle.setup import FindProc
from buildkit_py.runtime.bundle.state import (
    Place,
    State,
    WrongStatus,
    cgroup_of,
    for_others,
    status_of,
)
from buildkit_py.runtime.execute import JoinSession
from buildkit_py.runtime.kernel import capabilities, processes, scheduling
from buildkit_py.runtime.kernel.syscalls import (
    CLONE_NEWPID,
    CLONE_NEWUSER,
    MACHINE,
)
from buildkit_py.runtime.process import error_of, receive
from buildkit_py.runtime.setup import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from buildkit_py.oci.runtime_config import Config, Process
    from buildkit_py.runtime.setup import SetupOp

_HIGHEST_ID = 2**32 - 2


@dataclass(frozen=True, slots=True)
class ExecWishes:
    """What the command line says. process: JSON of the specification, instead of all but the rest

    user: `UID[:GID]`; None is the container's own
    cgroups: one beneath the container's, or `CONTROLLER[,...]:PATH` for some hierarchies each
    """

    args: tuple[str, ...] = ()
    process: bytes | None = None
    cwd: str = ""
    env: tuple[str, ...] = ()
    user: str | None = None
    groups: tuple[str, ...] = ()
    terminal: bool = False
    add_capabilities: tuple[str, ...] = ()
    no_new_privileges: bool = False
    apparmor: str = ""
    label: str = ""
    console_socket: str = ""
    pid_file: str = ""
    preserve: int = 0
    ignore_paused: bool = False
    cgroups: tuple[str, ...] = ()
    pidfd_socket: str = ""


def execute(root: str, id: str, wishes: ExecWishes) -> Created:
    """Start a further program; its end is the caller's to wait for. Raises CannotRun, ..."""
    place = Place(root, id)
    state = place.read()
    status = status_of(place, state)
    if status not in ("running", "created") and not (status == "paused" and wishes.ignore_paused):
        raise WrongStatus(f"container `{id}` is {status}: no program can be added to it")
    config = read(place.config())
    program = _program(config, wishes)
    warnings: list[str] = []
    umask = os.umask(0o077)
    before: list[SetupOp] = []
    if program.oom_score_adj is not None:
        before.append(SetOom(program.oom_score_adj))
    after = ending(
        config, program, machine=MACHINE, umask=umask, warnings=warnings,
        rootless=os.geteuid() != 0,
    )  # fmt: skip
    try:
        init_fd = os.pidfd_open(state.pid)
    except ProcessLookupError:
        raise WrongStatus(f"container `{id}` is stopped") from None
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        task = _Task(
            config, program, tuple(before), after, wishes.preserve, _open_root(config, state.pid)
        )
        if status_of(place, state) == "stopped":  # and not another process's root
            raise WrongStatus(f"container `{id}` is stopped")
        processes.set_dumpable(False)
        kinds = {each.type for each in config.linux.namespaces}

        def run() -> NoReturn:
            near.close()
            _run(task, init_fd, far)

        pid, pidfd = bear(
            run, user_fd=init_fd if "user" in kinds else -1,
            pid_fd=init_fd if "pid" in kinds else -1,
        )  # fmt: skip
        far.close()
        try:
            _choose_processors(pid, program.affinity_initial)
            _enter_cgroups(state, pid, wishes.cgroups)
            _choose_processors(pid, program.affinity_final)
            if not program.affinity_initial and not program.affinity_final:
                scheduling.use_all_processors(pid)
            told = for_others(place, state)
            terminal = _accompany(near, wishes, warnings, config=config, pid=pid, told=told)
            if wishes.pid_file:
                write_pid(wishes.pid_file, pid)
            if wishes.pidfd_socket:
                give_pidfd(pidfd, wishes.pidfd_socket, b"setns")
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
            os.close(pidfd)
            raise
    finally:
        processes.set_dumpable(True)
        os.close(init_fd)
        near.close()
        far.close()
    return Created(pid, pidfd, terminal, warnings)


@dataclass(frozen=True, slots=True)
class _Task:
    """What the new process does. before: in our own namespaces, after: in the container's.

    root: of a container whose root is not its mount namespace's, or -1
    """

    config: Config
    program: Process
    before: tuple[SetupOp, ...]
    after: tuple[SetupOp, ...]
    preserve: int
    root: int


def _open_root(config: Config, pid: int) -> int:
    namespace = config.linux.namespace("mount")
    if namespace is not None and not namespace.path:
        return -1
    return os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _program(config: Config, wishes: ExecWishes) -> Process:
    """Return the process that is wanted: the container's own one, with what was said changed."""
    if wishes.process is not None:
        return read_process(wishes.process)
    if not wishes.args:
        raise InputError("there is no program to run", code="runtime/no-program")
    own = config.process
    if own is None:
        raise InputError(
            "the container has no `process` to start from", code="runtime/no-program",
            hint="say all of it with `--process FILE`",
        )  # fmt: skip
    sets = own.capabilities or Capabilities()
    added = frozenset(name.upper().removeprefix("CAP_") for name in wishes.add_capabilities)
    if unknown := sorted(added - set(capabilities.NAMES)):
        raise InputError(f"unknown capability `{unknown[0]}`", code="runtime/unknown-capability")
    program = replace(
        own, args=wishes.args, cwd=wishes.cwd or own.cwd, env=(*own.env, *wishes.env),
        terminal=wishes.terminal, console_size=(0, 0), oom_score_adj=None,
        user=_user(own.user, wishes), no_new_privileges=own.no_new_privileges
        or wishes.no_new_privileges, apparmor_profile=wishes.apparmor or own.apparmor_profile,
        selinux_label=wishes.label or own.selinux_label,
        capabilities=replace(
            sets, bounding=sets.bounding | added, effective=sets.effective | added,
            permitted=sets.permitted | added, ambient=sets.ambient | (added & sets.inheritable),
        ),
    )  # fmt: skip
    if not program.cwd.startswith("/"):
        raise InputError(f"`--cwd {program.cwd}` is no absolute path", code="runtime/cwd")
    return program


def _user(own: User, wishes: ExecWishes) -> User:
    uid, gid = own.uid, own.gid
    if wishes.user is not None:
        first, colon, second = wishes.user.partition(":")
        uid = _number(first, wishes.user)
        gid = _number(second, wishes.user) if colon else own.gid
    groups = tuple(_number(text, text) for text in wishes.groups)
    return User(uid, gid, own.umask, (*own.additional_gids, *groups))


def _number(text: str, shown: str) -> int:
    """Read an id strictly: what runtimes made 0 of was a hole (CVE-2026-30892)."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= _HIGHEST_ID):
        raise InputError(
            f"`{shown}` is no UID[:GID]", code="runtime/bad-user",
            hint="numbers from 0 to 4294967294",
        )  # fmt: skip
    return int(text)


def _run(task: _Task, init_fd: int, channel: socket.socket) -> NoReturn:
    """Be the further program; ends in execve or exit."""
    send = init.sender(channel)
    operation, code = "start", 1
    try:
        sys.meta_path.clear()
        sys.path.clear()
        if channel.recv(16) != b"go":
            os._exit(0)
        work = Workspace(
            note=lambda text: send(init.NOTE + text.encode(), -1), channel=channel.fileno()
        )
        for op in task.before:
            operation = init.run_operation(op, work)
        operation = "join the container"
        kinds = {each.type for each in task.config.linux.namespaces}
        flags = sum(FLAGS[kind] for kind in kinds if kind in FLAGS)
        processes.enter_namespaces(init_fd, flags & ~(CLONE_NEWPID | CLONE_NEWUSER))
        if task.root >= 0:
            os.fchdir(task.root)
            os.chroot(".")
        if "user" in kinds:
            processes.set_ids(0, 0)
        work.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        user = task.program.user
        for op in (FindProc(), JoinSession(task.program.terminal, user.uid)):
            operation = init.run_operation(op, work)
        if work.terminal >= 0 and task.program.console_size != (0, 0):
            processes.set_window_size(work.terminal, *task.program.console_size)
        env = with_home(task.program.env, user.uid, work.root)
        # Before the filter of system calls, which may allow nothing but execve.
        send(init.READY, work.terminal)
        processes.close_on_exec_from(3 + task.preserve)
        processes.reset_signals()
        for op in task.after:
            operation = init.run_operation(op, work)
        operation = "execve"
        code = init.execute(task.program.args, env, send)
    except BaseException as error:
        init.complain_of(send, operation, error)
    os._exit(code)


def _beneath(wanted: tuple[str, ...]) -> dict[str, str]:
    """Return the cgroup beneath the container's by controller, or by "" where it is one for all."""
    found: dict[str, str] = {}
    for text in wanted:
        names, colon, path = text.rpartition(":")
        if not colon and len(wanted) > 1:
            raise InputError(
                f"`--cgroup {text}` beside another names no controller", code="runtime/cgroup",
                hint="`CONTROLLER[,...]:PATH` for each",
            )  # fmt: skip
        for name in names.split(","):
            if name in found or (colon and not name):
                raise InputError(
                    f"`--cgroup {text}`: the controller `{name}` is empty, or there twice",
                    code="runtime/cgroup",
                )
            found[name] = path
    return found


def _enter_cgroups(state: State, pid: int, wanted: tuple[str, ...]) -> None:
    """Put a process into all cgroups of the container, or one beneath, before it does anything."""
    cgroup = cgroup_of(state)
    if not cgroup.places:
        return
    beneath = _beneath(wanted)
    known = {name for place in cgroup.places for name in place.controllers if not place.unified}
    if unknown := sorted(beneath.keys() - known - {""}):
        raise InputError(
            f"`--cgroup {unknown[0]}:...`: the container has no such hierarchy",
            code="runtime/cgroup", hint="with cgroup2 no controller is named",
        )  # fmt: skip
    unified, join = cgroup.enter(beneath.pop("", ""), **beneath)
    try:
        if unified >= 0:
            join.append(os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=unified))
        for fd in join:
            os.write(fd, str(pid).encode())
    except OSError as error:
        raise HostError(
            f"the container's cgroup takes no process: {error.strerror}", code="host/cgroup"
        ) from None
    finally:
        for fd in (unified, *join):
            if fd >= 0:
                os.close(fd)


def _choose_processors(pid: int, numbers: tuple[int, ...]) -> None:
    """`execCPUAffinity`: without numbers nothing is changed."""
    if not numbers:
        return
    try:
        os.sched_setaffinity(pid, numbers)
    except OSError as error:
        raise HostError(
            f"execCPUAffinity {','.join(map(str, numbers))}: {error.strerror}", code="host/affinity"
        ) from None


def _accompany(
    channel: socket.socket,
    wishes: ExecWishes,
    warnings: list[str],
    *,
    config: Config,
    pid: int,
    told: bytes,
) -> int:
    """Let the process go on, and hear what becomes of it; return the terminal's near end or -1.

    told: the container's state, for the agent that is asked about system calls
    """
    terminal = -1
    listens = notifies(config)
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionError):  # it ended, and said why
            channel.send(b"go")
        while True:
            data, fds = receive(channel, 1)
            match data[:1]:
                case init.NOTE:
                    warnings.append(data[1:].decode())
                case init.READY:
                    terminal = give_terminal(fds[0], wishes.console_socket) if fds else -1
                case init.LISTENER:
                    from buildkit_py.runtime.bundle import listener

                    listener.hand_over(channel, data[1:], fds, pid, config, told)
                    listens = False
                case init.ERROR:
                    raise error_of(data[1:])
                case init.EXEC:
                    raise CannotRun(data[1:])
                case _ if listens:
                    from buildkit_py.runtime.bundle.listener import NotHanded

                    raise NotHanded
                case _:
                    return terminal  # closed by execve
    except BaseException:
        if terminal >= 0:
            os.close(terminal)
        raise
