"""`linux.seccomp` of a bundle: against a plain model, against libseccomp, and on the kernel."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from buildkit_py.core.data import replace
from buildkit_py.core.errors import HostError
from buildkit_py.oci.runtime_config import Seccomp, SeccompArgument, SeccompRule
from buildkit_py.runtime import notify
from buildkit_py.runtime.kernel import capabilities, oci_seccomp, seccomp, seccomp_profile
from buildkit_py.runtime.kernel.oci_seccomp import (
    ACTIONS,
    SeccompProfileError,
    compile_config,
    digest,
)
from buildkit_py.runtime.kernel.seccomp import (
    ALLOW,
    ERRNO,
    KILL_THREAD,
    LOG,
    TRACE,
    TRAP,
    Condition,
    Operator,
)
from buildkit_py.runtime.kernel.syscall_tables import numbers
from tests.rootless import TREE
from tests.runtime.kernel.test_seccomp import AARCH64, ARM, I386, X86_64, Libseccomp, answer, holds

X86_64_CALLS, I386_CALLS, X32_CALLS = numbers("x86_64"), numbers("i386"), numbers("x32")
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS
ALL = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")
PLACES = {"SCMP_ARCH_X86_64": X86_64, "SCMP_ARCH_X86": I386, "SCMP_ARCH_X32": X86_64}
TABLES = dict(zip(ALL, (X86_64_CALLS, I386_CALLS, X32_CALLS), strict=True))


def rule(
    names: str, action: str, *args: tuple[int, str, int, int], number: int | None = None
) -> SeccompRule:
    return SeccompRule(
        tuple(names.split()),
        f"SCMP_ACT_{action}",
        number,
        tuple(SeccompArgument(index, a, f"SCMP_CMP_{op}", b) for index, op, a, b in args),
    )


def profile(
    *rules: SeccompRule, default: str = "ERRNO", architectures: tuple[str, ...] = ()
) -> Seccomp:
    return Seccomp(f"SCMP_ACT_{default}", architectures=architectures, rules=rules)


def ask(config: Seccomp, name: str, *args: int) -> int:
    return answer(compile_config(config, "x86_64").program, X86_64, X86_64_CALLS[name], *args)


def test_each_action_is_the_kernels() -> None:
    config = profile(
        rule("read", "KILL"), rule("write", "KILL_PROCESS"), rule("open", "TRAP"),
        rule("close", "ERRNO", number=99), rule("stat", "TRACE", number=7), rule("fstat", "TRACE"),
        rule("lstat", "LOG"), rule("poll", "ALLOW"), rule("setxattrat", "ALLOW"),
    )  # fmt: skip
    config = replace(config, default_errno=12)
    words = "read write open close stat fstat lstat poll lseek"

    answers = [ask(config, name) for name in words.split()]

    assert answers == [
        KILL_THREAD, seccomp.KILL_PROCESS, TRAP, ERRNO | 99, TRACE | 7, TRACE | 1, LOG, ALLOW,
        ERRNO | 12,
    ]  # fmt: skip


def test_conditions_of_a_rule_must_all_hold() -> None:
    config = profile(
        rule("socket", "ALLOW", (0, "EQ", 2, 0), (1, "EQ", 1, 0)), rule("setxattrat", "ALLOW")
    )

    assert [ask(config, "socket", *args) for args in ((2, 1), (2, 2), (1, 1))] == [
        ALLOW, EPERM, EPERM,
    ]  # fmt: skip


def test_of_two_conditions_on_one_argument_either_is_enough() -> None:
    config = profile(
        rule("socket", "ALLOW", (0, "EQ", 2, 0), (0, "EQ", 1, 0), (1, "EQ", 5, 0)),
        rule("setxattrat", "ALLOW"),
    )

    assert [ask(config, "socket", *args) for args in ((2, 0), (1, 0), (9, 5), (9, 9))] == [
        ALLOW, ALLOW, ALLOW, EPERM,
    ]  # fmt: skip


def test_a_rule_without_conditions_voids_those_with_some() -> None:
    strict, free = rule("dup", "TRAP", (0, "EQ", 3, 0)), rule("dup", "LOG")

    for rules in ((strict, free), (free, strict), (strict, free, rule("dup", "ALLOW"))):
        assert ask(profile(*rules), "dup", 3) == LOG


def test_the_default_answer_as_a_rule_says_nothing() -> None:
    config = profile(rule("dup", "ERRNO", (0, "EQ", 3, 0)), rule("dup", "ALLOW"))

    assert ask(config, "dup", 3) == ALLOW


def test_the_higher_argument_is_asked_first() -> None:
    config = profile(
        rule("dup", "ALLOW", (0, "EQ", 1, 0)), rule("dup", "TRAP", (1, "EQ", 1, 0)),
        rule("dup3", "LOG", (0, "GE", 1, 0)), rule("dup3", "TRAP", (0, "EQ", 5, 0)),
    )  # fmt: skip

    assert [ask(config, "dup", *args) for args in ((1, 0), (0, 1), (1, 1))] == [ALLOW, TRAP, TRAP]
    assert [ask(config, "dup3", value) for value in (0, 4, 5)] == [EPERM, LOG, TRAP]


def test_bits_outside_of_a_mask_are_not_compared() -> None:
    config = profile(rule("dup", "ALLOW", (0, "MASKED_EQ", 0xF0, 0x1F)))

    assert [ask(config, "dup", value) for value in (0x10, 0x1F, 0x2F)] == [ALLOW, ALLOW, EPERM]


def test_a_call_newer_than_the_profile_is_unknown() -> None:
    config = profile(rule("read statx", "ALLOW"))

    assert ask(config, "write") == EPERM
    assert ask(config, "openat2") == ENOSYS
    for default in ("ALLOW", "LOG", "TRACE"):
        passing = replace(config, default_action=f"SCMP_ACT_{default}")
        assert ask(passing, "openat2") & 0xFFFF0000 == ACTIONS[f"SCMP_ACT_{default}"], default
    assert ask(replace(config, default_action="SCMP_ACT_KILL"), "openat2") == ENOSYS
    assert ask(profile(), "openat2") == ask(profile(rule("read", "ALLOW")), "openat2") == EPERM
    assert ask(profile(rule("no_such_call", "ALLOW")), "openat2") == EPERM


def test_architectures_that_are_not_listed_are_no_way_around() -> None:
    config = profile(rule("mkdir", "ERRNO", number=5), default="ALLOW")
    native = compile_config(config, "x86_64").program
    every = compile_config(replace(config, architectures=ALL), "x86_64").program

    assert answer(native, I386, I386_CALLS["mkdir"]) == KILL_THREAD
    assert answer(native, X86_64, X32_CALLS["mkdir"]) == KILL_THREAD
    assert answer(native, X86_64, 0xFFFFFFFF) == ALLOW  # a tracer's "skip this call"
    assert answer(every, I386, I386_CALLS["mkdir"]) == ERRNO | 5
    assert answer(every, X86_64, X32_CALLS["mkdir"]) == ERRNO | 5
    assert answer(every, X86_64, X32_CALLS["execve"]) == ALLOW
    assert answer(every, AARCH64, 63) == KILL_THREAD


def test_aarch64_and_its_32_bits() -> None:
    config = profile(rule("openat set_tls", "ALLOW"), architectures=("SCMP_ARCH_ARM", *ALL))
    program = compile_config(config, "aarch64").program

    assert answer(program, AARCH64, numbers("aarch64")["openat"]) == ALLOW
    assert answer(program, ARM, numbers("arm")["set_tls"]) == ALLOW
    assert answer(program, ARM, numbers("arm")["mkdir"]) == EPERM
    assert answer(program, X86_64, 0) == KILL_THREAD


def test_calls_within_calls_of_i386() -> None:
    config = profile(rule("socket semop", "ERRNO", number=97), default="ALLOW", architectures=ALL)
    program = compile_config(config, "x86_64").program

    def through(name: str, *args: int) -> int:
        return answer(program, I386, I386_CALLS[name], *args)

    assert through("socketcall", 1) == through("socket") == ERRNO | 97
    assert through("socketcall", 2) == through("ipc", 2) == ALLOW
    assert through("ipc", 1) == through("ipc", 1 << 16 | 1) == ERRNO | 97


BAD = {
    "unknown seccomp action `SCMP_ACT_NO`": profile(rule("dup", "NO")),
    "unknown seccomp action `SCMP_ACT_MAYBE`": profile(default="MAYBE"),
    "unknown seccomp architecture `SCMP_ARCH_Z80`": profile(architectures=("SCMP_ARCH_Z80",)),
    "unknown seccomp flag `FAST`": replace(profile(), flags=("FAST",)),
    "unknown seccomp operator `SCMP_CMP_IS`": profile(rule("dup", "ALLOW", (0, "IS", 1, 0))),
    "a system call has no argument 6: 0 to 5": profile(rule("dup", "ALLOW", (6, "EQ", 1, 0))),
    "a value of a seccomp argument is not within 64 bits": profile(
        rule("dup", "ALLOW", (0, "EQ", 1 << 64, 0))
    ),
    "seccomp action `SCMP_ACT_ALLOW` takes no error number: 1": profile(
        rule("dup", "ALLOW", number=1)
    ),
    "error number of `SCMP_ACT_ERRNO` is not within 0 and 4095: 4096": profile(
        rule("dup", "ERRNO", number=4096)
    ),
    "`SCMP_ACT_NOTIFY` cannot be the default action of seccomp": profile(default="NOTIFY"),
    "`SCMP_ACT_NOTIFY` cannot be used for `write`: the listener is handed over by it": profile(
        rule("write", "NOTIFY")
    ),
    "`SCMP_ACT_NOTIFY` needs a `listenerPath`": profile(rule("dup", "NOTIFY")),
    "two seccomp rules give `dup` different answers for equal arguments": profile(
        rule("dup", "ALLOW", (0, "EQ", 1, 0)), rule("dup", "TRAP", (0, "EQ", 1, 0))
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_what_no_filter_can_do_is_named(message: str) -> None:
    with pytest.raises(SeccompProfileError) as raised:
        compile_config(BAD[message], "x86_64")

    assert raised.value.message == message


def test_a_machine_without_tables_is_named() -> None:
    with pytest.raises(HostError, match="`riscv64`"):
        compile_config(profile(), "riscv64")


def test_flags_are_the_kernels() -> None:
    names = [f"SECCOMP_FILTER_FLAG_{name}" for name in ("TSYNC", "LOG", "WAIT_KILLABLE_RECV")]
    notifying = replace(profile(rule("dup", "NOTIFY")), listener_path="/run/agent")

    deaf = compile_config(replace(profile(), flags=tuple(names)), "x86_64")
    heard = compile_config(replace(notifying, flags=tuple(names)), "x86_64")

    assert compile_config(profile(), "x86_64").flags == seccomp.FLAG_SPEC_ALLOW
    assert compile_config(replace(profile(), flags=()), "x86_64").flags == 0
    assert (deaf.flags, deaf.notifies, len(deaf.warnings)) == (3, False, 1)
    assert (heard.flags, heard.notifies, heard.warnings) == (1 | 2 | 8 | 16 | 32, True, ())


def test_unknown_names_are_skipped_and_told() -> None:
    config = profile(rule("read no_such_call riscv_hwprobe semop send fstat64", "ALLOW"))

    assert compile_config(config, "x86_64").unknown == ("no_such_call", "riscv_hwprobe")


def test_a_digest_is_of_all_that_matters() -> None:
    config = profile(rule("dup", "ALLOW", (0, "EQ", 1, 0)))

    assert digest(config) == digest(profile(rule("dup", "ALLOW", (0, "EQ", 1, 0))))
    assert digest(config) != digest(profile(rule("dup", "ALLOW", (0, "EQ", 2, 0))))
    assert digest(config) != digest(replace(config, flags=("SECCOMP_FILTER_FLAG_LOG",)))


def dockers() -> Seccomp:
    """Docker's profile as a bundle has it: 400 names and more, for three architectures."""
    actions = {ALLOW: "ALLOW", ENOSYS: "ERRNO"}
    table = seccomp_profile.docker(capabilities.DOCKER, "x86_64")
    rules = [
        rule(
            " ".join(each.names),
            actions[each.action],
            *((c.argument, c.operator.name, c.value, c.value_two) for c in each.conditions),
            number=errno.ENOSYS if each.action == ENOSYS else None,
        )
        for each in table.rules
    ]
    return profile(*rules, architectures=ALL)


