"""Containers that last: what is wanted of one, and what is known of it.

    ROOT/containers/ID/spec.json    what it is; written once, by whoever made it
    ROOT/containers/ID/state.json   what became of it; replaced by its supervisor
    ROOT/containers/ID/lock         held by the supervisor while it looks after the container
    ROOT/containers/ID/layer/       its writable layer (see store.snapshots, `Active.keep`)
    ROOT/containers/ID/log.json     what it wrote, a JSON object a line, as docker's json-file
    ROOT/containers/ID/log.json.N   what it wrote before, see engine/logs.py
    ROOT/names/NAME                 a link to ../containers/ID: names are unique in a root

Everybody who may read the directory may look; nobody needs a supervisor for that. A state that
says `running` counts only while the lock is held: a supervisor that was killed took its
containers with it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from typing import Literal

from buildkit_py.core.data import dataclass, field, replace
from buildkit_py.core.errors import HostError, InputError
from buildkit_py.core.files import write_atomically
from buildkit_py.engine import coding
from buildkit_py.engine.log_bounds import LogBounds
from buildkit_py.engine.mounts import VolumeRequest
from buildkit_py.engine.request import PullPolicy
from buildkit_py.oci.image import Healthcheck
from buildkit_py.oci.platform import Platform
from buildkit_py.runtime.network.publish import Port
from buildkit_py.runtime.spec import (
    Account,
    Bind,
    Container,
    Directory,
    Interface,
    Limits,
    Overlay,
    Tmpfs,
)

Status = Literal["created", "running", "restarting", "exited"]
ALIVE = ("running", "restarting")

_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME = _NAME_START | frozenset("_.-")


class UnknownContainer(InputError):
    """No container is meant by what was given."""

    code = "engine/unknown-container"

    def __init__(self, text: str) -> None:
        super().__init__(f"no such container: {text}", hint="`pyengine ps -a` lists them")


class AmbiguousContainer(InputError):
    code = "engine/ambiguous-container"


class CannotStart(HostError):
    """A container's program cannot be run. code_of_program: docker's, 126 or 127."""

    code = "engine/cannot-start"

    def __init__(self, message: str, *, code_of_program: int = 127) -> None:
        super().__init__(message)
        self.code_of_program = code_of_program


class NotRunning(InputError):
    code = "engine/not-running"

    def __init__(self, id: str) -> None:
        super().__init__(f"container {id} is not running")


class ContainerIsRunning(HostError):
    """A container that runs is removed by force only."""

    code = "engine/container-is-running"

    def __init__(self, name: str) -> None:
        super().__init__(
            f'cannot remove container "{name}": container is running: stop the container before'
            " removing or force remove"
        )


class BadName(InputError):
    code = "engine/bad-name"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """name: docker's; most: for `on-failure`, how often at the most, 0 is without end"""

    name: Literal["no", "always", "unless-stopped", "on-failure"] = "no"
    most: int = 0


@dataclass(frozen=True, slots=True)
class NetworkUse:
    """A network that a container is in, and further names that it has there."""

    name: str
    aliases: tuple[str, ...] = ()
    address: str = ""


