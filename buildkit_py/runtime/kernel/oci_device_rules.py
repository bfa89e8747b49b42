"""Device rules of config.json: as a BPF program for cgroup2, and as lines for cgroup v1.

Access is decided letter by letter by the last rule that speaks of it; nothing is allowed that no
rule allows. The program's context: see device_filter.py.
"""

from __future__ import annotations

import array
import ctypes
import os
import struct

from buildkit_py.oci.runtime_config import DeviceRule
from buildkit_py.runtime.kernel import device_filter
from buildkit_py.runtime.kernel.syscalls import Call, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ALWAYS: tuple[DeviceRule, ...] = (
    DeviceRule(True, "c", None, None, "m"),
    DeviceRule(True, "b", None, None, "m"),
    *(DeviceRule(True, "c", major, minor, "rwm") for major, minor in device_filter.ALLOWED),
)
"""What every container may do after all of its own rules, as runc has it."""

_BITS = {"m": 1, "r": 2, "w": 4}
_TYPES = {"b": 1, "c": 2}
_ALL = 7

_LOAD, _ATTACH, _DETACH, _ID_TO_FD, _QUERY = 5, 8, 9, 13, 16
_CGROUP_DEVICE, _ALLOW_MULTI, _REPLACE = 6, 2, 4
_MOST_PROGRAMS = 64  # as the kernel's BPF_CGROUP_MAX_PROGS

