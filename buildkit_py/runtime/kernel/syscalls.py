"""The door to libc: system calls that Python has no word for, with their numbers.

`PyDLL` keeps Python's global lock during the call. That costs nothing for calls that do not
wait, and between clone3 and execve it is a must: the child of a clone has one thread, which
must own the lock. Calls that may wait long stand in `os` or are made with `CDLL`.
"""

from __future__ import annotations

import ctypes
import os

from buildkit_py.core.errors import HostError

libc = ctypes.PyDLL(None, use_errno=True)

# Numbers from the kernel's tables, arch/x86/entry/syscalls/syscall_64.tbl and
# include/uapi/asm-generic/unistd.h (aarch64). From 424 on they are the same everywhere.
_OLD = {
    "x86_64": {
        "mount": 165,
        "umount2": 166,
        "pivot_root": 155,
        "setns": 308,
        "unshare": 272,
        "capget": 125,
        "capset": 126,
        "prctl": 157,
        "seccomp": 317,
        "bpf": 321,
        "keyctl": 250,
        "setresuid": 117,
        "setresgid": 119,
        "rt_sigaction": 13,
        "fstatfs": 138,
        "sched_setattr": 314,
        "ioprio_set": 251,
        "personality": 135,
        "set_mempolicy": 238,
    },
    "aarch64": {
        "mount": 40,
        "umount2": 39,
        "pivot_root": 41,
        "setns": 268,
        "unshare": 97,
        "capget": 90,
        "capset": 91,
        "prctl": 167,
        "seccomp": 277,
        "bpf": 280,
        "keyctl": 219,
        "setresuid": 147,
        "setresgid": 149,
        "rt_sigaction": 134,
        "fstatfs": 44,
        "sched_setattr": 274,
        "ioprio_set": 30,
        "personality": 92,
        "set_mempolicy": 237,
    },
}
_NEW = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
}

MACHINE = os.uname().machine
NUMBERS: dict[str, int] = {**_OLD.get(MACHINE, {}), **_NEW}

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_INTO_CGROUP = 0x200000000


class KernelError(HostError):
    """A system call said no.

    call: its name
    target: what it was about: a path, an option, a file system
    errno: the kernel's answer
    """

    code = "host/system-call"

    def __init__(self, call: str, target: str, errno: int, *, detail: str = "") -> None:
        text = f"{call} `{target}`: {os.strerror(errno)}"
        super().__init__(f"{text}: {detail}" if detail else text)
        self.call = call
        self.target = target
        self.errno = errno


def bind(name: str, *argtypes: type) -> ctypes._NamedFuncPointer:
    """Return `syscall(2)` for the call `name`, to be called with the number of that call first.

    argtypes: of the call's own arguments; without them ctypes would cut 64-bit values short
    """
    if name not in NUMBERS:
        raise HostError(
            f"this machine's architecture is not supported: `{MACHINE}`", code="host/architecture"
        )
    # A function object of its own for each call: argtypes belong to the object.
    function: ctypes._NamedFuncPointer = libc["syscall"]
    function.restype = ctypes.c_long
    function.argtypes = (ctypes.c_long, *argtypes)
    return function


class Call:
    """One system call: `Call("fsopen", c_char_p, c_uint)(b"overlay", 1)`; raises OSError.

    Made before a fork and used after it: everything that a call needs is allocated here.
    """

    def __init__(self, name: str, *argtypes: type) -> None:
        self.name = name
        self.function = bind(name, *argtypes)
        self.number = NUMBERS[name]

    def __call__(self, *args: object) -> int:
        result: int = self.function(self.number, *args)
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), self.name)
        return result