def test_dockers_profile_is_short_and_means_the_same() -> None:
    config = dockers()
    compile_config(config, "x86_64")
    start = time.process_time()
    program = compile_config(config, "x86_64").program
    spent = time.process_time() - start
    other = seccomp.compile_profile(seccomp_profile.docker(capabilities.DOCKER, "x86_64"), "x86_64")

    assert len(program) // 8 < 600
    assert spent < 0.1, "some ms on an idle machine"
    for place, table in ((X86_64, X86_64_CALLS), (I386, I386_CALLS), (X86_64, X32_CALLS)):
        for number in (*table.values(), 470, 999):
            for value in (1, 38, 0x10000000):
                assert answer(program, place, number, value) == answer(other, place, number, value)


def test_a_program_beyond_the_kernels_length_is_refused() -> None:
    rules = [
        rule(name, "ALLOW", *((index, "LT", 1 << 40 | place, 0) for index in range(6)))
        for place, name in enumerate(X86_64_CALLS)
    ]

    with pytest.raises(HostError, match="too long"):
        compile_config(profile(*rules, architectures=ALL), "x86_64")


class Oracle(Libseccomp):
    """libseccomp given a profile as runc and crun give it one."""

    def __init__(self) -> None:
        super().__init__()
        self.lib.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
        self.lib.seccomp_arch_resolve_name.argtypes = [ctypes.c_char_p]
        self.lib.seccomp_arch_resolve_name.restype = ctypes.c_uint32
        self.lib.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]

    def program(self, config: Seccomp) -> bytes | None:
        """Return its program, or None where it finds a contradiction."""
        default = code(config.default_action, config.default_errno)
        context = self.lib.seccomp_init(ctypes.c_uint32(default))
        try:
            for name in config.architectures:
                token = self.lib.seccomp_arch_resolve_name(name[10:].lower().encode())
                self.lib.seccomp_arch_add(context, token)
            for each in config.rules:
                action = code(each.action, each.errno)
                if action == default:
                    continue
                alone = len({a.index for a in each.args}) < len(each.args)
                for name in each.names:
                    for args in [[a] for a in each.args] if alone else [each.args]:
                        done = self.add(context, action, name, list(args))
                        if done == -errno.EEXIST:
                            return None
                        assert done == 0, (name, done)
            with tempfile.TemporaryFile() as file:
                assert self.lib.seccomp_export_bpf(context, file.fileno()) == 0
                file.seek(0)
                return file.read()
        finally:
            self.lib.seccomp_release(context)

    def add(self, context: int, action: int, name: str, args: list[SeccompArgument]) -> int:
        rows = (self.Comparison * len(args))(
            *(
                self.Comparison(a.index, OPERATORS.index(a.op[9:]) + 1, a.value, a.value_two)
                for a in args
            )
        )
        number = self.lib.seccomp_syscall_resolve_name(name.encode())
        return int(
            self.lib.seccomp_rule_add_array(context, action, number, len(rows), ctypes.byref(rows))
        )


