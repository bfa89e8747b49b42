"""Reading and checking `config.json`: all that can be told without touching the machine.

opencontainers/runtime-spec 1.3, config.md; the part for Linux is in runtime_config_linux.py. Where
the text is silent, what runc and crun refuse is refused here, and earlier: before a namespace is
made. Every fault is told of, with the path to it.
"""

from __future__ import annotations

from buildkit_py.oci.runtime_config import (
    Capabilities,
    Config,
    Hook,
    Hooks,
    IoPriority,
    Linux,
    Mount,
    Process,
    Resources,
    Scheduler,
    User,
)
from buildkit_py.oci.runtime_config_linux import id_mappings, linux_of
from buildkit_py.oci.runtime_config_numbers import number_list
from buildkit_py.oci.runtime_config_resources import resources_of
from buildkit_py.oci.runtime_config_section import (
    INT32,
    UINT16,
    UINT32,
    UINT64,
    BadConfig,
    Section,
    finish,
    parse,
    quoted,
    top,
)

__all__ = ["BadConfig", "config_of", "process_of", "read", "read_process", "read_resources"]

RLIMITS = tuple(
    f"RLIMIT_{name}"
    for name in """AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NICE NOFILE NPROC RSS RTPRIO
    RTTIME SIGPENDING STACK""".split()
)
POLICIES = tuple(f"SCHED_{name}" for name in "OTHER FIFO RR BATCH ISO IDLE DEADLINE".split())
SCHEDULER_FLAGS = tuple(
    f"SCHED_FLAG_{name}"
    for name in """RESET_ON_FORK RECLAIM DL_OVERRUN KEEP_POLICY KEEP_PARAMS UTIL_CLAMP_MIN
    UTIL_CLAMP_MAX""".split()
)
IO_CLASSES = ("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")
MOST_NAME_BYTES = 64
"""Of a host name, as sethostname(2) has it."""
LEAST_DEADLINE = 1024
"""Nanoseconds; sched(7)."""


def read(data: bytes | str, *, name: str = "config.json") -> Config:
    """Read a container's configuration; raise BadConfig for one that breaks the specification.

    name: what messages call the file
    Cost for what docker writes: 0.7 ms, or 3 ms when it is the first read (measured).
    """
    return config_of(parse(data, name), name=name)


def read_process(data: bytes, *, name: str = "process.json") -> Process:
    """Read the process of `exec --process`; raise BadConfig as `read` does."""
    section = top(parse(data, name), name)
    process = process_of(section)
    finish(name, section.faults)
    return process


def read_resources(data: bytes, *, name: str = "resources.json") -> Resources:
    """Read the limits of `update --resources`; raise BadConfig as `read` does."""
    section = top(parse(data, name), name)
    resources = resources_of(section)
    finish(name, section.faults)
    return resources


def config_of(value: object, *, name: str = "config.json") -> Config:
    """Check a configuration that is JSON already read; raise BadConfig as `read` does."""
    section = top(value, name)
    version = section.text("ociVersion", required=True)
    if version and (complaint := version_fault(version)):
        section.fault("ociVersion", complaint)
    root = section.section("root", required=True)
    root_path = root.text("path", required=True) if root else ""
    root_readonly = bool(root.flag("readonly")) if root else False
    part = section.section("process")
    process = process_of(part) if part else None
    part = section.section("linux")
    linux = linux_of(part) if part else Linux()
    # Where the list of namespaces is itself at fault, what needs one is not judged.
    own = {each.type for each in linux.namespaces}
    known = not any(fault.startswith("linux.namespaces") for fault in section.faults)
    has_names = not known or "uts" in own
    config = Config(
        oci_version=version,
        root_path=root_path,
        root_readonly=root_readonly,
        process=process,
        hostname=host_name(section, "hostname", linux, has_own=has_names),
        domainname=host_name(section, "domainname", linux, has_own=has_names),
        mounts=tuple(
            mount_of(each, has_mappings=not known or "user" in own)
            for each in section.sections("mounts")
        ),
        hooks=hooks_of(section.part("hooks")),
        annotations=section.named_texts("annotations"),
        linux=linux,
        data=section.value,
    )
    finish(name, section.faults)
    return config


