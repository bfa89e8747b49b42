"""How a process is scheduled, and on which memory: sched(7), ioprio_set(2), set_mempolicy(2)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct

from buildkit_py.runtime.kernel.syscalls import Call, KernelError

POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4,
    "SCHED_IDLE": 5, "SCHED_DEADLINE": 6,
}  # fmt: skip
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20, "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}  # fmt: skip
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
MEMORY_MODES = {
    "MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6,
}  # fmt: skip
MEMORY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}  # fmt: skip
PERSONALITIES = {"LINUX": 0, "LINUX32": 0x0008}

_MOST_PROCESSORS = 8192
"""NR_CPUS where it is highest; the kernel leaves out those that are not there."""
_IOPRIO_WHO_PROCESS, _IOPRIO_CLASS_SHIFT = 1, 13
_ulong = ctypes.c_ulong

_sched_setattr = Call("sched_setattr", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_ioprio_set = Call("ioprio_set", ctypes.c_int, ctypes.c_int, ctypes.c_int)
_personality = Call("personality", _ulong)
_set_mempolicy = Call("set_mempolicy", ctypes.c_int, ctypes.c_char_p, _ulong)


def set_scheduler(
    policy: int, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int
) -> None:
    """sched_setattr(2) for this thread; times in nanoseconds. Raises KernelError."""
    data = struct.pack("=IIQiIQQQ", 48, policy, flags, nice, priority, runtime, deadline, period)
    try:
        _sched_setattr(0, data, 0)
    except OSError as error:
        raise KernelError("sched_setattr", f"policy {policy}", error.errno or 0) from None


def set_io_priority(io_class: int, priority: int) -> None:
    """Set the priority of this process's input and output. Raises KernelError."""
    try:
        _ioprio_set(_IOPRIO_WHO_PROCESS, 0, io_class << _IOPRIO_CLASS_SHIFT | priority)
    except OSError as error:
        raise KernelError("ioprio_set", f"class {io_class}", error.errno or 0) from None


def set_personality(value: int) -> None:
    """personality(2). Raises KernelError."""
    try:
        _personality(value)
    except OSError as error:
        raise KernelError("personality", f"{value:#x}", error.errno or 0) from None


def use_all_processors(pid: int = 0) -> None:
    """Undo what the caller was confined to; the cgroup says where a container runs."""
    if len(os.sched_getaffinity(pid)) < (os.cpu_count() or 1):
        # Who may not, stays where its caller is.
        with contextlib.suppress(OSError):
            os.sched_setaffinity(pid, range(_MOST_PROCESSORS))


def set_memory_policy(mode: int, nodes: frozenset[int]) -> None:
    """Choose the nodes whose memory this process takes. Raises KernelError."""
    bits = sum(1 << node for node in nodes)
    size = (max(nodes, default=0) // 64 + 1) * 8
    mask = bits.to_bytes(size, "little") if nodes else None
    try:
        _set_mempolicy(mode, mask, size * 8 + 1 if nodes else 0)
    except OSError as error:
        raise KernelError("set_mempolicy", f"mode {mode:#x}", error.errno or 0) from None
