"""Hooks: programs of the host, or of the container, that are told a container's state."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time

from buildkit_py.core.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildkit_py.oci.runtime_config import Hook


class HookFailed(HostError):
    code = "runtime/hook"


def run_all(name: str, hooks: Sequence[Hook], state: bytes) -> None:
    """Run the hooks of one kind in order. Raises HookFailed for the first that fails."""
    for number, hook in enumerate(hooks):
        _run(f"{name}[{number}]", hook, state)


def run_each(name: str, hooks: Sequence[Hook], state: bytes) -> list[str]:
    """Run all hooks of one kind in order, whatever comes of them; return what failed."""
    failures: list[str] = []
    for number, hook in enumerate(hooks):
        try:
            _run(f"{name}[{number}]", hook, state)
        except HookFailed as error:
            failures.append(error.message)
    return failures


def _run(name: str, hook: Hook, state: bytes) -> None:
    what = f"hook {name} `{hook.path}`"
    stdin = os.memfd_create("state", os.MFD_CLOEXEC)  # no reader that is missing blocks us
    try:
        os.write(stdin, state)
        os.lseek(stdin, 0, os.SEEK_SET)
        env = dict(entry.split("=", 1) for entry in hook.env)
        # Ours is 0 or 077 while a container is made, and would be what their files get.
        before = os.umask(0o022)
        try:
            pid = os.posix_spawn(
                hook.path, list(hook.args) or [hook.path], env,
                file_actions=[(os.POSIX_SPAWN_DUP2, stdin, 0)], setpgroup=0,
                setsigmask=(), setsigdef=(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT),
            )  # fmt: skip
        except OSError as error:
            raise HookFailed(f"{what}: {error.strerror}") from None
        finally:
            os.umask(before)
    finally:
        os.close(stdin)
    pidfd = os.pidfd_open(pid)
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