def version_fault(version: str) -> str:
    """Return why we do not take a version of the specification; "" when we do."""
    numbers, _, build = version.partition("+")
    numbers, dash, suffix = numbers.partition("-")
    parts = numbers.split(".")
    words = [*(suffix.split(".") if dash else ()), *(build.split(".") if "+" in version else ())]
    if (
        len(parts) != 3
        or not all(is_number(each) for each in parts)
        or not all(each.isascii() and each.replace("-", "a").isalnum() for each in words)
    ):
        return f"{quoted(version)} is not a version such as `1.3.0`"
    if parts[0] != "1":
        return f"{quoted(version)} is not a version that we know; we know 1.x"
    return ""


def is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


def host_name(section: Section, key: str, linux: Linux, *, has_own: bool) -> str:
    """Read `hostname` or `domainname`, which a sysctl may say, too, if it says the same."""
    name = section.text(key)
    if name and not has_own:
        section.fault(key, "needs a uts namespace")
    if len(name.encode()) > MOST_NAME_BYTES:
        section.fault(key, f"must be of {MOST_NAME_BYTES} bytes at the most")
        return name
    for parameter in (f"kernel.{key}", f"kernel/{key}"):
        if name and linux.sysctl.get(parameter, name) != name:
            section.fault(key, f"{quoted(name)} is not what `linux.sysctl` has for `{parameter}`")
    return name


def process_of(section: Section) -> Process:
    """Read a process; faults stay with the section."""
    args = section.texts("args")
    if not args and not section.value.get("args"):
        section.fault("args", "is missing" if section.value.get("args") is None else "is empty")
    affinity = section.part("execCPUAffinity")
    return Process(
        args=args,
        cwd=section.absolute("cwd", required=True),
        env=environment(section),
        user=user_of(section.part("user")),
        terminal=bool(section.flag("terminal")),
        console_size=console_size(section),
        capabilities=capabilities(section),
        rlimits=rlimits(section),
        no_new_privileges=bool(section.flag("noNewPrivileges")),
        oom_score_adj=section.number("oomScoreAdj", -1000, 1000),
        apparmor_profile=section.text("apparmorProfile"),
        selinux_label=section.text("selinuxLabel"),
        scheduler=scheduler(section),
        io_priority=io_priority(section),
        affinity_initial=number_list(affinity, "initial"),
        affinity_final=number_list(affinity, "final"),
    )


def environment(section: Section) -> tuple[str, ...]:
    variables = section.texts("env")
    for where, variable in section.placed("env", variables):
        if variable.find("=") < 1:
            section.fault(where, f"{quoted(variable)} is not `NAME=VALUE`")
    return variables


def user_of(section: Section) -> User:
    groups = [
        section.integer(f"additionalGids[{number}]", each, 0, UINT32)
        for number, each in enumerate(section.entries("additionalGids"))
    ]
    return User(
        uid=section.number("uid", 0, UINT32) or 0,
        gid=section.number("gid", 0, UINT32) or 0,
        umask=section.number("umask", 0, 0o777),
        additional_gids=tuple(each for each in groups if each is not None),
    )


def console_size(section: Section) -> tuple[int, int]:
    size = section.section("consoleSize")
    if size is None:
        return 0, 0
    # Of 16 bits: struct winsize, ioctl_tty(2).
    height = size.number("height", 0, UINT16, required=True)
    width = size.number("width", 0, UINT16, required=True)
    return height or 0, width or 0


def capabilities(section: Section) -> Capabilities | None:
    part = section.section("capabilities")
    if part is None:
        return None
    return Capabilities(
        bounding=capability_set(part, "bounding"),
        effective=capability_set(part, "effective"),
        permitted=capability_set(part, "permitted"),
        inheritable=capability_set(part, "inheritable"),
        ambient=capability_set(part, "ambient"),
    )


def capability_set(section: Section, key: str) -> frozenset[str]:
    # What is none is a warning, by the specification: of whoever knows what there is.
    names = section.texts(key)
    return frozenset(n[4:] if n.startswith("CAP_") and n[4:] else n.lower() for n in names)


def rlimits(section: Section) -> tuple[tuple[str, int, int], ...]:
    found: dict[str, tuple[str, int, int]] = {}
    for each in section.sections("rlimits"):
        name = each.one_of("type", RLIMITS, "a limit", required=True)
        soft = each.number("soft", 0, UINT64, required=True)
        hard = each.number("hard", 0, UINT64, required=True)
        if name in found:
            each.fault("type", f"`{name}` is there twice")
        if soft is None or hard is None or name not in RLIMITS:
            continue
        if soft > hard:
            each.fault("soft", f"{soft} is more than `hard`: {hard}")
        found[name] = name[7:].lower(), unlimited(soft), unlimited(hard)
    return tuple(found.values())


