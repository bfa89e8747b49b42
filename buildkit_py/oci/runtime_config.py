"""`config.json` of an OCI bundle as typed data; opencontainers/runtime-spec 1.3, for Linux.

`runtime_config_reader.py` makes these from JSON and checks all that can be checked without the
machine. Names are the specification's in our spelling; what a bundle leaves out is None where
that means something else than the zero value. Sizes are bytes, times microseconds unless said.
"""

from __future__ import annotations

from buildkit_py.core.data import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Five sets of names without `CAP_`; names that we do not know stay, and are warned of.

    What was written without `CAP_` is in small letters here: unknown, as to runc.
    """

    bounding: frozenset[str] = frozenset()
    effective: frozenset[str] = frozenset()
    permitted: frozenset[str] = frozenset()
    inheritable: frozenset[str] = frozenset()
    ambient: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Scheduler:
    """policy: `SCHED_OTHER` and the like; flags: `SCHED_FLAG_RESET_ON_FORK`, ...; nanoseconds"""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


@dataclass(frozen=True, slots=True)
class IoPriority:
    """cls: IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE; priority: 0 to 7"""

    cls: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class User:
    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Process:
    """rlimits: (`nofile`, soft, hard) with RLIM_INFINITY as -1; capabilities: None is not said"""

    args: tuple[str, ...]
    cwd: str
    env: tuple[str, ...] = ()
    user: User = field(default_factory=User)
    terminal: bool = False
    console_size: tuple[int, int] = (0, 0)
    """Rows and columns."""
    capabilities: Capabilities | None = None
    rlimits: tuple[tuple[str, int, int], ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    apparmor_profile: str = ""
    selinux_label: str = ""
    scheduler: Scheduler | None = None
    io_priority: IoPriority | None = None
    affinity_initial: tuple[int, ...] = ()
    affinity_final: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class IdMapping:
    container: int
    host: int
    size: int


@dataclass(frozen=True, slots=True)
class Mount:
    """uid_mappings, gid_mappings: of an idmapped mount"""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()


@dataclass(frozen=True, slots=True)
class Hook:
    """timeout_seconds: None waits for ever; env: all of the hook's environment"""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Hooks:
    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


@dataclass(frozen=True, slots=True)
class Namespace:
    """path: "" makes a new one"""

    type: Literal["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]
    path: str = ""


@dataclass(frozen=True, slots=True)
class TimeOffset:
    seconds: int = 0
    nanoseconds: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """A node to be made. type: `c`, `b`, `p` or `u`; mode: permission bits"""

    path: str
    type: Literal["c", "b", "p", "u"]
    major: int = 0
    minor: int = 0
    mode: int | None = None
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """type: `a` is all; major, minor: None is all; access: letters of `rwm`"""

    allow: bool
    type: Literal["a", "c", "b"] = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes; -1 is without end, None is not said. swap: memory and swap together."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    kernel_tcp: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool | None = None
    use_hierarchy: bool | None = None
    check_before_update: bool = False


@dataclass(frozen=True, slots=True)
class Cpu:
    """Microseconds; quota -1 is none. cpus, mems: lists such as `0-2,5`, "" is not said."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""
    idle: int | None = None


@dataclass(frozen=True, slots=True)
class WeightDevice:
    major: int
    minor: int
    weight: int | None = None
    leaf_weight: int | None = None


@dataclass(frozen=True, slots=True)
class ThrottleDevice:
    """rate: bytes or operations a second"""

    major: int
    minor: int
    rate: int


@dataclass(frozen=True, slots=True)
class BlockIo:
    weight: int | None = None
    leaf_weight: int | None = None
    weight_devices: tuple[WeightDevice, ...] = ()
    read_bps: tuple[ThrottleDevice, ...] = ()
    write_bps: tuple[ThrottleDevice, ...] = ()
    read_iops: tuple[ThrottleDevice, ...] = ()
    write_iops: tuple[ThrottleDevice, ...] = ()


@dataclass(frozen=True, slots=True)
class Rdma:
    handles: int | None = None
    objects: int | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """pids: -1 is without end, None not said; huge_pages: (`2MB`, bytes)

    priorities: (interface, priority) of net_prio; unified: files of cgroup2, written as they are
    """

    devices: tuple[DeviceRule, ...] = ()
    memory: Memory = field(default_factory=Memory)
    cpu: Cpu = field(default_factory=Cpu)
    pids: int | None = None
    block_io: BlockIo = field(default_factory=BlockIo)
    huge_pages: tuple[tuple[str, int], ...] = ()
    class_id: int | None = None
    priorities: tuple[tuple[str, int], ...] = ()
    rdma: Mapping[str, Rdma] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SeccompArgument:
    """op: `SCMP_CMP_EQ` and the like; value_two: of SCMP_CMP_MASKED_EQ only"""

    index: int
    value: int
    op: str
    value_two: int = 0


@dataclass(frozen=True, slots=True)
class SeccompRule:
    names: tuple[str, ...]
    action: str
    errno: int | None = None
    args: tuple[SeccompArgument, ...] = ()


@dataclass(frozen=True, slots=True)
class Seccomp:
    """Names of actions, architectures and flags are the specification's: `SCMP_ACT_ERRNO`, ..."""

    default_action: str
    default_errno: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] | None = None
    """None is not said, which is not the same as none."""
    listener_path: str = ""
    listener_metadata: str = ""
    rules: tuple[SeccompRule, ...] = ()


@dataclass(frozen=True, slots=True)
class IntelRdt:
    closid: str = ""
    schemata: tuple[str, ...] = ()
    l3_cache_schema: str = ""
    mem_bw_schema: str = ""
    enable_monitoring: bool = False


@dataclass(frozen=True, slots=True)
class MemoryPolicy:
    """mode: `MPOL_BIND` and the like; nodes: a list such as `0-3`"""

    mode: str
    nodes: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Linux:
    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    time_offsets: Mapping[str, TimeOffset] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    net_devices: Mapping[str, str] = field(default_factory=dict)
    """Names on the host to names inside, "" keeps the name."""
    cgroups_path: str = ""
    resources: Resources = field(default_factory=Resources)
    intel_rdt: IntelRdt | None = None
    memory_policy: MemoryPolicy | None = None
    sysctl: Mapping[str, str] = field(default_factory=dict)
    seccomp: Seccomp | None = None
    rootfs_propagation: str = ""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    personality: str = ""
    """`LINUX` or `LINUX32`."""

    def namespace(self, type: str) -> Namespace | None:
        """Return the namespace of a type that the container has for itself, or joins."""
        return next((each for each in self.namespaces if each.type == type), None)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole `config.json`. root_path: as written, relative to the bundle or absolute

    process: None for a container that is created and never started
    data: the JSON as it was read, for hooks' and others' eyes
    """

    oci_version: str
    root_path: str
    root_readonly: bool = False
    process: Process | None = None
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    hooks: Hooks = field(default_factory=Hooks)
    annotations: Mapping[str, str] = field(default_factory=dict)
    linux: Linux = field(default_factory=Linux)
    data: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