_bpf = Call("bpf", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


def program(rules: Sequence[DeviceRule]) -> bytes:
    """Return the instructions; result 1 allows, 0 denies. Pure.

    r2 holds the letters that are still undecided; rules are asked from the last to the first.
    """
    load, right_shift, mask, unequal, is_set, move, leave, is_equal_register = (
        0x61, 0x74, 0x54, 0x55, 0x45, 0xB4, 0x95, 0xBC,
    )  # fmt: skip
    code: list[tuple[int, int, int, int]] = [  # operation, registers, offset, value
        (load, 0x12, 0, 0),  # r2 = access and type
        (load, 0x14, 4, 0),  # r4 = major
        (load, 0x15, 8, 0),  # r5 = minor
        (is_equal_register, 0x23, 0, 0),  # r3 = r2
        (right_shift, 2, 0, 16),  # r2 = access
        (mask, 3, 0, 0xFFFF),  # r3 = type
    ]
    allowed = [(move, 0, 0, 1), (leave, 0, 0, 0)]
    denied = [(move, 0, 0, 0), (leave, 0, 0, 0)]
    for rule in reversed(rules):
        bits = sum(_BITS[letter] for letter in set(rule.access))
        tests = []
        if rule.type != "a":
            tests.append((3, _TYPES[rule.type]))
        tests += [(4, rule.major)] if rule.major is not None else []
        tests += [(5, rule.minor)] if rule.minor is not None else []
        if not tests and bits == _ALL:
            # Nothing before this rule is ever asked.
            code += allowed if rule.allow else denied
            return _pack(code)
        if rule.allow:
            then = [(mask, 2, 0, _ALL & ~bits), (unequal, 2, len(allowed), 0), *allowed]
        else:
            then = [(is_set, 2, 1, bits), (0x05, 0, len(denied), 0), *denied]
        for index, (register, value) in enumerate(tests):
            code.append((unequal, register, len(tests) - index - 1 + len(then), value))
        code += then
    return _pack(code + denied)


def _pack(code: list[tuple[int, int, int, int]]) -> bytes:
    # A major number is unsigned there, and the field is signed.
    return b"".join(
        struct.pack("=BBhI", operation, registers, offset, value & 0xFFFFFFFF)
        for operation, registers, offset, value in code
    )


def guard(cgroup_fd: int, rules: Sequence[DeviceRule]) -> None:
    """Let these rules, and none that we set before, hold in a cgroup2 directory. KernelError.

    There is no moment without rules: the old program is replaced in one step, or stays until the
    new one is there (before Linux 5.6): all programs of a cgroup must agree.
    """
    new = device_filter.load(program(rules))
    old = _attached(cgroup_fd)
    try:
        if len(old) == 1 and _attach(cgroup_fd, new, _ALLOW_MULTI | _REPLACE, old[0]):
            return
        if not _attach(cgroup_fd, new, _ALLOW_MULTI):
            raise KernelError("bpf", "attach device rules", ctypes.get_errno())
        for fd in old:
            attributes = struct.pack("=IIII", cgroup_fd, fd, _CGROUP_DEVICE, 0)
            _bpf(_DETACH, attributes, len(attributes))
    except OSError as error:
        raise KernelError("bpf", "change device rules", error.errno or 0) from None
    finally:
        for fd in (new, *old):
            os.close(fd)


def _attach(cgroup_fd: int, fd: int, flags: int, replaced: int = 0) -> bool:
    attributes = struct.pack("=IIIII", cgroup_fd, fd, _CGROUP_DEVICE, flags, replaced)
    try:
        _bpf(_ATTACH, attributes, len(attributes))
    except OSError:
        return False
    return True


def _attached(cgroup_fd: int) -> list[int]:
    """Return descriptors of the programs of exactly this cgroup; none where none can be asked."""
    ids = array.array("I", bytes(4 * _MOST_PROGRAMS))
    place, _ = ids.buffer_info()
    asked = struct.pack("=IIIIQI", cgroup_fd, _CGROUP_DEVICE, 0, 0, place, len(ids))
    answer = ctypes.create_string_buffer(asked.ljust(64, b"\0"), 64)
    try:
        _bpf(_QUERY, answer, len(asked) + 4)
    except OSError:
        return []
    (count,) = struct.unpack_from("=I", answer.raw, 24)
    fds: list[int] = []
    for number in ids[:count]:
        attributes = struct.pack("=III", number, 0, 0)
        try:
            fds.append(_bpf(_ID_TO_FD, attributes, len(attributes)))
        except OSError:
            continue  # it ended at this moment
    return fds


def v1_lines(rules: Sequence[DeviceRule]) -> Iterator[tuple[str, str]]:
    """Yield (file, line) for cgroup v1, in order, for a cgroup that has its parent's rules."""
    for rule in rules:
        file = "devices.allow" if rule.allow else "devices.deny"
        if _is_everything(rule):
            yield file, "a"
        else:
            for type in "bc" if rule.type == "a" else rule.type:
                yield file, f"{type} {_numbers(rule)} {_letters(rule.access)}"


def v1_changes(listing: str, rules: Sequence[DeviceRule]) -> list[tuple[str, str]]:
    """Return (file, line) that turn the rules listed in `devices.list` into these. Pure.

    What is allowed by both is never taken away for a moment. Only where all is allowed, before
    or after, the rules are written as they are: the kernel keeps a list of what is denied then.
    """
    wanted: dict[str, set[str]] = {}
    for rule in rules:
        if _is_everything(rule):
            if rule.allow:
                return list(v1_lines(rules))
            wanted.clear()
            continue
        for type in "bc" if rule.type == "a" else rule.type:
            letters = wanted.setdefault(f"{type} {_numbers(rule)}", set())
            letters.update(rule.access) if rule.allow else letters.difference_update(rule.access)
    there: dict[str, set[str]] = {}
    for line in listing.splitlines():
        what, _, access = line.rpartition(" ")
        if what.startswith("a"):
            return list(v1_lines(rules))
        there.setdefault(what, set()).update(access)
    allow = [
        ("devices.allow", f"{what} {_letters(letters)}")
        for what, letters in wanted.items()
        if letters - there.get(what, set())
    ]
    deny = [
        ("devices.deny", f"{what} {_letters(letters - wanted.get(what, set()))}")
        for what, letters in there.items()
        if letters - wanted.get(what, set())
    ]
    return allow + deny


def _is_everything(rule: DeviceRule) -> bool:
    no_number = rule.major is None and rule.minor is None
    return rule.type == "a" and no_number and set(rule.access) >= set(_BITS)


def _numbers(rule: DeviceRule) -> str:
    return ":".join("*" if each is None else str(each) for each in (rule.major, rule.minor))


def _letters(access: str | set[str]) -> str:
    return "".join(letter for letter in "rwm" if letter in access)
