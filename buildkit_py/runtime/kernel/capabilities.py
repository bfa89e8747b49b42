"""Capabilities: names, docker's set, and taking away all others. capabilities(7)."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterable

from buildkit_py.runtime.kernel.syscalls import Call, KernelError

NAMES = tuple(
    """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
    SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
    SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
    WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
    """.split()
)
"""In the order of their numbers, include/uapi/linux/capability.h."""

DOCKER = frozenset(
    """
    CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP
    NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE
    """.split()
)
"""What docker grants to a container, a80425fb: moby/moby daemon/pkg/oci/caps/defaults.go."""

_VERSION_3 = 0x20080522
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


_capget = Call("capget", ctypes.POINTER(_Header), ctypes.POINTER(_Data))
_capset = Call("capset", ctypes.POINTER(_Header), ctypes.POINTER(_Data))
_prctl = Call("prctl", ctypes.c_int, *[ctypes.c_ulong] * 4)


def mask(names: Iterable[str]) -> int:
    """Return the set as bits. Raises ValueError for a name that is none."""
    return sum(1 << NAMES.index(name.removeprefix("CAP_")) for name in set(names))


def names_of(bits: int) -> list[str]:
    """Return the names of a set given as bits."""
    return [name for number, name in enumerate(NAMES) if bits >> number & 1]


def permitted() -> int:
    """Return this thread's permitted set as bits."""
    data = (_Data * 2)()
    _capget(_Header(_VERSION_3, 0), data)
    low, high = data[0].permitted, data[1].permitted
    return int(low | high << 32)


def drop_bounding(keep: int) -> None:
    """Take all but `keep` out of the bounding set and clear the ambient one. Needs SETPCAP.

    The kernel may know capabilities that we do not: it is asked until it says EINVAL.
    """
    try:
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:  # before Linux 4.3
            raise
    for number in range(64):
        if keep >> number & 1:
            continue
        try:
            _prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
        except OSError as error:
            if error.errno == errno.EINVAL:
                break
            raise KernelError("prctl", f"drop capability {number}", error.errno or 0) from None


def set_sets(effective: int, permitted: int, inheritable: int) -> None:
    """Set this thread's three sets, as bits. Raises KernelError."""
    data = (_Data * 2)()
    for half in (0, 1):
        shift = 32 * half
        data[half].effective = effective >> shift & 0xFFFFFFFF
        data[half].permitted = permitted >> shift & 0xFFFFFFFF
        data[half].inheritable = inheritable >> shift & 0xFFFFFFFF
    try:
        _capset(_Header(_VERSION_3, 0), data)
    except OSError as error:
        raise KernelError("capset", f"{permitted:#x}", error.errno or 0) from None


def raise_ambient(bits: int) -> int:
    """Add to the ambient set what may be added; returns what could not be."""
    left = 0
    for number in range(64):
        if bits >> number & 1:
            try:
                _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0)
            except OSError:
                left |= 1 << number
    return left


def keep_permitted(yes: bool) -> None:
    """Let a change of ids from 0 leave the permitted set alone; execve forgets it."""
    _prctl(_PR_SET_KEEPCAPS, int(yes), 0, 0, 0)


def set_capabilities(bits: int) -> None:
    """Make `bits` the effective and permitted sets, and leave nothing to inherit.

    A non-empty inheritable set would come back in programs with file capabilities:
    CVE-2022-24769 and its sisters.
    """
    low, high = bits & 0xFFFFFFFF, bits >> 32
    data = (_Data * 2)(_Data(low, low, 0), _Data(high, high, 0))
    try:
        _capset(_Header(_VERSION_3, 0), data)
    except OSError as error:
        raise KernelError("capset", f"{bits:#x}", error.errno or 0) from None
