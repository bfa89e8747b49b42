"""A compiler from rules about system calls to classic BPF, and loading the result.

A program first asks for the architecture of the call, then finds the number by a binary search
over intervals of equal answers, and compares arguments as 64-bit values. seccomp(2),
Documentation/userspace-api/seccomp_filter.rst, include/uapi/linux/{seccomp,filter,audit}.h.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import struct

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import HostError
from buildkit_py.runtime.kernel.syscall_tables import X32_BIT, numbers
from buildkit_py.runtime.kernel.syscalls import Call, KernelError

KILL_PROCESS = 0x80000000
KILL_THREAD = 0x00000000
TRAP = 0x00030000
ERRNO = 0x00050000
NOTIFY = 0x7FC00000
TRACE = 0x7FF00000
LOG = 0x7FFC0000
ALLOW = 0x7FFF0000

FLAG_TSYNC, FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_NEW_LISTENER = 1, 2, 4, 8
FLAG_TSYNC_ESRCH, FLAG_WAIT_KILLABLE_RECV = 16, 32
"""SECCOMP_FILTER_FLAG_*; TSYNC_ESRCH makes a thread that cannot follow an error of its own."""

_MODE_FILTER = 1  # SECCOMP_SET_MODE_FILTER
_LD_ABS, _AND, _JA, _JEQ, _JGT, _JGE, _RET = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data
_LONGEST = 4096  # BPF_MAXINSNS

Instruction = tuple[int, int, int, int]
"""(code, jump if true, jump if false, value): struct sock_filter."""

TOKENS = {
    "x86_64": 0xC000003E,
    "i386": 0x40000003,
    "x32": 0xC000003E,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
}
_FAMILIES = {"x86_64": ("x86_64", "i386", "x32"), "aarch64": ("aarch64", "arm")}
"""What one kernel runs: a rule holds for all of them, or the others are the way around it."""


class Operator(enum.Enum):
    NE = "ne"
    LT = "lt"
    LE = "le"
    EQ = "eq"
    GE = "ge"
    GT = "gt"
    MASKED_EQ = "masked_eq"


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of an argument, numbered from 0; MASKED_EQ: argument & value == value_two."""

    argument: int
    operator: Operator
    value: int
    value_two: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """An answer for calls when all conditions hold. Names that a machine lacks are skipped."""

    names: tuple[str, ...]
    action: int
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """Rules in order: the first with conditions that hold, then one without, then `default`."""

    default: int
    rules: tuple[Rule, ...]


def compile_profile(profile: Profile, machine: str) -> bytes:
    """Return the program for this machine and for its 32-bit relatives. Pure.

    Calls newer than every call that the profile knows are ENOSYS, as runc has it: EPERM would
    break programs that try a new call and fall back to an old one.
    Raises HostError for a machine that we have no tables for.
    """
    if machine not in _FAMILIES:
        raise HostError(f"no table of system calls for `{machine}`", code="host/architecture")
    code: list[Instruction] = [(_LD_ABS, 0, 0, _ARCHITECTURE_AT)]
    sections: dict[int, list[Instruction]] = {}
    for architecture in _FAMILIES[machine]:
        section = _section(profile, architecture)
        token = TOKENS[architecture]
        if architecture == "x32":
            # Same architecture, told by a bit of the number, which is loaded already.
            native = sections[token]
            head = native[0]
            sections[token] = [head, *_jump(_JGE, X32_BIT, native[1:], section[1:])]
        else:
            sections[token] = section
    for token, section in sections.items():
        code += [(_JEQ, 1, 0, token), (_JA, 0, 0, len(section)), *section]
    code.append((_RET, 0, 0, KILL_PROCESS))
    if len(code) > _LONGEST:
        raise HostError(f"the seccomp filter is too long: {len(code)}", code="host/seccomp")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _section(profile: Profile, architecture: str) -> list[Instruction]:
    """Return the code for one architecture; it loads the number and always returns."""
    table = numbers(architecture)
    answers: dict[int, list[Rule]] = {}
    for rule in profile.rules:
        for name in rule.names:
            if name in table:
                answers.setdefault(table[name], []).append(rule)
    bits = 64 if architecture in ("x86_64", "aarch64", "x32") else 32
    blocks = {number: _answer(rules, profile.default, bits) for number, rules in answers.items()}
    # Private numbers of arm (0xf0001 and on) say nothing about how new the profile is.
    newest = max((n for n in blocks if n & ~X32_BIT < 0x10000), default=0)
    unknown = [(_RET, 0, 0, profile.default)]
    newer = [(_RET, 0, 0, ERRNO | errno.ENOSYS)] if profile.default != ALLOW else unknown
    starts: list[tuple[int, list[Instruction]]] = []
    edge = 0
    for number in sorted(blocks):
        if number > edge:
            _extend(starts, edge, newer if edge > newest else unknown)
        _extend(starts, number, blocks[number])
        edge = number + 1
    _extend(starts, edge, newer if edge > newest else unknown)
    return [(_LD_ABS, 0, 0, _NUMBER_AT), *_search(starts)]


