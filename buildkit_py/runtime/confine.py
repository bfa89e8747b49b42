"""What is taken from the child before the program starts: limits, ids, capabilities, calls.

The last operations of a plan. Their order matters: the filter of system calls is loaded while we
may still do so without no_new_privs (docker's containers may run set-user-ID programs), the
bounding set is dropped while SETPCAP is there, and the ids change before the final sets are set.
"""

from __future__ import annotations

import contextlib
import os
import resource
import stat

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import HostError
from buildkit_py.runtime.kernel import capabilities, processes, seccomp
from buildkit_py.runtime.setup import Workspace, bind_fd

_LOCKS = 10
"""RLIMIT_LOCKS, which Python's `resource` leaves out: Linux takes it and does nothing with it."""


@dataclass(frozen=True, slots=True)
class SetLimits:
    """setrlimit(2). limits: (name such as `nofile`, soft, hard), -1 is unlimited."""

    limits: tuple[tuple[str, int, int], ...]

    def describe(self) -> str:
        return "setrlimit " + " ".join(f"{name}={soft}:{hard}" for name, soft, hard in self.limits)

    def run(self, work: Workspace) -> None:
        for name, soft, hard in self.limits:
            which = _LOCKS if name == "locks" else getattr(resource, f"RLIMIT_{name.upper()}")
            try:
                resource.setrlimit(which, (soft, hard))
            except (ValueError, OSError):
                # Raising a hard limit takes CAP_SYS_RESOURCE outside of any user namespace.
                _, most = resource.getrlimit(which)
                near = _at_most(soft, most), _at_most(hard, most)
                resource.setrlimit(which, near)
                work.note(
                    f"the limit `{name}={soft}:{hard}` is above what this machine lets us set:"
                    f" it is `{near[0]}:{near[1]}`"
                )


def _at_most(limit: int, most: int) -> int:
    """Return a limit that is no higher than another one; -1 is the highest."""
    if most == resource.RLIM_INFINITY:
        return limit
    return most if limit == resource.RLIM_INFINITY else min(limit, most)


@dataclass(frozen=True, slots=True)
class SetUmask:
    mask: int

    def describe(self) -> str:
        return f"umask {self.mask:04o}"

    def run(self, work: Workspace) -> None:
        os.umask(self.mask)


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session and a keyring of our own: the caller's terminal and secrets stay the caller's.

    terminal: make one of the container's own devpts, and use it as input and output
    size: rows and columns of that terminal; (0, 0) is not known
    """

    terminal: bool
    uid: int
    size: tuple[int, int] = (0, 0)

    def describe(self) -> str:
        return "setsid, new keyring" + (
            ", terminal of the container's own" if self.terminal else ""
        )

    def run(self, work: Workspace) -> None:
        os.setsid()
        # A kernel without keyrings, or a filter around us, has nothing that could leak.
        with contextlib.suppress(OSError):
            processes.join_new_session_keyring()
        if self.terminal:
            self._open_terminal(work)
        own_streams(self.uid)

    def _open_terminal(self, work: Workspace) -> None:
        slave = open_terminal(work, self.uid)
        if self.size != (0, 0):
            processes.set_window_size(slave, *self.size)
        # By descriptor: a path in /dev might be the image's by now (CVE-2025-52565).
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        place = os.open("console", flags, 0o600, dir_fd=work.dev)
        bind_fd(slave, place)
        os.close(slave)


def own_streams(uid: int) -> None:
    """Let a program that is not root open /dev/stdout again: as runc does."""
    for fd in (0, 1, 2):
        state = os.fstat(fd)
        if uid and stat.S_ISFIFO(state.st_mode) and state.st_uid != uid:
            with contextlib.suppress(OSError):  # unmapped, or a pipe of somebody else
                os.fchown(fd, uid, -1)


def open_terminal(work: Workspace, uid: int) -> int:
    """Make a terminal of the container's, control it, use it for all three streams.

    Returns a descriptor of the program's end; the other is work.terminal.
    """
    work.terminal, slave, _ = processes.open_terminal(work.pts)
    processes.control_terminal(slave)
    if uid:
        os.fchown(slave, uid, -1)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    return slave


@dataclass(frozen=True, slots=True)
class LoadFilter:
    """Load the filter of system calls: bytes made by kernel/seccomp.py."""

    program: bytes

    def describe(self) -> str:
        return f"seccomp filter of {len(self.program) // 8} instructions"

    def run(self, work: Workspace) -> None:
        seccomp.load(self.program)


@dataclass(frozen=True, slots=True)
class GainNothing:
    """PR_SET_NO_NEW_PRIVS: a set-user-ID program gives its caller nothing; prctl(2)."""

    def describe(self) -> str:
        return "no new privileges"

    def run(self, work: Workspace) -> None:
        processes.set_no_new_privileges()


@dataclass(frozen=True, slots=True)
class BecomeAccount:
    """Set the ids and keep only some capabilities.

    keep: bits of capabilities; an account other than 0 keeps them in the bounding set only
    set_groups: False where the user namespace forbids setgroups
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    keep: int
    set_groups: bool

    def describe(self) -> str:
        return f"become {self.uid}:{self.gid}, capabilities {self.keep:#x}"

    def run(self, work: Workspace) -> None:
        try:
            if self.set_groups:
                os.setgroups(self.groups)
            capabilities.drop_bounding(self.keep)
            processes.set_ids(self.uid, self.gid)
        except OSError as error:
            raise HostError(
                f"the container cannot run as {self.uid}:{self.gid}: {error.strerror}",
                code="host/ids",
                hint="without newuidmap and subordinate ids there is one id only: run as `root`",
            ) from None
        granted = self.keep & capabilities.permitted() if self.uid == 0 else 0
        capabilities.set_capabilities(granted)
        # A change of ids forgets it; and the parent may have died in between.
        processes.die_with_parent()
