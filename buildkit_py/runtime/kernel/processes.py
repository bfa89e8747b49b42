"""Making and shaping a process: clone3, signals for the dying, descriptors, keyrings, terminals.

Numbers: include/uapi/linux/{sched,prctl,keyctl}.h and include/uapi/asm-generic/ioctls.h.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import os
import signal
import struct

from buildkit_py.runtime.kernel.syscalls import (
    CLONE_INTO_CGROUP,
    CLONE_NEWNET,
    CLONE_NEWPID,
    CLONE_PARENT,
    CLONE_PIDFD,
    Call,
    KernelError,
    libc,
)

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CLOSE_RANGE_CLOEXEC = 4
_KEYCTL_JOIN_SESSION_KEYRING = 1
_NS_GET_NSTYPE = 0xB703  # include/uapi/linux/nsfs.h
_TIOCSCTTY, _TIOCSWINSZ, _TIOCGPTN, _TIOCSPTLCK = 0x540E, 0x5414, 0x80045430, 0x40045431
_LAST_SIGNAL = 64

_ulong = ctypes.c_ulong


class _CloneArguments(ctypes.Structure):
    """struct clone_args of Linux 5.7, the first with `cgroup`."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size",
            "tls", "set_tid", "set_tid_size", "cgroup",
        )
    ]  # fmt: skip


_clone3 = Call("clone3", ctypes.POINTER(_CloneArguments), ctypes.c_size_t)
_unshare = Call("unshare", ctypes.c_int)
_setns = Call("setns", ctypes.c_int, ctypes.c_int)
_prctl = Call("prctl", ctypes.c_int, _ulong, _ulong, _ulong, _ulong)
_close_range = Call("close_range", ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)
_keyctl = Call("keyctl", ctypes.c_int, ctypes.c_char_p, _ulong, _ulong, _ulong)
_rt_sigaction = Call(
    "rt_sigaction", ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t
)
_setresuid = Call("setresuid", ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)
_setresgid = Call("setresgid", ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)
_sethostname = libc.sethostname
_sethostname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
_setdomainname = libc.setdomainname
_setdomainname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)


def clone3(flags: int, *, cgroup_fd: int = -1) -> tuple[int, int]:
    """Fork with new namespaces. Returns (pid, pidfd) in the parent and (0, -1) in the child.

    flags: CLONE_NEW*, CLONE_PARENT for a sibling
    The pidfd is closed by exec, as Python's own descriptors are.
    cgroup_fd: a cgroup2 directory in which the child starts
    Only for a process with one thread: the child owns whatever locks other threads held.
    Raises KernelError.
    """
    pidfd = ctypes.c_int(-1)
    arguments = _CloneArguments(
        flags=flags | CLONE_PIDFD,
        pidfd=ctypes.addressof(pidfd),
        exit_signal=0 if flags & CLONE_PARENT else signal.SIGCHLD,  # a sibling has ours
    )
    if cgroup_fd >= 0:
        arguments.flags |= CLONE_INTO_CGROUP
        arguments.cgroup = cgroup_fd
    try:
        pid = _clone3(arguments, ctypes.sizeof(arguments))
    except OSError as error:
        raise KernelError("clone3", f"flags {flags:#x}", error.errno or 0) from None
    return (pid, pidfd.value) if pid else (0, -1)


def unshare(flags: int) -> None:
    """unshare(2); os.unshare needs Python 3.12. Raises KernelError."""
    try:
        _unshare(flags)
    except OSError as error:
        raise KernelError("unshare", f"flags {flags:#x}", error.errno or 0) from None


def enter_network(netns_fd: int) -> None:
    """Move this thread into a network namespace; os.setns needs Python 3.12."""
    _setns(netns_fd, CLONE_NEWNET)


def enter_namespaces(pidfd: int, flags: int) -> None:
    """Move this process into namespaces of another one, CLONE_NEW*, all at once. Linux 5.8.

    With a mount namespace its root and working directory become that namespace's root.
    """
    try:
        _setns(pidfd, flags)
    except OSError as error:
        raise KernelError("setns", f"flags {flags:#x}", error.errno or 0) from None


def join_namespace(fd: int, flag: int) -> None:
    """Move this process into one namespace, named by a descriptor of its file; setns(2)."""
    try:
        _setns(fd, flag)
    except OSError as error:
        raise KernelError("setns", f"flags {flag:#x}", error.errno or 0) from None


def namespace_type(fd: int) -> int:
    """Return the CLONE_NEW* flag of the namespace that a descriptor is of, 0 when of none."""
    try:
        return fcntl.ioctl(fd, _NS_GET_NSTYPE)
    except OSError:
        return 0