def _extend(starts: list[tuple[int, list[Instruction]]], at: int, block: list[Instruction]) -> None:
    """Add an interval unless its answer is that of the interval before."""
    if not starts or starts[-1][1] != block:
        starts.append((at, block))


def _search(starts: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    """Return a binary search over intervals; each answer stands where its branch ends."""
    if len(starts) == 1:
        return starts[0][1]
    middle = len(starts) // 2
    return _jump(_JGE, starts[middle][0], _search(starts[:middle]), _search(starts[middle:]))


def _jump(
    test: int, value: int, no: list[Instruction], yes: list[Instruction]
) -> list[Instruction]:
    """Join two branches that both return. A conditional jump reaches 255 instructions only."""
    if len(no) <= 255:
        return [(test, len(no), 0, value), *no, *yes]
    return [(test, 0, 1, value), (_JA, 0, 0, len(no)), *no, *yes]


def _answer(rules: list[Rule], default: int, bits: int) -> list[Instruction]:
    code: list[Instruction] = []
    last = default
    for rule in rules:
        if rule.conditions:
            code += conditional(rule, bits)
    for rule in rules:
        if not rule.conditions:
            last = rule.action
            break
    return [*code, (_RET, 0, 0, last)]


def conditional(rule: Rule, bits: int) -> list[Instruction]:
    """Return code that returns the action if all conditions hold and else runs off its end."""
    code: list[Instruction] = [(_RET, 0, 0, rule.action)]
    for condition in reversed(rule.conditions):
        code = [*_compare(condition, bits, fail=len(code)), *code]
    return code


def _compare(condition: Condition, bits: int, *, fail: int) -> list[Instruction]:
    """Return a comparison that runs off its end if it holds, else jumps `fail` further.

    A 64-bit argument is two words, little-endian; on a 32-bit machine only the low one counts.
    """
    low_at = _ARGUMENTS_AT + 8 * condition.argument
    value = condition.value
    low, high = value & 0xFFFFFFFF, value >> 32
    low_two, high_two = condition.value_two & 0xFFFFFFFF, condition.value_two >> 32
    load_low, load_high = (_LD_ABS, 0, 0, low_at), (_LD_ABS, 0, 0, low_at + 4)
    head: list[Instruction] = []
    tail: list[Instruction] = []
    match condition.operator:
        case Operator.EQ:
            tail = [load_low, (_JEQ, 0, fail, low)]
            head = [load_high, (_JEQ, 0, fail + len(tail), high)]
        case Operator.MASKED_EQ:
            tail = [load_low, (_AND, 0, 0, low), (_JEQ, 0, fail, low_two)]
            head = [load_high, (_AND, 0, 0, high), (_JEQ, 0, fail + len(tail), high_two)]
        case Operator.NE:
            tail = [load_low, (_JEQ, fail, 0, low)]
            head = [load_high, (_JEQ, 0, len(tail), high)]
        case Operator.GT | Operator.GE:
            test = _JGT if condition.operator is Operator.GT else _JGE
            tail = [load_low, (test, 0, fail, low)]
            # high > ours: holds; equal: the low words decide; less: fails.
            head = [load_high, (_JGT, 1 + len(tail), 0, high), (_JEQ, 0, fail + len(tail), high)]
        case Operator.LT | Operator.LE:
            test = _JGE if condition.operator is Operator.LT else _JGT
            tail = [load_low, (test, fail, 0, low)]
            head = [load_high, (_JGT, fail + 1 + len(tail), 0, high), (_JEQ, 0, len(tail), high)]
    return tail if bits == 32 else [*head, *tail]


def returning(action: int) -> tuple[Instruction, ...]:
    return ((_RET, 0, 0, action),)


class Assembler:
    """Code made from its end: what a jump leads to stands already, and is shared while near.

    A place is the number of instructions from it to the end of the program, so it stays true
    while more is put in front. A loaded number stays loaded: tests do not change it.
    """

    def __init__(self) -> None:
        self._code: list[Instruction] = []
        self._places: dict[tuple[Instruction, ...], int] = {}

    def block(self, block: tuple[Instruction, ...]) -> int:
        """Return the place of code that always returns."""
        place = self._places.get(block)
        if place is None or len(self._code) - place > 250:
            self._code += reversed(block)
            place = self._places[block] = len(self._code)
        return place

    def answer(self, action: int) -> int:
        return self.block(returning(action))

    def number_is(self, value: int, *, yes: int, no: int) -> int:
        return self._test(_JEQ, value, yes, no)

    def number_from(self, value: int, *, yes: int, no: int) -> int:
        return self._test(_JGE, value, yes, no)

    def search(self, starts: list[tuple[int, tuple[Instruction, ...]]]) -> int:
        """Return the place of a search over intervals, each given by its start and its answer."""
        if len(starts) == 1:
            return self.block(starts[0][1])
        if len(starts) == 3 and starts[0][1] == starts[2][1] and starts[1][0] + 1 == starts[2][0]:
            no = self.block(starts[0][1])
            return self.number_is(starts[1][0], yes=self.block(starts[1][1]), no=no)
        middle = len(starts) // 2
        yes = self.search(starts[middle:])
        no = self.search(starts[:middle])
        return self.number_from(starts[middle][0], yes=yes, no=no)

    def load_number(self, then: int) -> int:
        return self._load(_NUMBER_AT, then)

    def program(self, sections: list[tuple[int, int]], foreign: int) -> bytes:
        """Return the whole: a section's place for each audit token, and the answer for others."""
        place = self.answer(foreign)
        for token, section in reversed(sections):
            place = self._test(_JEQ, token, section, place)
        self._load(_ARCHITECTURE_AT, place)
        if len(self._code) > _LONGEST:
            raise HostError(
                f"the seccomp filter is too long: {len(self._code)}", code="host/seccomp"
            )
        return b"".join(struct.pack("=HBBI", *each) for each in reversed(self._code))

    def _load(self, offset: int, then: int) -> int:
        if then != len(self._code):
            self._code.append((_JA, 0, 0, len(self._code) - then))
        self._code.append((_LD_ABS, 0, 0, offset))
        return len(self._code)

    def _test(self, test: int, value: int, yes: int, no: int) -> int:
        yes, no = self._near(yes), self._near(no)
        end = len(self._code)
        self._code.append((test, end - yes, end - no, value))
        return end + 1

    def _near(self, place: int) -> int:
        """Return a place that leads there within reach of a conditional jump, and one more."""
        distance = len(self._code) - place
        if distance < 255:
            return place
        self._code.append((_JA, 0, 0, distance))
        return len(self._code)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


_seccomp = Call("seccomp", ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(_Program))


def load(program: bytes, flags: int = 0) -> int:
    """Load a filter for this thread, for ever. Needs no_new_privs or CAP_SYS_ADMIN.

    flags: FLAG_*; with FLAG_NEW_LISTENER the listener's descriptor is returned, else -1
    """
    data = _Program(len(program) // 8, program)
    try:
        result = _set_filter(flags, data)
    except OSError as error:
        raise KernelError("seccomp", "filter", error.errno or 0) from None
    if flags & FLAG_NEW_LISTENER:
        return result
    if result > 0:
        raise KernelError("seccomp", "filter", errno.ESRCH, detail=f"thread {result} cannot follow")
    return -1


def _set_filter(flags: int, data: _Program) -> int:
    optional = FLAG_LOG | FLAG_SPEC_ALLOW
    try:
        return _seccomp(_MODE_FILTER, flags, data)
    except OSError as error:
        # Linux before 4.14 and 4.17 has not these two; neither makes a filter weaker by missing.
        if error.errno != errno.EINVAL or not flags & optional:
            raise
        return _seccomp(_MODE_FILTER, flags & ~optional, data)
