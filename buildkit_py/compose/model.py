"""A project as the engine reads it: frozen, typed, in units that need no second look.

Made of a bound project by `typed`. What the engine acts on has an attribute of its own; whatever
else a service, network or volume says is in its `others`, as `shapes` has it, so that no key is
lost and a planner can name what it does not support. Places: `Project.at`.
"""

from __future__ import annotations

from buildkit_py.core.data import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from buildkit_py.core.source import Span

    Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Build:
    """How an image is built; `args`: a value of None is taken from the builder's environment."""

    context: str
    dockerfile: str | None = None
    dockerfile_inline: str | None = None
    target: str | None = None
    args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    others: Data = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the container; `published` is a number, a range `8000-8010`, or None for any."""

    target: int
    published: str | None = None
    protocol: str = "tcp"
    host_ip: str | None = None
    mode: str = "ingress"
    name: str | None = None
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    """Something mounted at `target`. kind: bind, volume, tmpfs, image, cluster, npipe.

    source: a path, a volume's key in the project, an image; None for an anonymous volume
    create_host_path: make a missing directory of a bind mount
    options: the section of its kind (`propagation`, `nocopy`, `size`, …)
    """

    kind: str
    target: str
    source: str | None = None
    read_only: bool = False
    create_host_path: bool = False
    options: Data = field(default_factory=dict)
    others: Data = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Granted:
    """A secret or config that a service gets. mode: permission bits, or None for 0444."""

    source: str
    target: str
    uid: str | None = None
    gid: str | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Membership:
    """How a service is in a network."""

    aliases: tuple[str, ...] = ()
    ipv4_address: str | None = None
    ipv6_address: str | None = None
    mac_address: str | None = None
    priority: int = 0
    others: Data = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dependency:
    """What must be true of another service first.

    condition: service_started, service_healthy, service_completed_successfully
    restart: restart this service when compose restarts the other one
    """

    condition: str = "service_started"
    restart: bool = False
    required: bool = True


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """How to see that a container is well; None means docker's default. Times in nanoseconds."""

    test: tuple[str, ...] = ()
    interval_ns: int | None = None
    timeout_ns: int | None = None
    start_period_ns: int | None = None
    start_interval_ns: int | None = None
    retries: int | None = None
    disable: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What the containers may use at the most; None: no limit. Sizes in bytes.

    `deploy.resources.limits` goes before `cpus`, `mem_limit` and `pids_limit`.
    """

    cpus: float | None = None
    memory_bytes: int | None = None
    memory_reservation_bytes: int | None = None
    memory_swap_bytes: int | None = None
    pids: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """One service. `command`, `entrypoint`: None is the image's, () is none."""

    name: str
    image: str | None = None
    build: Build | None = None
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    expose: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    tmpfs: tuple[str, ...] = ()
    networks: Mapping[str, Membership] = field(default_factory=dict)
    network_mode: str | None = None
    depends_on: Mapping[str, Dependency] = field(default_factory=dict)
    healthcheck: Healthcheck | None = None
    restart: str | None = None
    secrets: tuple[Granted, ...] = ()
    configs: tuple[Granted, ...] = ()
    limits: Limits = Limits()
    user: str | None = None
    working_dir: str | None = None
    hostname: str | None = None
    domainname: str | None = None
    init: bool | None = None
    read_only: bool = False
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    tty: bool = False
    stdin_open: bool = False
    container_name: str | None = None
    stop_signal: str | None = None
    stop_grace_period_ns: int | None = None
    scale: int = 1
    profiles: tuple[str, ...] = ()
    attach: bool = True
    pull_policy: str | None = None
    platform: str | None = None
    others: Data = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Network:
    """A network; `key` is its name in the project, `name` the real one."""

    key: str
    name: str
    driver: str | None = None
    driver_options: Mapping[str, str] = field(default_factory=dict)
    internal: bool = False
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    subnets: tuple[Mapping[str, Any], ...] = ()
    others: Data = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume; `key` is its name in the project, `name` the real one."""

    key: str
    name: str
    driver: str | None = None
    driver_options: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    others: Data = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileObject:
    """A secret or config: from a file, from a text (also one of a variable), or from outside.

    content: the text; of a secret it is never to be printed
    """

    key: str
    name: str
    file: str | None = None
    content: str | None = field(default=None, repr=False)
    environment: str | None = None
    external: bool = False
    others: Data = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Project:
    """A project: what is on, what is off, and what the services share.

    folder: absolute; files: absolute paths of the compose files, or `-`
    place, value_place: give the span of a path of keys, such as ("services", "web", "ports"): that
        of the last key, and that of its value
    """

    name: str
    folder: str
    files: tuple[str, ...]
    services: Mapping[str, Service]
    disabled: Mapping[str, Service]
    networks: Mapping[str, Network]
    volumes: Mapping[str, Volume]
    secrets: Mapping[str, FileObject]
    configs: Mapping[str, FileObject]
    environment: Mapping[str, str] = field(repr=False)
    place: Any = field(repr=False, compare=False)
    value_place: Any = field(repr=False, compare=False)
    others: Data = field(default_factory=dict)

    def at(self, *path: str) -> Span:
        """Return the key of a value, or of the nearest thing above it."""
        found: Span = self.place(*path)
        return found

    def value_at(self, *path: str) -> Span:
        """Return the text of a value."""
        found: Span = self.value_place(*path)
        return found
