"""What a container is, before any system call: the narrow form of the OCI runtime specification.

Plain data, made from an image config and a request; `plan.py` turns it into set-up operations.
Paths named `source`, `lower`, `upper`, `work` are absolute paths of this host; `target` and `cwd`
are paths inside the container and are resolved beneath its root, never followed out.
"""

from __future__ import annotations

from collections.abc import Mapping

from buildkit_py.core.data import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

RLIMITS = (
    "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending"
    " stack"
).split()
"""The names of setrlimit(2), as docker writes them."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Overlay:
    """A root file system made of directories: `lower`, topmost first, may be empty.

    userxattr: required in a user namespace other than the first one
    volatile: no fsync; a crash loses the upper directory, which a build step does not mind
    stubs: existing directory in which containers share mount points; it must outlive them.
        "" makes them beside `work`, for this container alone
    """

    lower: tuple[str, ...]
    upper: str
    work: str
    userxattr: bool = False
    volatile: bool = True
    stubs: str = ""


@dataclass(frozen=True, slots=True)
class Directory:
    """A root file system that is one directory (the copy snapshotter; the first layer)."""

    path: str


@dataclass(frozen=True, slots=True)
class Bind:
    source: str
    target: str
    read_only: bool = True
    recursive: bool = True


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """A file system in memory. size_bytes, inodes: 0 is the kernel's own bound; uid, gid: its owner

    allowed: of `exec`, `suid` and `dev`, what files in it may be
    """

    target: str
    size_bytes: int = 0
    mode: int = 0o1777
    read_only: bool = False
    uid: int = 0
    gid: int = 0
    inodes: int = 0
    allowed: tuple[str, ...] = ("exec",)


MountSpec = Bind | Tmpfs


@dataclass(frozen=True, slots=True)
class Account:
    """Numeric ids of the program; names were looked up before (see users.py)."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/root"


@dataclass(frozen=True, slots=True)
class Interface:
    """The network interface that the child configures in its own namespace, with `lo`.

    gateway: of the default route; "" makes none
    The other end of the pair is plugged by the parent between create and start.
    """

    address: str
    prefix: int
    gateway: str
    name: str = "eth0"
    mtu: int = 1500


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits; 0 means none. cpus: 1.5 is one and a half processors.

    swap_bytes: of memory and swap together, -1 without end
    reservation_bytes: what it keeps, as far as possible, when memory is short
    """

    memory_bytes: int = 0
    swap_bytes: int = 0
    reservation_bytes: int = 0
    cpus: float = 0.0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    pids: int = 0


@dataclass(frozen=True, slots=True)
class Container:
    """Everything about one container.

    network: `private` gives an own namespace (with `interface`, or only `lo`), `host` none
    further_interfaces: of the other networks that it is in
    nameserver: hand out sockets, made inside, that get questions to 127.0.0.11 (nameserver.py)
    env: NAME=value; PATH and HOME are added where missing
    make_cwd: a working directory that is missing is made, root's own
    security: `insecure` gives all capabilities that we have and no seccomp
    files: host-made files bound over the root: {"/etc/hosts": text, ...}; never in a layer
    rlimits: {"nofile": (soft, hard)}; one that may not be raised is a warning
    terminal_size: rows and columns that the terminal has from the start
    stubs: mount points that had to be made are removed from the upper directory afterwards
    init: process 1 is ours: it reaps orphans and hands signals on to the program
    no_new_privileges: no program gains rights by being executed, set-user-ID ones included
    capabilities: names without `CAP_`; None is docker's set
    """

    args: tuple[str, ...]
    root: Overlay | Directory
    env: tuple[str, ...] = ()
    cwd: str = "/"
    make_cwd: bool = False
    account: Account = Account()
    hostname: str = "buildkitsandbox"
    domainname: str = ""
    network: Literal["private", "host"] = "private"
    interface: Interface | None = None
    further_interfaces: tuple[Interface, ...] = ()
    nameserver: bool = False
    mounts: tuple[MountSpec, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    rlimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    shm_bytes: int = 64 << 20
    read_only: bool = False
    terminal: bool = False
    terminal_size: tuple[int, int] = (0, 0)
    security: Literal["sandbox", "insecure"] = "sandbox"
    umask: int = 0o022
    sysctls: Mapping[str, str] = field(default_factory=dict)
    stubs: bool = True
    init: bool = False
    no_new_privileges: bool = False
    capabilities: frozenset[str] | None = None
