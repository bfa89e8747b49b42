"""`linux.seccomp` of an OCI bundle, compiled to a filter.

What a profile means is what runc and crun make of it through libseccomp:

- a rule whose answer is the default one says nothing, even where another rule says otherwise;
- of the rules for a call without conditions the first holds, and those with conditions are void;
- conditions of a rule must all hold, but if two are about one argument, any of them is enough;
- of rules with conditions and different answers the one about the higher argument is asked first,
  then equality before order, then the nearer limit; contradictions are refused;
- the machine's own architecture is always there, and any that is not listed is killed;
- a call newer than every call that the profile names is ENOSYS (runc), unless others pass.

On purpose otherwise: arguments of x32 have 64 bits here, as the kernel takes them, and not 32; a
call of i386 that also goes through socketcall or ipc is not newer than the profile when it is
named there; ipc is known whatever version its caller asks for; and a test of order beside another
of the same argument holds for what it says, which libseccomp 2.5 and 2.6 get wrong.
runtime-spec config-linux.md; libseccomp src/db.c; runc libcontainer/seccomp/patchbpf.
"""

from __future__ import annotations

import errno
import functools

from buildkit_py.core.data import dataclass
from buildkit_py.core.digest import Digest, sha256
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.runtime.kernel.seccomp import (
    ALLOW,
    ERRNO,
    FLAG_LOG,
    FLAG_NEW_LISTENER,
    FLAG_SPEC_ALLOW,
    FLAG_TSYNC,
    FLAG_TSYNC_ESRCH,
    FLAG_WAIT_KILLABLE_RECV,
    KILL_PROCESS,
    KILL_THREAD,
    LOG,
    NOTIFY,
    TOKENS,
    TRACE,
    TRAP,
    Assembler,
    Condition,
    Instruction,
    Operator,
    Rule,
    conditional,
    returning,
)
from buildkit_py.runtime.kernel.syscall_tables import X32_BIT, numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.oci.runtime_config import Seccomp, SeccompRule

ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_NOTIFY": NOTIFY,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_ALLOW": ALLOW,
}
OPERATORS = {f"SCMP_CMP_{operator.name}": operator for operator in Operator}
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": FLAG_WAIT_KILLABLE_RECV,
}
ARCHITECTURES = {
    f"SCMP_ARCH_{name}": name.lower()
    for name in """
    X86_64 X32 ARM AARCH64 LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32
    PARISC PARISC64 PPC PPC64 PPC64LE RISCV64 S390 S390X SH SHEB
    """.split()
} | {"SCMP_ARCH_X86": "i386"}

_FAMILIES = {"x86_64": ("x86_64", "x32", "i386"), "aarch64": ("aarch64", "arm")}
_PRIORITIES = {
    Operator.EQ: (0, True), Operator.NE: (0, True), Operator.MASKED_EQ: (0, True),
    Operator.LT: (1, False), Operator.LE: (1, False),
    Operator.GT: (2, True), Operator.GE: (2, True),
}  # fmt: skip
"""Which tests of one argument come first, and whether great values do."""
_ACTION = 0xFFFF0000
_MAX_ERRNO = 4095
_WIDE = ("x86_64", "x32", "aarch64")
_VERSION = 1
"""Of what this module makes of a profile: a part of the digest."""

_SOCKETCALL = """
. socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom
shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg
""".split()
_IPC = {
    "semop": 1, "semget": 2, "semctl": 3, "semtimedop": 4, "msgsnd": 11, "msgrcv": 12,
    "msgget": 13, "msgctl": 14, "shmat": 21, "shmdt": 22, "shmget": 23, "shmctl": 24,
}  # fmt: skip
MULTIPLEXED = frozenset({*_SOCKETCALL[1:], *_IPC})
"""Calls of i386 that are the first argument of another: net/socket.c, ipc/syscall.c."""


