"""What /proc shows of a process as its command line, environment and name; prctl(2), PR_SET_MM_MAP.

The first process of a container is a fork of the zygote, and would show the host's Python, the
path of our package and the host's PATH to everybody in there. Its mapped libraries still show.
"""

from __future__ import annotations

import ctypes

from buildkit_py.core.data import dataclass
from buildkit_py.runtime.kernel.syscalls import Call, KernelError, libc

_PR_SET_NAME = 15
_PR_SET_MM, _PR_SET_MM_MAP = 35, 14
_NO_FD = 0xFFFFFFFF
_ulong = ctypes.c_ulong

_prctl_text = Call("prctl", ctypes.c_int, ctypes.c_char_p, _ulong, _ulong, _ulong)
_sbrk = libc.sbrk
_sbrk.argtypes = (ctypes.c_long,)
_sbrk.restype = ctypes.c_void_p


class _Map(ctypes.Structure):
    """struct prctl_mm_map of include/uapi/linux/prctl.h."""

    _fields_ = [
        *(
            (name, ctypes.c_uint64)
            for name in (
                "start_code", "end_code", "start_data", "end_data", "start_brk", "brk",
                "start_stack", "arg_start", "arg_end", "env_start", "env_end", "auxv",
            )
        ),
        ("auxv_size", ctypes.c_uint32),
        ("exe_fd", ctypes.c_uint32),
    ]  # fmt: skip


_prctl_map = Call("prctl", ctypes.c_int, _ulong, ctypes.POINTER(_Map), _ulong, _ulong)

_FIELDS = {
    "start_code": 26, "end_code": 27, "start_stack": 28, "start_data": 45, "end_data": 46,
    "start_brk": 47,
}  # fmt: skip
"""Places in /proc/PID/stat, from 1 on; proc(5)."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Where things of this process are; forks have them at the same places."""

    places: dict[str, int]

    @classmethod
    def of_this_process(cls) -> Memory:
        with open("/proc/self/stat") as file:
            # Behind the name, which may have blanks in it, comes the third field.
            fields = file.read().rpartition(")")[2].split()
        return cls({name: int(fields[number - 3]) for name, number in _FIELDS.items()})


_shown: list[object] = []
"""Where the kernel reads what is shown, whenever somebody asks."""


def show(memory: Memory, *, name: str, args: list[str], env: list[str]) -> None:
    """Show other words as this process's.

    name: at most 15 bytes are shown
    Raises KernelError where the kernel cannot, or a filter forbids it.
    """
    pieces = [b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words)
              for words in (args, env)]  # fmt: skip
    text = ctypes.create_string_buffer(b"".join(pieces))
    start = ctypes.addressof(text)
    middle = start + len(pieces[0])
    shown = _Map(
        **memory.places, brk=_sbrk(0), arg_start=start, arg_end=middle, env_start=middle,
        env_end=middle + len(pieces[1]), exe_fd=_NO_FD,
    )  # fmt: skip
    try:
        _prctl_text(_PR_SET_NAME, name.encode(), 0, 0, 0)
        _prctl_map(_PR_SET_MM, _PR_SET_MM_MAP, shown, ctypes.sizeof(shown), 0)
    except OSError as error:
        raise KernelError("prctl", "PR_SET_MM_MAP", error.errno or 0) from None
    _shown.append(text)