@dataclass(frozen=True, slots=True)
class FileRequest:
    """A small file that appears in the container: a config, a secret. At `target`, read-only.

    text: bytes, or text with what is not UTF-8 as surrogates (`surrogateescape`)
    """

    target: str
    text: str | bytes
    mode: int = 0o444
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """A container that is wanted, in the words of `docker create` and of a compose service.

    name: "" gives it one of its own
    command, entrypoint: None is the image's
    env: `NAME=value`, or `NAME` alone to take one out
    network_mode: `networks` are those of `networks`; without any it has one for itself
    capabilities are docker's with some added and dropped; `ALL` stands for all
    healthcheck: None is the image's, a test of ("NONE",) is none; times in nanoseconds
    stop_signal, stop_seconds: "" and None are the image's, else SIGTERM and ten seconds
    exposed_ports: `80/tcp`, beside the image's
    image_label: name of a label that becomes the image's id; "" is none
    """

    image: str
    platform: Platform
    name: str = ""
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    image_label: str = ""
    volumes: tuple[VolumeRequest, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    files: tuple[FileRequest, ...] = ()
    workdir: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    hostname: str = ""
    domainname: str = ""
    hosts: tuple[tuple[str, str], ...] = ()
    network_mode: Literal["networks", "host", "none"] = "networks"
    networks: tuple[NetworkUse, ...] = ()
    ports: tuple[Port, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    read_only: bool = False
    init: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    rlimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    shm_bytes: int = 0
    terminal: bool = False
    stdin_open: bool = False
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    healthcheck: Healthcheck | None = None
    stop_signal: str = ""
    stop_seconds: float | None = None
    log: LogBounds = field(default_factory=LogBounds)
    auto_remove: bool = False
    pull: PullPolicy = "missing"


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What a container is, with everything of its image decided; enough to start it again.

    group: whose supervisor looks after it: a project's name, or its own id
    created: RFC 3339; image: as it was asked for; image_id: digest of the config
    container: without network and files, which each start gives anew
    hosts: further lines of /etc/hosts
    stop_signal: number
    volumes: named ones; anonymous: those that are removed with the container
    warnings: what was asked for and cannot be kept on this machine, for whoever made it to tell
    """

    id: str
    name: str
    group: str
    created: str
    image: str
    image_id: str
    container: Container
    labels: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[tuple[str, str], ...] = ()
    network_mode: Literal["networks", "host", "none"] = "networks"
    networks: tuple[NetworkUse, ...] = ()
    ports: tuple[Port, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    stdin_open: bool = False
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    healthcheck: Healthcheck | None = None
    stop_signal: int = 15
    stop_seconds: float = 10.0
    volumes: tuple[str, ...] = ()
    anonymous: tuple[str, ...] = ()
    log: LogBounds = field(default_factory=LogBounds)
    auto_remove: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """One run of a health check. Times are RFC 3339; output is cut at 4096 bytes."""

    start: str
    end: str
    code: int
    output: str


@dataclass(frozen=True, slots=True)
class Health:
    """status: `starting`, `healthy`, `unhealthy`; streak: failures one after the other"""

    status: Literal["starting", "healthy", "unhealthy"] = "starting"
    streak: int = 0
    log: tuple[Probe, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a running container is in one network."""

    network: str
    address: str
    prefix: int
    gateway: str
    mac: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PublishedPort:
    container_port: int
    protocol: str
    host_ip: str
    host_port: int


@dataclass(frozen=True, slots=True)
class State:
    """What became of a container. Times are RFC 3339, "" before they come.

    pid: of its first process, on this host; 0 when it does not run
    pid_start: when that process started, in ticks: with the pid a name nobody else ever has
    stopped: ended because somebody wanted it, so that no restart policy starts it again
    error: why the last start failed, or what befell it
    """

    status: Status = "created"
    pid: int = 0
    pid_start: int = 0
    started: str = ""
    finished: str = ""
    exit_code: int = 0
    oom: bool = False
    error: str = ""
    restarts: int = 0
    stopped: bool = False
    health: Health | None = None
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[PublishedPort, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """A container as it is now."""

    spec: ContainerSpec
    state: State
    directory: str

    @property
    def running(self) -> bool:
        return self.state.status in ALIVE


_KNOWN: dict[str, type] = {
    each.__name__: each
    for each in (
        Account,
        Bind,
        Container,
        ContainerSpec,
        Directory,
        Endpoint,
        Health,
        Healthcheck,
        Interface,
        Limits,
        LogBounds,
        NetworkUse,
        Overlay,
        Port,
        Probe,
        PublishedPort,
        RestartPolicy,
        State,
        Tmpfs,
    )
}


def directory_of(root: str, id: str) -> str:
    return os.path.join(root, "containers", id)


def check_name(name: str) -> None:
    """Raise BadName for what docker refuses, but for names of one letter; moby daemon/names."""
    if name[0] not in _NAME_START or not _NAME.issuperset(name):
        raise BadName(
            f"invalid container name `{name}`",
            hint="letters, digits, `_`, `.`, `-`; the first a letter or a digit",
        )


def write_spec(directory: str, spec: ContainerSpec) -> None:
    write_atomically(os.path.join(directory, "spec.json"), coding.to_bytes(spec))


def read_spec(directory: str) -> ContainerSpec:
    """Read what a container is. Raises FileNotFoundError, DamagedRecord."""
    with open(os.path.join(directory, "spec.json"), "rb") as file:
        data = file.read()
    spec = coding.from_bytes(data, _KNOWN, f"container `{os.path.basename(directory)}`")
    assert isinstance(spec, ContainerSpec)
    return spec


def write_state(directory: str, state: State) -> None:
    """Replace the state. Not synced: after a crash of the machine no container runs anyway."""
    path = os.path.join(directory, "state.json")
    write_atomically(path, coding.to_bytes(state), sync=False)


def read_state(directory: str) -> State:
    """Read the state as it was written; a missing or damaged one is that of a lost container."""
    try:
        with open(os.path.join(directory, "state.json"), "rb") as file:
            state = coding.from_bytes(file.read(), _KNOWN, "a state")
    except (FileNotFoundError, coding.DamagedRecord):
        return State("exited", exit_code=137, error="its state was lost in a crash")
    assert isinstance(state, State)
    return state


def is_supervised(directory: str) -> bool:
    """Tell whether a supervisor looks after the container, by its lock."""
    try:
        fd = os.open(os.path.join(directory, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def observe(directory: str) -> Known:
    """Return a container as it is now. Raises FileNotFoundError when it is gone."""
    spec = read_spec(directory)
    state = read_state(directory)
    if state.status in ALIVE and not is_supervised(directory):
        # Read again: the supervisor may have written its last word in between.
        state = read_state(directory)
        if state.status in ALIVE:
            state = lost(state)
    return Known(spec, state, directory)


def lost(state: State) -> State:
    """Return the state of a container whose supervisor was killed, and it with it."""
    return replace(
        state, status="exited", pid=0, pid_start=0, exit_code=137,
        error="its supervisor was killed", endpoints=(), ports=(),
    )  # fmt: skip


def identifiers(root: str) -> list[str]:
    """Return the ids of all containers, sorted."""
    try:
        return sorted(os.listdir(os.path.join(root, "containers")))
    except FileNotFoundError:
        return []


def all_of(root: str) -> Iterator[Known]:
    """Give every container; one that is being removed meanwhile is left out."""
    for id in identifiers(root):
        try:
            yield observe(directory_of(root, id))
        except FileNotFoundError:
            continue


def find(root: str, text: str) -> Known:
    """Return the container that `text` means: its name, its id, or a beginning of that.

    Raises UnknownContainer or AmbiguousContainer.
    """
    found: list[str] = []
    if text and _NAME.issuperset(text):
        try:
            found = [os.path.basename(os.readlink(os.path.join(root, "names", text)))]
        except OSError:
            found = [id for id in identifiers(root) if id.startswith(text)]
    if len(found) > 1:
        raise AmbiguousContainer(f"several containers begin with `{text}`")
    if not found:
        raise UnknownContainer(text)
    try:
        return observe(directory_of(root, found[0]))
    except FileNotFoundError:
        raise UnknownContainer(text) from None
