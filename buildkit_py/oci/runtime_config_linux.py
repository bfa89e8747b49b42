"""Reading the `linux` section of `config.json`: runtime-spec config-linux.md.

What is said must fit together: a sysctl, a network device, an offset of clocks or a mapping of
ids is refused where the container has no namespace of its own that would hold it, as it would
otherwise change the machine.
"""

from __future__ import annotations

from buildkit_py.oci.runtime_config import (
    NAMESPACES,
    Device,
    IdMapping,
    IntelRdt,
    Linux,
    MemoryPolicy,
    Namespace,
    Resources,
    TimeOffset,
)
from buildkit_py.oci.runtime_config_numbers import checked_list
from buildkit_py.oci.runtime_config_resources import resources_of
from buildkit_py.oci.runtime_config_seccomp import seccomp_of
from buildkit_py.oci.runtime_config_section import INT64, UINT32, Section, join, named, quoted

DEVICE_TYPES = ("c", "b", "u", "p")
CLOCKS = ("monotonic", "boottime")
PROPAGATIONS = (
    *("shared", "slave", "private", "unbindable"),
    *("rshared", "rslave", "rprivate", "runbindable"),
)
PERSONALITIES = ("LINUX", "LINUX32")
MODES = tuple(
    f"MPOL_{name}"
    for name in """DEFAULT BIND INTERLEAVE WEIGHTED_INTERLEAVE PREFERRED PREFERRED_MANY
    LOCAL""".split()
)
MODE_FLAGS = tuple(
    f"MPOL_F_{name}" for name in "NUMA_BALANCING RELATIVE_NODES STATIC_NODES".split()
)
IPC_SYSCTLS = tuple(
    f"kernel.{name}"
    for name in "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced".split()
)
MOST_MAPPINGS = 340
"""Lines that /proc/PID/uid_map takes; user_namespaces(7)."""
MOST_INTERFACE_BYTES = 15
MOST_MAJOR = (1 << 12) - 1
MOST_MINOR = (1 << 20) - 1


def linux_of(section: Section) -> Linux:
    """Read the section; faults stay with it."""
    before = len(section.faults)
    namespaces = namespace_list(section)
    # Where the list is itself at fault, what needs one of them is not judged.
    own: set[str] = {each.type for each in namespaces}
    if len(section.faults) > before:
        own = set(NAMESPACES)
    for key, needed in (
        ("uidMappings", "user"),
        ("gidMappings", "user"),
        ("timeOffsets", "time"),
        ("netDevices", "network"),
        ("maskedPaths", "mount"),
        ("readonlyPaths", "mount"),
    ):
        if section.value.get(key) and needed not in own:
            section.fault(key, f"needs a {needed} namespace")
    resources = section.section("resources")
    seccomp = section.section("seccomp")
    return Linux(
        namespaces=namespaces,
        uid_mappings=id_mappings(section, "uidMappings"),
        gid_mappings=id_mappings(section, "gidMappings"),
        time_offsets=time_offsets(section, namespaces),
        devices=tuple(device(each) for each in section.sections("devices")),
        net_devices=net_devices(section),
        cgroups_path=cgroups_path(section),
        resources=resources_of(resources) if resources else Resources(),
        intel_rdt=intel_rdt(section),
        memory_policy=memory_policy(section),
        sysctl=sysctls(section, own),
        seccomp=seccomp_of(seccomp) if seccomp else None,
        rootfs_propagation=section.one_of("rootfsPropagation", PROPAGATIONS, "a propagation"),
        masked_paths=section.absolutes("maskedPaths"),
        readonly_paths=section.absolutes("readonlyPaths"),
        mount_label=section.text("mountLabel"),
        personality=personality(section),
    )


