"""Reading `linux.seccomp`, the filter of system calls: runtime-spec config-linux.md."""

from __future__ import annotations

from buildkit_py.oci.runtime_config import Seccomp, SeccompArgument, SeccompRule
from buildkit_py.oci.runtime_config_section import UINT16, UINT64, Section

ACTIONS = tuple(
    f"SCMP_ACT_{name}"
    for name in "KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY".split()
)
ARCHITECTURES = tuple(
    f"SCMP_ARCH_{name}"
    for name in """X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32
    PPC PPC64 PPC64LE S390 S390X PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB""".split()
)
FLAGS = tuple(
    f"SECCOMP_FILTER_FLAG_{name}" for name in "TSYNC LOG SPEC_ALLOW WAIT_KILLABLE_RECV".split()
)
COMPARISONS = tuple(f"SCMP_CMP_{name}" for name in "NE LT LE EQ GE GT MASKED_EQ".split())
MOST_ERRNO = 4095
"""A system call's result is an error down to its negative."""


def seccomp_of(section: Section) -> Seccomp:
    """Read a filter; faults stay with the section."""
    action = section.one_of("defaultAction", ACTIONS, "an action", required=True)
    if action == "SCMP_ACT_NOTIFY":
        # Nobody could answer for the calls that hand over the listener; runc refuses it, too.
        section.fault("defaultAction", f"`{action}` is for rules only")
    rules = tuple(rule(each) for each in section.sections("syscalls"))
    listener = section.text("listenerPath")
    metadata = section.text("listenerMetadata")
    if not listener and any(each.action == "SCMP_ACT_NOTIFY" for each in rules):
        section.fault("listenerPath", "must be there with `SCMP_ACT_NOTIFY`")
    elif not listener and metadata:
        section.fault("listenerMetadata", "needs `listenerPath`")
    return Seccomp(
        default_action=action,
        default_errno=errno(section, "defaultErrnoRet", action),
        architectures=section.words("architectures", ARCHITECTURES, "an architecture"),
        flags=None
        if section.value.get("flags") is None
        else section.words("flags", FLAGS, "a flag"),
        listener_path=listener,
        listener_metadata=metadata,
        rules=rules,
    )


def rule(section: Section) -> SeccompRule:
    action = section.one_of("action", ACTIONS, "an action", required=True)
    names = section.texts("names")
    if not names and not section.value.get("names"):
        section.fault("names", "is empty" if section.value.get("names") == [] else "is missing")
    if action == "SCMP_ACT_NOTIFY" and "write" in names:
        # The listener is handed over by a write of the process that the filter holds; so in runc.
        section.fault("action", "`SCMP_ACT_NOTIFY` cannot be for `write`")
    return SeccompRule(
        names=names,
        action=action,
        errno=errno(section, "errnoRet", action),
        args=tuple(argument(each) for each in section.sections("args")),
    )


def errno(section: Section, key: str, action: str) -> int | None:
    if section.value.get(key) is not None and action in ACTIONS:
        if action == "SCMP_ACT_TRACE":
            return section.number(key, 0, UINT16)
        if action != "SCMP_ACT_ERRNO":
            section.fault(key, f"is for `SCMP_ACT_ERRNO` and `SCMP_ACT_TRACE`, not for `{action}`")
            return None
    return section.number(key, 0, MOST_ERRNO)


def argument(section: Section) -> SeccompArgument:
    comparison = section.one_of("op", COMPARISONS, "a comparison", required=True)
    second = section.number("valueTwo", 0, UINT64) or 0
    return SeccompArgument(
        index=section.number("index", 0, 5, required=True) or 0,
        value=section.number("value", 0, UINT64, required=True) or 0,
        op=comparison,
        value_two=second if comparison == "SCMP_CMP_MASKED_EQ" else 0,
    )