def unlimited(limit: int) -> int:
    """Return -1 for RLIM_INFINITY."""
    return -1 if limit == UINT64 else limit


def scheduler(section: Section) -> Scheduler | None:
    """Read a policy; sched_setattr(2) says what goes with which."""
    part = section.section("scheduler")
    if part is None:
        return None
    policy = part.one_of("policy", POLICIES, "a policy", required=True)
    made = Scheduler(
        policy,
        nice=part.number("nice", -INT32 - 1, INT32) or 0,
        priority=part.number("priority", -INT32 - 1, INT32) or 0,
        flags=part.words("flags", SCHEDULER_FLAGS, "a flag"),
        runtime=part.number("runtime", 0, UINT64) or 0,
        deadline=part.number("deadline", 0, UINT64) or 0,
        period=part.number("period", 0, UINT64) or 0,
    )
    if policy not in POLICIES:
        return made
    if policy in ("SCHED_OTHER", "SCHED_BATCH") and not -20 <= made.nice <= 19:
        part.fault("nice", f"must be from -20 to 19, not {made.nice}")
    if policy in ("SCHED_FIFO", "SCHED_RR"):
        if not 1 <= made.priority <= 99:
            part.fault("priority", f"of `{policy}` must be from 1 to 99, not {made.priority}")
    elif made.priority:
        part.fault("priority", f"is for `SCHED_FIFO` and `SCHED_RR`, not for `{policy}`")
    if policy == "SCHED_DEADLINE":
        check_deadline(part, made)
    else:
        for key in ("runtime", "deadline", "period"):
            if part.value.get(key):
                part.fault(key, f"is for `SCHED_DEADLINE`, not for `{policy}`")
    return made


def check_deadline(section: Section, made: Scheduler) -> None:
    for key, value in (("runtime", made.runtime), ("deadline", made.deadline)):
        if not LEAST_DEADLINE <= value < 1 << 63:
            section.fault(key, f"must be from {LEAST_DEADLINE} to {(1 << 63) - 1}, not {value}")
    if made.runtime > made.deadline:
        section.fault("runtime", f"{made.runtime} is more than `deadline`: {made.deadline}")
    # Without a period, the deadline is one.
    if made.period and made.deadline > made.period:
        section.fault("deadline", f"{made.deadline} is more than `period`: {made.period}")


def io_priority(section: Section) -> IoPriority | None:
    part = section.section("ioPriority")
    if part is None:
        return None
    cls = part.one_of("class", IO_CLASSES, "a class", required=True)
    return IoPriority(cls, part.number("priority", 0, 7) or 0)


def mount_of(section: Section, *, has_mappings: bool) -> Mount:
    """Read a mount. has_mappings: whether the container has a user namespace to take them from"""
    destination = section.text("destination", required=True)
    uids, gids = id_mappings(section, "uidMappings"), id_mappings(section, "gidMappings")
    options = section.texts("options")
    for ours, other in (("uidMappings", "gidMappings"), ("gidMappings", "uidMappings")):
        if section.value.get(ours) and not section.value.get(other):
            section.fault(ours, f"needs `{other}`")
    if not has_mappings and not section.value.get("uidMappings"):
        for number, option in enumerate(options):
            if option in ("idmap", "ridmap") and not section.value.get("gidMappings"):
                section.fault(
                    f"options[{number}]", f"`{option}` needs `uidMappings` or a user namespace"
                )
    return Mount(
        destination=destination if destination.startswith("/") else "/" + destination,
        type=section.text("type"),
        source=section.text("source"),
        options=options,
        uid_mappings=uids,
        gid_mappings=gids,
    )


def hooks_of(section: Section) -> Hooks:
    return Hooks(
        prestart=hook_list(section, "prestart"),
        create_runtime=hook_list(section, "createRuntime"),
        create_container=hook_list(section, "createContainer"),
        start_container=hook_list(section, "startContainer"),
        poststart=hook_list(section, "poststart"),
        poststop=hook_list(section, "poststop"),
    )


def hook_list(section: Section, key: str) -> tuple[Hook, ...]:
    return tuple(
        Hook(
            path=each.absolute("path", required=True),
            args=each.texts("args"),
            env=environment(each),
            timeout_seconds=each.number("timeout", 1, INT32),
        )
        for each in section.sections(key)
    )