def namespace_list(section: Section) -> tuple[Namespace, ...]:
    found: dict[str, Namespace] = {}
    for each in section.sections("namespaces"):
        kind = each.one_of("type", NAMESPACES, "a namespace", required=True)
        path = each.absolute("path")
        if kind in found:
            each.fault("type", f"`{kind}` is there twice")
        elif kind in NAMESPACES:
            found[kind] = Namespace(kind, path)
    return tuple(found.values())


def id_mappings(section: Section, key: str) -> tuple[IdMapping, ...]:
    """Read mappings of ids, as user_namespaces(7) wants them."""
    parts = section.sections(key)
    if len(parts) > MOST_MAPPINGS:
        section.fault(key, f"has {len(parts)} mappings; a kernel takes {MOST_MAPPINGS}")
        return ()
    found = []
    for part in parts:
        container = part.number("containerID", 0, UINT32, required=True)
        host = part.number("hostID", 0, UINT32, required=True)
        size = part.number("size", 1, UINT32, required=True)
        if container is None or host is None or size is None:
            continue
        for name, first in (("containerID", container), ("hostID", host)):
            if first + size > UINT32:
                part.fault(name, f"{first} and `size`, {size}, lead beyond {UINT32}")
        found.append(IdMapping(container, host, size))
    for name, starts in (
        ("containerID", [(each.container, each.size) for each in found]),
        ("hostID", [(each.host, each.size) for each in found]),
    ):
        end = 0
        for first, size in sorted(starts):
            if first < end:
                section.fault(key, f"map {first} twice by `{name}`")
                break
            end = first + size
    return tuple(found)


def time_offsets(section: Section, namespaces: tuple[Namespace, ...]) -> dict[str, TimeOffset]:
    found = {}
    for clock, part in section.named_sections("timeOffsets").items():
        if clock not in CLOCKS:
            part.fault("", f"is not a clock; one of {', '.join(CLOCKS)}")
        found[clock] = TimeOffset(
            part.number("secs", -INT64 - 1, INT64) or 0,
            part.number("nanosecs", 0, 999_999_999) or 0,
        )
    if found and any(each.type == "time" and each.path for each in namespaces):
        # Offsets can be set only before a process is in it; time_namespaces(7).
        section.fault("timeOffsets", "cannot be set in a time namespace that is joined by its path")
    return found


def device(section: Section) -> Device:
    kind = section.one_of("type", DEVICE_TYPES, "a type of device", required=True)
    numbered = kind in ("c", "b", "u")
    return Device(
        path=section.absolute("path", required=True),
        type=kind,
        major=section.number("major", 0, MOST_MAJOR, required=True) or 0 if numbered else 0,
        minor=section.number("minor", 0, MOST_MINOR, required=True) or 0 if numbered else 0,
        mode=section.number("fileMode", 0, 0o7777),
        uid=section.number("uid", 0, UINT32) or 0,
        gid=section.number("gid", 0, UINT32) or 0,
    )


def net_devices(section: Section) -> dict[str, str]:
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name, part in section.named_sections("netDevices").items():
        inside = part.text("name")
        if not is_interface(name):
            part.fault("", "is not the name of a network device")
        if inside and not is_interface(inside):
            part.fault("name", f"{quoted(inside)} is not the name of a network device")
        elif (inside or name) in taken and "%d" not in inside:
            part.fault("", f"would be a second {quoted(inside or name)}")
        taken.add(inside or name)
        found[name] = inside
    return found


def is_interface(name: str) -> bool:
    """Tell whether Linux takes a name for a network device: net/core/dev.c, dev_valid_name."""
    return (
        0 < len(name.encode()) <= MOST_INTERFACE_BYTES
        and name not in (".", "..")
        and not any(each in "/:" or each.isspace() for each in name)
    )


def cgroups_path(section: Section) -> str:
    path = section.text("cgroupsPath")
    if ".." in path.split("/"):
        section.fault("cgroupsPath", f"{quoted(path)} has a `..`")
    return path