class SeccompProfileError(InputError):
    """`linux.seccomp` says what no filter can do, or two things at once."""

    code = "runtime/seccomp-profile"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A filter and how to load it.

    flags: for `load`, FLAG_NEW_LISTENER among them when a rule notifies
    unknown: names that no architecture of ours has, sorted; they are skipped, as the anchors do
    warnings: what was left out and may be missed, for people
    """

    program: bytes
    flags: int
    unknown: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def notifies(self) -> bool:
        return bool(self.flags & FLAG_NEW_LISTENER)


def digest(seccomp: Seccomp) -> Digest:
    """Return a name of what is made of the profile; machines have programs of their own."""
    return sha256(f"{_VERSION} {seccomp!r}".encode())


def compile_config(seccomp: Seccomp, machine: str) -> Compiled:
    """Return the filter for a machine, named as uname(2) does. Pure; a few ms.

    Raises SeccompProfileError for a profile that cannot be, HostError for a machine that we have
    no tables for or a filter that is too long.
    """
    if machine not in _FAMILIES:
        raise HostError(f"no table of system calls for `{machine}`", code="host/architecture")
    default = _action(seccomp.default_action, seccomp.default_errno)
    rules = [each for rule in seccomp.rules for each in _rules(rule)]
    notifies = _check_notify(seccomp)
    flags, warnings = _flags(seccomp, notifies=notifies)
    listed = {machine}
    for name in seccomp.architectures:
        if name not in ARCHITECTURES:
            raise SeccompProfileError(f"unknown seccomp architecture `{name}`")
        listed.add(ARCHITECTURES[name])

    assembler = Assembler()
    roots: dict[str, int] = {}
    for name in reversed(_FAMILIES[machine]):
        if name in listed:
            roots[name] = assembler.search(_starts(rules, default, name))
    sections: list[tuple[int, int]] = []
    for name, root in roots.items():
        if name == "x86_64":
            # Same architecture, told by a bit of the number.
            x32 = roots["x32"] if "x32" in roots else _no_x32(assembler, default)
            root = assembler.number_from(X32_BIT, yes=x32, no=root)
        if name != "x32":
            sections.insert(0, (TOKENS[name], assembler.load_number(root)))
    program = assembler.program(sections, KILL_THREAD)
    known = {name for table in TOKENS for name in _table(table)} | MULTIPLEXED
    unknown = {name for rule in seccomp.rules for name in rule.names} - known
    return Compiled(program, flags, tuple(sorted(unknown)), warnings)


_table = functools.cache(numbers)


def _no_x32(assembler: Assembler, default: int) -> int:
    """Return the place for calls that have the bit of x32, where that is not listed.

    -1 is no call of x32: a tracer skips a call by it, and the filter is asked once more.
    """
    return assembler.number_is(
        0xFFFFFFFF, yes=assembler.answer(default), no=assembler.answer(KILL_THREAD)
    )


def _action(name: str, number: int | None) -> int:
    action = ACTIONS.get(name)
    if action is None:
        raise SeccompProfileError(f"unknown seccomp action `{name}`")
    if action not in (ERRNO, TRACE):
        if number is not None:
            raise SeccompProfileError(
                f"seccomp action `{name}` takes no error number: {number}",
                hint="`SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE` do",
            )
        return action
    most = _MAX_ERRNO if action == ERRNO else 0xFFFF
    number = errno.EPERM if number is None else number
    if not 0 <= number <= most:
        raise SeccompProfileError(f"error number of `{name}` is not within 0 and {most}: {number}")
    return action | number


def _flags(seccomp: Seccomp, *, notifies: bool) -> tuple[int, tuple[str, ...]]:
    flags = 0
    for name in seccomp.flags or ():
        if name not in FLAGS:
            raise SeccompProfileError(f"unknown seccomp flag `{name}`")
        flags |= FLAGS[name]
    if seccomp.flags is None:
        flags = FLAG_SPEC_ALLOW  # as runc does where a profile has no word about flags
    if notifies:
        flags |= FLAG_NEW_LISTENER
        # Both TSYNC and a listener are told by what the call returns.
        return flags | (FLAG_TSYNC_ESRCH if flags & FLAG_TSYNC else 0), ()
    if flags & FLAG_WAIT_KILLABLE_RECV:
        warning = "`SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` is left out: no seccomp rule notifies"
        return flags & ~FLAG_WAIT_KILLABLE_RECV, (warning,)
    return flags, ()


def _check_notify(seccomp: Seccomp) -> bool:
    """Tell whether a rule notifies; raise if the one who is to be told could never be."""
    notifying = [rule for rule in seccomp.rules if rule.action == "SCMP_ACT_NOTIFY"]
    if seccomp.default_action == "SCMP_ACT_NOTIFY":
        raise SeccompProfileError("`SCMP_ACT_NOTIFY` cannot be the default action of seccomp")
    if any("write" in rule.names for rule in notifying):
        raise SeccompProfileError(
            "`SCMP_ACT_NOTIFY` cannot be used for `write`: the listener is handed over by it"
        )
    if notifying and not seccomp.listener_path:
        raise SeccompProfileError("`SCMP_ACT_NOTIFY` needs a `listenerPath`")
    return bool(notifying)


def _rules(rule: SeccompRule) -> list[Rule]:
    """Return our rules for one of theirs: several when conditions are about one argument."""
    action = _action(rule.action, rule.errno)
    conditions: list[Condition] = []
    for each in rule.args:
        if each.op not in OPERATORS:
            raise SeccompProfileError(f"unknown seccomp operator `{each.op}`")
        if not 0 <= each.index <= 5:
            raise SeccompProfileError(f"a system call has no argument {each.index}: 0 to 5")
        if not (0 <= each.value < 1 << 64 and 0 <= each.value_two < 1 << 64):
            raise SeccompProfileError("a value of a seccomp argument is not within 64 bits")
        operator = OPERATORS[each.op]
        # libseccomp: bits outside of the mask are not compared.
        two = each.value & each.value_two if operator is Operator.MASKED_EQ else 0
        conditions.append(Condition(each.index, operator, each.value, two))
    if len({each.argument for each in conditions}) < len(conditions):
        return [Rule(rule.names, action, (each,)) for each in conditions]
    conditions.sort(key=lambda each: each.argument)
    return [Rule(rule.names, action, tuple(conditions))]


def _starts(
    rules: list[Rule], default: int, architecture: str
) -> list[tuple[int, tuple[Instruction, ...]]]:
    """Return what one architecture answers: intervals of numbers, each by its start."""
    table = _table(architecture)
    bits = 64 if architecture in _WIDE else 32
    found: dict[int, list[Rule]] = {}
    names: dict[int, str] = {}
    for rule in rules:
        for name in rule.names:
            for call, each in _ways(rule, name, architecture):
                if call in table:
                    names[table[call]] = call
                    rows = found.setdefault(table[call], [])
                    if each.action != default:
                        rows.append(each)
    blocks = {number: _answer(rows, default, bits, names[number]) for number, rows in found.items()}
    # Private numbers of arm (0xf0001 and on) say nothing about how new the profile is.
    newest = max((n for n in blocks if n & ~X32_BIT < 0x10000), default=0)
    unknown = returning(default)
    passes = default in (ALLOW, LOG) or default & _ACTION == TRACE
    newer = returning(ERRNO | errno.ENOSYS) if newest & ~X32_BIT and not passes else unknown
    starts: list[tuple[int, tuple[Instruction, ...]]] = []
    edge = 0
    for number in (*sorted(blocks), None):
        gap = newer if edge > newest else unknown
        if number != edge and (not starts or starts[-1][1] != gap):
            starts.append((edge, gap))
        if number is not None:
            if not starts or starts[-1][1] != blocks[number]:
                starts.append((number, blocks[number]))
            edge = number + 1
    return starts


def _ways(rule: Rule, name: str, architecture: str) -> list[tuple[str, Rule]]:
    """Return the calls by which a program reaches `name`, with the rule as it holds there.

    The arguments behind a pointer cannot be seen: of the first nothing is left, as in libseccomp.
    """
    if architecture != "i386":
        return [(name, rule)]
    if name in _SOCKETCALL:
        first = Condition(0, Operator.EQ, _SOCKETCALL.index(name))
        through = "socketcall"
    elif name in _IPC:
        # The upper half is a version, which the kernel takes off.
        first = Condition(0, Operator.MASKED_EQ, 0xFFFF, _IPC[name])
        through = "ipc"
    else:
        return [(name, rule)]
    others = tuple(each for each in rule.conditions if each.argument > 0)
    return [(name, rule), (through, Rule(rule.names, rule.action, (first, *others)))]


def _answer(rules: list[Rule], default: int, bits: int, name: str) -> tuple[Instruction, ...]:
    """Return the code for one call, of the rules for it."""
    rows = [Rule((), rule.action, _telling(rule.conditions, bits)) for rule in rules]
    for row in rows:
        if not row.conditions:
            return returning(row.action)
    if len({row.action for row in rows}) > 1:
        for index, row in enumerate(rows):
            for earlier in rows[:index]:
                same = earlier.conditions[: len(row.conditions)] == row.conditions
                if same and earlier.action != row.action:
                    raise SeccompProfileError(
                        f"two seccomp rules give `{name}` different answers for equal arguments"
                    )
        rows = _ordered([(_steps(row.conditions, bits), row) for row in rows], 0)
    code: list[Instruction] = []
    for row in dict.fromkeys(rows):
        code += conditional(row, bits)
    return (*code, *returning(default))


def _telling(conditions: tuple[Condition, ...], bits: int) -> tuple[Condition, ...]:
    """Leave out conditions that always hold: masks of no bit that this architecture has."""
    word = (1 << bits) - 1
    return tuple(
        each for each in conditions if each.operator is not Operator.MASKED_EQ or each.value & word
    )


_Step = tuple[tuple[int, int, int], object]
"""(what orders a comparison of one word among others, what makes two of them one)."""


def _steps(conditions: tuple[Condition, ...], bits: int) -> list[_Step]:
    """Return the comparisons of words that libseccomp makes of conditions, upper word first."""
    steps: list[_Step] = []
    for each in conditions:
        masked = each.operator is Operator.MASKED_EQ
        mask = each.value if masked else (1 << 64) - 1
        value = each.value_two if masked else each.value
        priority, falling = _PRIORITIES[each.operator]
        for upper, shift in ((1, 32), (0, 0)) if bits == 64 else ((0, 0),):
            part, part_mask = value >> shift & 0xFFFFFFFF, mask >> shift & 0xFFFFFFFF
            key = (-2 * each.argument - upper, priority, -part if falling else part)
            steps.append((key, (each.argument, upper, priority, masked, part, part_mask)))
    return steps


def _ordered(rows: list[tuple[list[_Step], Rule]], depth: int) -> list[Rule]:
    """Return rules in the order in which libseccomp's tree of comparisons asks them."""
    done = [rule for steps, rule in rows if len(steps) == depth]
    groups: dict[object, list[tuple[list[_Step], Rule]]] = {}
    for row in rows:
        if len(row[0]) > depth:
            groups.setdefault(row[0][depth][1], []).append(row)
    for group in sorted(groups.values(), key=lambda each: each[0][0][depth][0]):
        done += _ordered(group, depth + 1)
    return done
