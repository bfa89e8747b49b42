"""What `run` is asked for. Light to import: the zygote starts before the rest of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from buildkit_py.core.data import dataclass, field
from buildkit_py.engine.mounts import VolumeRequest
from buildkit_py.oci.platform import Platform
from buildkit_py.runtime.network.publish import Port
from buildkit_py.runtime.spec import Limits, Tmpfs

NetworkMode = Literal["default", "bridge", "host", "none"]
PullPolicy = Literal["missing", "always", "never"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run, as docker's client understands it.

    image: name or id; command: words after it
    entrypoint: None is the image's, "" none
    env: `NAME=value`, or `NAME` alone to take one out
    workdir, user: None or "" is the image's
    hosts: further lines of /etc/hosts, (name, address)
    """

    image: str
    platform: Platform
    command: tuple[str, ...] = ()
    entrypoint: str | None = None
    env: tuple[str, ...] = ()
    volumes: tuple[VolumeRequest, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    workdir: str = ""
    user: str = ""
    interactive: bool = False
    terminal: bool = False
    network: NetworkMode = "default"
    ports: tuple[Port, ...] = ()
    name: str = ""
    hostname: str = ""
    hosts: tuple[tuple[str, str], ...] = ()
    read_only: bool = False
    limits: Limits = field(default_factory=Limits)
    rlimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    shm_bytes: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    pull: PullPolicy = "missing"