def intel_rdt(section: Section) -> IntelRdt | None:
    part = section.section("intelRdt")
    if part is None:
        return None
    group = part.text("closID")
    if group in (".", "..") or ("/" in group and group != "/"):
        part.fault("closID", f"{quoted(group)} is not the name of a directory")
    bandwidth, cache = part.text("memBwSchema"), part.text("l3CacheSchema")
    if bandwidth and not bandwidth.startswith("MB:"):
        part.fault("memBwSchema", f"{quoted(bandwidth)} does not start with `MB:`")
    lines = part.texts("schemata")
    named_lines = {f"schemata[{number}]": line for number, line in enumerate(lines)}
    for key, line in {"l3CacheSchema": cache, "memBwSchema": bandwidth, **named_lines}.items():
        if "\n" in line:
            part.fault(key, "must be one line")
    return IntelRdt(group, lines, cache, bandwidth, bool(part.flag("enableMonitoring")))


def memory_policy(section: Section) -> MemoryPolicy | None:
    """Read a policy of memory nodes; set_mempolicy(2) says what goes with which."""
    part = section.section("memoryPolicy")
    if part is None:
        return None
    mode = part.one_of("mode", MODES, "a mode", required=True)
    flags = part.words("flags", MODE_FLAGS, "a flag")
    nodes = checked_list(part, "nodes")
    if mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        if nodes:
            part.fault("nodes", f"must not be there with `{mode}`")
    elif mode in MODES and mode != "MPOL_PREFERRED" and not part.value.get("nodes"):
        part.fault("nodes", f"must be there with `{mode}`")
    if "MPOL_F_STATIC_NODES" in flags and "MPOL_F_RELATIVE_NODES" in flags:
        part.fault("flags", "`MPOL_F_STATIC_NODES` and `MPOL_F_RELATIVE_NODES` exclude each other")
    if "MPOL_F_NUMA_BALANCING" in flags and mode not in ("MPOL_BIND", "MPOL_PREFERRED_MANY"):
        part.fault(
            "flags", "`MPOL_F_NUMA_BALANCING` goes with `MPOL_BIND` and `MPOL_PREFERRED_MANY`"
        )
    return MemoryPolicy(mode, nodes, flags)


def personality(section: Section) -> str:
    part = section.section("personality")
    if part is None:
        return ""
    if part.entries("flags"):
        part.fault("flags", "must be empty: no flag is supported")
    domain: str = part.one_of("domain", PERSONALITIES, "a domain", required=True)
    return domain


def sysctls(section: Section, own: set[str]) -> dict[str, str]:
    """Read kernel parameters. own: types of the namespaces that hold them"""
    found = section.named_texts("sysctl")
    for name in found:
        if complaint := sysctl_fault(sysctl_path(name), own):
            section.fault(join("sysctl", named(name)), complaint)
    return found


def sysctl_path(name: str) -> str:
    """Return the path below /proc/sys of a kernel parameter, written with dots or slashes.

    What comes first separates, the other belongs to a name: `net.ipv4.conf.eth0/1.forwarding`
    and `net/ipv4/conf/eth0.1/forwarding` are the same; sysctl.d(5).
    """
    dot, slash = name.find("."), name.find("/")
    if dot < 0 or 0 <= slash < dot:
        return name
    return name.replace("/", "\0").replace(".", "/").replace("\0", ".")


def sysctl_fault(path: str, own: set[str]) -> str:
    """Return why a kernel parameter cannot be set; "" when it can."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "is not the name of a kernel parameter"
    name = ".".join(parts)
    if name in IPC_SYSCTLS or path.startswith("fs/mqueue/"):
        needed = "ipc"
    elif path.startswith("net/"):
        needed = "network"
    elif name in ("kernel.hostname", "kernel.domainname"):
        needed = "uts"
    elif path.startswith("user/"):
        needed = "user"
    else:
        return "is of the whole machine, not of a namespace"
    return "" if needed in own else f"needs a {needed} namespace"