def bear_children_in(fd: int) -> None:
    """Let the next children be born in a process namespace; this process stays where it is.

    fd: a pidfd of a process in it, or a descriptor of its file in /proc
    """
    try:
        _setns(fd, CLONE_NEWPID)
    except OSError as error:
        raise KernelError("setns", "process namespace", error.errno or 0) from None


def take_descriptor(pidfd: int, number: int) -> int:
    """Return a copy of a descriptor of another process; pidfd_getfd(2), Linux 5.6.

    Raises KernelError.
    """
    call = Call("pidfd_getfd", ctypes.c_int, ctypes.c_int, ctypes.c_uint)
    try:
        return call(pidfd, number, 0)
    except OSError as error:
        raise KernelError("pidfd_getfd", f"descriptor {number}", error.errno or 0) from None


def set_dumpable(yes: bool) -> None:
    """Let others of our ids look into this process and its descriptors, or not; children inherit.

    Set back by execve.
    """
    _prctl(_PR_SET_DUMPABLE, int(yes), 0, 0, 0)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask for a signal when the parent dies. A change of user forgets it: ask again then."""
    _prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def set_no_new_privileges() -> None:
    """Let no exec gain privileges from here on, set-user-ID programs included."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def close_on_exec_from(first: int) -> None:
    """Mark every descriptor from `first` on to be closed by exec. Linux 5.11, else one by one."""
    try:
        _close_range(first, 0xFFFFFFFF, _CLOSE_RANGE_CLOEXEC)
    except OSError:
        for name in os.listdir("/proc/self/fd"):
            if int(name) >= first:
                try:
                    fcntl.fcntl(int(name), fcntl.F_SETFD, fcntl.FD_CLOEXEC)
                except OSError:  # the descriptor of the listing itself
                    continue


def close_all_but(keep: set[int]) -> None:
    """Close every descriptor but those."""
    first = 0
    for fd in sorted(keep):
        if fd > first:
            os.closerange(first, fd)
        first = max(first, fd + 1)
    try:
        _close_range(first, 0xFFFFFFFF, 0)
    except OSError:  # before Linux 5.9
        for name in os.listdir("/proc/self/fd"):
            if int(name) >= first:
                with contextlib.suppress(OSError):  # the descriptor of the listing itself
                    os.close(int(name))


def join_new_session_keyring() -> None:
    """Leave the caller's keyring, which holds its secrets. Raises OSError."""
    _keyctl(_KEYCTL_JOIN_SESSION_KEYRING, None, 0, 0, 0)


def set_ids(uid: int, gid: int) -> None:
    """Become uid and gid in all three places, by the bare call: for one-threaded processes."""
    _setresgid(gid, gid, gid)
    _setresuid(uid, uid, uid)


def sethostname(name: str) -> None:
    """Set the host name; socket.sethostname would cost the import of `socket`."""
    data = os.fsencode(name)
    if _sethostname(data, len(data)) < 0:
        raise KernelError("sethostname", name, ctypes.get_errno())


def setdomainname(name: str) -> None:
    """Set the NIS domain name, which docker's `--domainname` is."""
    data = os.fsencode(name)
    if _setdomainname(data, len(data)) < 0:
        raise KernelError("setdomainname", name, ctypes.get_errno())


def reset_signals() -> None:
    """Give every signal its default action and block none.

    CPython ignores SIGPIPE and SIGXFSZ, glibc's posix_spawn ignores its own 32 and 33, and exec
    hands ignored signals on.
    """
    for number in range(1, _LAST_SIGNAL + 1):
        if number in (signal.SIGKILL, signal.SIGSTOP):
            continue
        if number in (32, 33):  # glibc does not let us: the bare call does
            _rt_sigaction(number, bytes(32), None, 8)
        else:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def open_terminal(pts_fd: int) -> tuple[int, int, str]:
    """Make a terminal in the devpts mounted at `pts_fd`: (master, slave, name of the slave)."""
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW
    master = os.open("ptmx", flags, dir_fd=pts_fd)
    fcntl.ioctl(master, _TIOCSPTLCK, array.array("i", [0]))
    number = array.array("I", [0])
    fcntl.ioctl(master, _TIOCGPTN, number)
    name = str(number[0])
    return master, os.open(name, flags, dir_fd=pts_fd), name


def control_terminal(fd: int) -> None:
    """Make `fd` the controlling terminal of this session leader."""
    fcntl.ioctl(fd, _TIOCSCTTY, 0)


def set_window_size(fd: int, rows: int, columns: int) -> None:
    """Tell a terminal how large it is; its programs get SIGWINCH."""
    fcntl.ioctl(fd, _TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
