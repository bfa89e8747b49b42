"""Which devices a container may open: as a BPF program and as lines for cgroup v1.

Docker's rules, without the console.

The program's context is struct bpf_cgroup_dev_ctx: (access << 16 | type), major, minor.
Documentation/admin-guide/cgroup-v2.rst, "Device controller"; include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import os
import struct

from buildkit_py.runtime.kernel.syscalls import Call, KernelError

ALLOWED: tuple[tuple[int, int | None], ...] = (
    (1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, None), (10, 200),
)  # fmt: skip
"""Character devices (major, minor; None is any) for everything: null zero full random urandom
tty ptmx, terminals, and tun. Every node may be made (`m`), as runc has it. Not docker's 5:1: that
is the machine's own console, which a container could take as its terminal. Ours is one of 136."""

V1_LINES = (
    "c *:* m",
    "b *:* m",
    *(f"c {major}:{'*' if minor is None else minor} rwm" for major, minor in ALLOWED),
)
"""For devices.allow, after `a` went to devices.deny."""

_MKNOD, _TYPE_CHARACTER = 1, 2
_PROGRAM_LOAD, _PROGRAM_ATTACH = 5, 8
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI = 15, 6, 2

_bpf = Call("bpf", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


def program() -> bytes:
    """Return the instructions; result 1 allows, 0 denies."""
    load, right_shift, mask, equal, unequal, move, leave = (
        0x61, 0x74, 0x54, 0x15, 0x55, 0xB4, 0x95,
    )  # fmt: skip
    code: list[tuple[int, int, int, int]] = []  # operation, registers, offset, value
    code.append((load, 0x12, 0, 0))  # r2 = access and type
    code.append((load, 0x14, 4, 0))  # r4 = major
    code.append((load, 0x15, 8, 0))  # r5 = minor
    code.append((0xBC, 0x23, 0, 0))  # r3 = r2
    code.append((right_shift, 3, 0, 16))
    code.append((mask, 2, 0, 0xFFFF))
    tests: list[tuple[int, int, int, int]] = []
    for major, minor in reversed(ALLOWED):
        here = len(tests)
        # The last two instructions of the whole program are "allow": two beyond "deny".
        if minor is None:
            tests.insert(0, (equal, 4, here + 2, major))
        else:
            tests.insert(0, (equal, 5, here + 2, minor))
            tests.insert(0, (unequal, 4, 1, major))
    code.append((equal, 3, len(tests) + 3, _MKNOD))
    code.append((unequal, 2, len(tests), _TYPE_CHARACTER))
    code += tests
    code += [(move, 0, 0, 0), (leave, 0, 0, 0), (move, 0, 0, 1), (leave, 0, 0, 0)]
    return b"".join(struct.pack("=BBhi", *each) for each in code)


def is_possible() -> bool:
    """Tell whether this kernel, and whoever contains us, takes such a program."""
    try:
        os.close(load(program()))
    except KernelError:
        return False
    return True


def attach(cgroup_fd: int) -> None:
    """Guard the devices of a cgroup2 directory and of all beneath it, for as long as it exists.

    Needs CAP_BPF and CAP_NET_ADMIN or CAP_SYS_ADMIN outside of user namespaces. KernelError.
    """
    fd = load(program())
    try:
        attributes = struct.pack("=IIII", cgroup_fd, fd, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI)
        _bpf(_PROGRAM_ATTACH, attributes, len(attributes))
    except OSError as error:
        raise KernelError("bpf", "attach device filter", error.errno or 0) from None
    finally:
        os.close(fd)


def load(code: bytes) -> int:
    """Give the kernel a program and return its descriptor. Raises KernelError."""
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack(
        "=IIQQ",
        _TYPE_CGROUP_DEVICE,
        len(code) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(licence),
    ).ljust(120, b"\0")
    try:
        return _bpf(_PROGRAM_LOAD, attributes, len(attributes))
    except OSError as error:
        raise KernelError("bpf", "load device filter", error.errno or 0) from None