def code(action: str, number: int | None) -> int:
    word = ACTIONS[action]
    return word | (1 if number is None else number) if word in (ERRNO, TRACE) else word


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    if os.uname().machine != "x86_64":
        pytest.skip("compares programs of x86_64")
    try:
        return Oracle()
    except OSError:
        pytest.skip("libseccomp.so.2 is not installed")


EDGES = [0, 1, 2, 38, 40, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, 5 << 32]
EDGES += [(1 << 64) - 1, (1 << 63) + 7]
CHOICES = ["ALLOW", "NOTIFY", "ERRNO", "TRAP", "LOG", "KILL_PROCESS", "TRACE", "KILL"]
OPERATORS = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]
THROUGH = {"socketcall", "ipc"}


def random_profile(chance: random.Random, names: list[str]) -> tuple[Seccomp, list[str]]:
    """Return a profile, and the names that have rules with conditions.

    libseccomp, 2.5.4 as well as 2.6.1, mixes up rules with tests of order or inequality when
    they are about one argument of a call: `a <= 0x7fffffff` beside `a > 0x100000000` catches
    0x80000000. So an argument with such a test is in one rule only; the model does the rest.
    """
    rules: list[SeccompRule] = []
    conditional = chance.sample(names, 14)
    for name in conditional:
        action = chance.choice(CHOICES)
        taken: set[int] = set()
        used: set[int] = set()
        for _ in range(chance.randint(1, 4)):
            args: list[tuple[int, str, int, int]] = []
            for index in chance.sample(range(6), chance.randint(1, 3)):
                if index in taken:
                    continue
                operator = chance.choice(OPERATORS if index not in used else ["EQ", "MASKED_EQ"])
                (used if operator in ("EQ", "MASKED_EQ") else taken).add(index)
                args.append((index, operator, chance.choice(EDGES), chance.choice(EDGES)))
            if args:
                choice = action if chance.random() < 0.5 else chance.choice(CHOICES)
                number = chance.choice([None, 0, 7]) if choice in ("ERRNO", "TRACE") else None
                rules.append(rule(name, choice, *args, number=number))
    plain = [name for name in chance.sample(names, 120) if name not in conditional[2:]]
    rules += [
        rule(" ".join(plain[start : start + 40]), chance.choice(CHOICES))
        for start in range(0, len(plain), 40)
    ]
    chance.shuffle(rules)
    listed = tuple(name for name in ALL if chance.random() < 0.7)
    default = chance.choice(["ALLOW", "ERRNO", "KILL", "LOG", "TRAP", "ERRNO"])
    config = profile(*rules, default=default, architectures=listed)
    return replace(config, listener_path="/run/agent"), conditional


