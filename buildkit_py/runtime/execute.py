"""A further program in a container that runs: `exec`, and the probes of health checks.

Chosen as data (`plan_execution`), carried out by a child of the zygote that is born in the
container's process namespace and joins the others. Until its execve that child has our memory
inside the container, so it is not dumpable: nobody in there may look into it (CVE-2016-9962).
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Sequence

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.runtime import confine, init, setup
from buildkit_py.runtime.host import Host
from buildkit_py.runtime.kernel import processes
from buildkit_py.runtime.kernel.paths import open_beneath
from buildkit_py.runtime.kernel.syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
)
from buildkit_py.runtime.plan import confinement, environment
from buildkit_py.runtime.setup import Workspace
from buildkit_py.runtime.spec import Account, Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_PTMX = os.makedev(5, 2)  # Documentation/admin-guide/devices.txt


@dataclass(frozen=True, slots=True)
class Execution:
    """What the child does.

    flags: namespaces of the container's first process to join
    """

    flags: int
    after: tuple[setup.SetupOp, ...]
    args: tuple[str, ...]
    env: tuple[str, ...]
    terminal: bool


@dataclass(frozen=True, slots=True)
class JoinSession:
    """A session and a keyring of its own, and a terminal of the container's where it is wanted."""

    terminal: bool
    uid: int

    def describe(self) -> str:
        return "setsid, new keyring" + (", terminal of the container's" if self.terminal else "")

    def run(self, work: Workspace) -> None:
        os.setsid()
        # A kernel without keyrings has nothing that could leak.
        with contextlib.suppress(OSError):
            processes.join_new_session_keyring()
        if self.terminal:
            work.pts = open_beneath(work.root, "dev/pts", os.O_PATH | os.O_DIRECTORY)
            state = os.stat("ptmx", dir_fd=work.pts, follow_symlinks=False)
            if not stat.S_ISCHR(state.st_mode) or state.st_rdev != _PTMX:
                raise HostError("`/dev/pts` of the container is not ours", code="host/terminal")
            os.close(confine.open_terminal(work, self.uid))
        confine.own_streams(self.uid)


def plan_execution(
    container: Container,
    host: Host,
    args: Sequence[str],
    *,
    env: Sequence[str],
    cwd: str,
    account: Account,
    terminal: bool = False,
) -> Execution:
    """Choose what a further program of a container does before its execve. Pure.

    env: added to the container's own. Raises InputError for what cannot be.
    """
    if not args:
        raise InputError("there is no program to run", code="runtime/no-program")
    for text in (*args, *env, cwd):
        if "\0" in text:
            raise InputError(f"`{text}` holds a zero byte", code="runtime/zero-byte")
    flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP
    if container.network == "private":
        flags |= CLONE_NEWNET
    return Execution(
        flags=flags,
        after=(
            confine.SetUmask(container.umask),
            JoinSession(terminal, account.uid),
            setup.ChangeDirectory(cwd),
            *confinement(container, host, account),
        ),
        args=tuple(args),
        env=environment((*container.env, *env), account, terminal=terminal),
        terminal=terminal,
    )


def run_child(
    execution: Execution,
    *,
    pidfd: int,
    channel: int,
    send: Callable[[bytes, int], None],
    stdio: tuple[int, int, int],
    join: tuple[int, ...],
) -> NoReturn:
    """Be the further program; ends in execve or exit, never returns.

    pidfd: of the container's first process; join: cgroup.procs files to enter
    """
    operation = "start"
    code = 128
    try:
        processes.die_with_parent()
        # As in init.run_child: from here on nothing can be imported.
        sys.meta_path.clear()
        sys.path.clear()
        for number, fd in enumerate(stdio):
            os.dup2(fd, number)
        for fd in join:
            os.write(fd, b"0")
        if os.read(channel, 16) != b"go":
            os._exit(0)  # nobody wants it any more
        operation = "join the container"
        processes.enter_namespaces(pidfd, execution.flags)
        work = Workspace(note=lambda text: send(init.NOTE + text.encode(), -1))
        work.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for op in execution.after:
            operation = init.run_operation(op, work)
        operation = "execve"
        send(init.READY, work.terminal)
        processes.close_on_exec_from(3)
        processes.reset_signals()
        code = init.execute(execution.args, execution.env, send)
    except BaseException as error:
        init.complain_of(send, operation, error)
    os._exit(code)
