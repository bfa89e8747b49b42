"""Hooks: programs of the host, or of the container, that are told a container's state."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time

from buildkit_py.core.data import replace
from buildkit_py.core.errors import HostError
from buildkit_py.runtime.kernel import processes
from buildkit_py.runtime.kernel.syscalls import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from buildkit_py.oci.runtime_config import Hook


class HookFailed(HostError):
    code = "runtime/hook"


def run_all(
    name: str,
    hooks: Sequence[Hook],
    state: bytes,
    *,
    folder: str = "",
    env: Sequence[str] = (),
) -> None:
    """Run the hooks of one kind in order. Raises HookFailed for the first that fails.

    folder: where they run, else where we are; env: of a hook that is given none
    """
    for number, hook in enumerate(hooks):
        chosen = hook if hook.env or not env else replace(hook, env=tuple(env))
        _run(f"{name}[{number}]", chosen, state, folder)


def run_each(name: str, hooks: Sequence[Hook], state: bytes) -> list[str]:
    """Run all hooks of one kind in order, whatever comes of them; return what failed."""
    failures: list[str] = []
    for number, hook in enumerate(hooks):
        try:
            _run(f"{name}[{number}]", hook, state)
        except HookFailed as error:
            failures.append(error.message)
    return failures


def _run(name: str, hook: Hook, state: bytes, folder: str = "") -> None:
    what = f"hook {name} `{hook.path}`"
    stdin = os.memfd_create("state", os.MFD_CLOEXEC)  # no reader that is missing blocks us
    told, teller = os.pipe()
    try:
        os.write(stdin, state)
        os.lseek(stdin, 0, os.SEEK_SET)
        parent = os.getpid()
        pid, pidfd = _fork()
        if pid == 0:
            _become(hook, stdin, teller, parent, folder)
        os.close(teller)
        teller = -1
        refusal = os.read(told, 8)  # to its end: closed by execve
        if refusal:
            os.waitpid(pid, 0)
            os.close(pidfd)
            raise HookFailed(f"{what}: {os.strerror(int(refusal))}")
    finally:
        for fd in (stdin, told, teller):
            if fd >= 0:
                os.close(fd)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        wait = None if hook.timeout_seconds is None else hook.timeout_seconds * 1000
        until = None if wait is None else time.monotonic() + wait / 1000
        while not poll.poll(wait):
            if until is not None and time.monotonic() < until:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise HookFailed(f"{what} took longer than {hook.timeout_seconds} seconds")
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(pidfd)
    if code:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        raise HookFailed(f"{what} {how}")


def _fork() -> tuple[int, int]:
    try:
        return processes.clone3(0)
    except KernelError as error:
        # A container's filter that cannot look into clone3 says that there is none.
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    pid = os.fork()
    return (pid, os.pidfd_open(pid)) if pid else (0, -1)


def _become(hook: Hook, stdin: int, teller: int, parent: int, folder: str) -> NoReturn:
    """Be the hook, which must not outlive who waits for it; or tell why that cannot be."""
    try:
        processes.die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        os.setpgid(0, 0)
        os.dup2(stdin, 0)
        # Ours is 0 or 077 while a container is made, and would be what their files get.
        os.umask(0o022)
        processes.reset_signals()
        if folder:
            os.chdir(folder)
        env = dict(entry.split("=", 1) for entry in hook.env)
        os.execve(hook.path, list(hook.args) or [hook.path], env)
    except OSError as error:
        os.write(teller, str(error.errno).encode())
    finally:
        os._exit(127)