def passes(config: Seccomp, name: str, args: list[int], bits: int) -> bool:
    """Tell whether a rule for `name` holds, by the words of the specification."""
    word = (1 << bits) - 1
    for each in config.rules:
        tests = [
            holds(
                Condition(
                    a.index,
                    Operator[a.op[9:]],
                    a.value & word,
                    a.value & a.value_two & word if a.op.endswith("MASKED_EQ") else 0,
                ),
                args[a.index] & word,
            )
            for a in each.args
        ]
        enough = any if len({a.index for a in each.args}) < len(tests) else all
        if name in each.names and (not tests or enough(tests)):
            return True
    return False


@pytest.mark.parametrize("seed", range(20))
def test_random_rules_mean_what_they_say(seed: int) -> None:
    chance = random.Random(seed)
    names = sorted({*X86_64_CALLS} & {*I386_CALLS} - {*oci_seccomp.MULTIPLEXED})
    conditional = chance.sample(names, 12)
    rules = [
        rule(
            name,
            "ALLOW",
            *(
                (
                    chance.randrange(6),
                    chance.choice(OPERATORS),
                    chance.choice(EDGES),
                    chance.choice(EDGES),
                )
                for _ in range(chance.randint(1, 4))
            ),
        )
        for name in conditional * 3
    ]
    plain = chance.sample(names, 100)
    rules.append(rule(" ".join(plain), "ALLOW"))
    config = profile(*rules, default="TRAP", architectures=ALL)
    program = compile_config(config, "x86_64").program
    named = {*conditional, *plain}

    for architecture, table in TABLES.items():
        newest = max(table[name] for name in named if name in table)
        for name in [name for name in (*conditional * 15, *names) if name in table]:
            args = chance.choices(EDGES, k=6)
            bits = 32 if architecture == "SCMP_ARCH_X86" else 64
            expected = ALLOW if passes(config, name, args, bits) else TRAP
            if table[name] > newest:
                expected = ENOSYS
            got = answer(program, PLACES[architecture], table[name], *args)
            assert got == expected, (architecture, name, args)


@pytest.mark.parametrize("seed", range(300))
def test_libseccomp_gives_the_same_answers(oracle: Oracle, seed: int) -> None:
    chance = random.Random(seed)
    names = [
        name
        for name in sorted({*X86_64_CALLS, *I386_CALLS} - {"write"})
        if oracle.number("x86_64", name) != -1 and name not in THROUGH
    ]
    config, conditional = random_profile(chance, names)
    theirs = oracle.program(config)
    try:
        ours = compile_config(config, "x86_64").program
    except SeccompProfileError:
        assert theirs is None
        return
    if theirs is None:
        return
    default = code(config.default_action, config.default_errno)
    named = {name for each in config.rules for name in each.names}

    for architecture, table in TABLES.items():
        known = [number for name, number in table.items() if name in named]
        newest = max(known, default=0)
        listed = architecture in (*config.architectures, "SCMP_ARCH_X86_64")
        asked = [name for name in (*conditional * 4, *sorted(THROUGH) * 8) if name in table]
        for name in [*asked, *chance.sample(list(table), 25)]:
            args = [chance.choice(EDGES) for _ in range(6)]
            if name in THROUGH:
                args[0] = chance.randrange(30)
            number = table[name]
            # libseccomp has it that arguments of x32 are words of 32 bits; they are not.
            same = architecture == "SCMP_ARCH_X32" and listed
            theirs_number = X86_64_CALLS[name] if same else number
            expected = answer(theirs, PLACES[architecture], theirs_number, *args)
            if number > newest and listed and newest and default not in (ALLOW, LOG):
                expected = ENOSYS  # runc's addition
            assert answer(ours, PLACES[architecture], number, *args) == expected, (
                architecture, name, [hex(value) for value in args],
            )  # fmt: skip


def child(program: str, config: Seccomp, *fds: int) -> subprocess.CompletedProcess[str]:
    """Run Python text in a process that has the compiled filter as `compiled`."""
    compiled = compile_config(config, os.uname().machine)
    head = (
        "import ctypes, os, signal\n"
        "from buildkit_py.runtime.kernel import processes, seccomp\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def ask(*args): return ctypes.get_errno() if libc.syscall(*args) < 0 else 0\n"
        f"flags, program = {compiled.flags}, {compiled.program!r}\n"
        "processes.set_no_new_privileges()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", head + program],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        capture_output=True,
        text=True,
        pass_fds=fds,
        timeout=60,
    )


MKDIR = X86_64_CALLS["mkdir"]
only_x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")


@only_x86_64
@pytest.mark.kernel("seccomp")
def test_the_kernel_does_what_the_profile_says() -> None:
    config = profile(
        rule("getppid", "ERRNO", number=42), rule("dup", "ERRNO", (0, "GT", 100, 0), number=43),
        default="ALLOW",
    )  # fmt: skip
    flags = ("SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG")

    done = child(
        "print(seccomp.load(program, flags), ask(110), ask(32, 1), ask(32, 101))",
        replace(config, flags=flags),
    )

    assert done.stdout.split() == ["-1", "42", "0", "43"], done.stderr


@only_x86_64
@pytest.mark.kernel("seccomp")
@pytest.mark.parametrize("action", ["KILL", "KILL_PROCESS", "TRAP"])
def test_a_forbidden_call_ends_the_process(action: str) -> None:
    done = child(
        "seccomp.load(program, flags); ask(110)", profile(rule("getppid", action), default="ALLOW")
    )

    assert done.returncode == -31, done.stderr


@only_x86_64
@pytest.mark.kernel("seccomp")
def test_x32_is_no_way_around_the_kernels_filter() -> None:
    done = child("seccomp.load(program, flags); ask(0x40000000 | 39)", profile(default="ALLOW"))

    assert done.returncode == -31, done.stderr


def test_a_filter_that_the_kernel_refuses_is_named() -> None:
    done = child(
        "try: seccomp.load(bytes(8), 0)\nexcept seccomp.KernelError as error: print(error.message)",
        profile(default="ALLOW"),
    )

    assert done.stdout == "seccomp `filter`: Invalid argument\n", done.stderr


NOTIFIED = """
import socket
channel = socket.socket(fileno=CHANNEL)
listener = seccomp.load(program, flags)
socket.send_fds(channel, [b'-'], [listener])
print(ask(83, b'/x', 0))
"""
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101


def answer_one(server: socket.socket, number: int) -> tuple[dict[str, object], bytes, int]:
    """Be an agent: take a listener, answer one call with an error, return what was heard."""
    with server.accept()[0] as peer:
        state, (listener,), _, _ = socket.recv_fds(peer, 1 << 20, 4)
        rest = peer.recv(1)
    request = bytearray(80)
    fcntl.ioctl(listener, NOTIF_RECV, request)
    (identity,) = struct.unpack_from("=Q", request)
    (call,) = struct.unpack_from("=i", request, 16)
    fcntl.ioctl(listener, NOTIF_SEND, struct.pack("=QqiI", identity, 0, -number, 0))
    os.close(listener)
    return json.loads(state), rest, call


@only_x86_64
@pytest.mark.kernel("seccomp")
def test_the_agent_answers_for_the_kernel(tmp_path: Path) -> None:
    path = str(tmp_path / "agent")
    config = replace(profile(rule("mkdir", "NOTIFY"), default="ALLOW"), listener_path=path)
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(socket.AF_UNIX) as server, ThreadPoolExecutor() as pool:
        server.bind(path)
        server.listen()
        server.settimeout(30)
        ours.settimeout(30)
        heard = pool.submit(answer_one, server, 77)
        program = NOTIFIED.replace("CHANNEL", str(theirs.fileno()))
        done = pool.submit(child, program, config, theirs.fileno())
        _, (listener,), _, _ = socket.recv_fds(ours, 1, 1)
        state = notify.process_state("1.3.0", 7, {"id": "box", "status": "creating"}, "hello")
        notify.send_listener(path, state, listener)
        os.close(listener)

    assert done.result().stdout == "77\n", done.result().stderr
    assert heard.result() == (
        {
            "ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": 7, "metadata": "hello",
            "state": {"id": "box", "status": "creating"},
        },
        b"",
        MKDIR,
    )  # fmt: skip


def test_an_agent_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "agent"

    with pytest.raises(notify.ListenerError, match=f"`{path}`: No such file or directory"):
        notify.send_listener(str(path), b"{}", 0)
    with pytest.raises(notify.ListenerError, match="too long"):
        notify.send_listener(str(path) * 9, b"{}", 0)
