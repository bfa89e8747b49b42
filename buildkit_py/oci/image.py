"""Descriptors, manifests and image configs, as the OCI image specification 1.1 has them.

JSON goes out compact, with keys in the order in which BuildKit writes them (sorted at the top of
an image config; Go's field order inside `config`). Docker's additions (Healthcheck, OnBuild,
Shell) are fields here. What a config holds beyond that is kept in `extra` and written back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from buildkit_py.core.data import dataclass, field, replace
from buildkit_py.core.digest import Digest, is_digest, sha256
from buildkit_py.core.errors import RemoteError
from buildkit_py.oci.platform import Platform

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
INDEXES = (INDEX, DOCKER_INDEX)
MANIFESTS = (MANIFEST, DOCKER_MANIFEST)

MOST_METADATA_BYTES = 4 << 20
"""A manifest or config above this is refused (as containerd and the specification advise)."""


class BadImage(RemoteError):
    """A manifest, index or config breaks the specification."""

    code = "oci/bad-image"


def to_json(value: Any) -> bytes:
    """Return compact JSON as Go's encoder writes it: `<`, `>` and `&` are escaped.

    A byte of a Dockerfile that is no UTF-8 is a sign in its place, as JSON is UTF-8.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    try:
        return text.encode()
    except UnicodeEncodeError:
        halves = ("\\ufffd" if "\ud800" <= each <= "\udfff" else each for each in text)
        return "".join(halves).encode()


def from_json(data: bytes, what: str) -> dict[str, Any]:
    """Read an object, or raise BadImage naming `what`."""
    if len(data) > MOST_METADATA_BYTES:
        raise BadImage(f"the {what} is larger than {MOST_METADATA_BYTES} bytes")
    try:
        value = json.loads(data.decode("utf-8", "replace"))
        if b"\\ud" in data.lower():
            # JSON can write half a character, UTF-8 cannot: Go puts a sign in its place, too.
            text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
            value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadImage(f"the {what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadImage(f"the {what} is not a JSON object")
    return value


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What points at content: type, digest, size in bytes."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    def to_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.annotations:
            data["annotations"] = dict(sorted(self.annotations.items()))
        if self.platform is not None:
            data["platform"] = platform_to_data(self.platform)
        return data

    @classmethod
    def from_data(cls, data: Any, what: str = "descriptor") -> Descriptor:
        """Read a descriptor; raise BadImage when its digest or size could not be trusted."""
        if not isinstance(data, dict):
            raise BadImage(f"the {what} is not an object")
        digest, size, kind = data.get("digest"), data.get("size"), data.get("mediaType", "")
        if not isinstance(digest, str) or not is_digest(digest):
            raise BadImage(f"the {what} has no sha256 digest")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise BadImage(f"the {what} has no size")
        if not isinstance(kind, str):
            raise BadImage(f"the media type of the {what} is not a string")
        platform = data.get("platform")
        annotations = data.get("annotations") or {}
        return cls(
            kind,
            Digest(digest),
            size,
            {str(k): str(v) for k, v in annotations.items()}
            if isinstance(annotations, dict)
            else {},
            platform_from_data(platform) if isinstance(platform, dict) else None,
        )


def platform_to_data(platform: Platform) -> dict[str, Any]:
    data: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        data["variant"] = platform.variant
    return data


def platform_from_data(data: Mapping[str, Any]) -> Platform:
    return Platform(
        str(data.get("os", "")), str(data.get("architecture", "")), str(data.get("variant") or "")
    )


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest: one config and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = MANIFEST
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        data: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self.config.to_data(),
            "layers": [layer.to_data() for layer in self.layers],
        }
        if self.annotations:
            data["annotations"] = dict(sorted(self.annotations.items()))
        return json.dumps(data, indent=2, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        value = from_json(data, "manifest")
        layers = value.get("layers")
        if not isinstance(layers, list):
            raise BadImage("the manifest has no list of layers")
        annotations = value.get("annotations")
        return cls(
            Descriptor.from_data(value.get("config"), "config descriptor"),
            tuple(Descriptor.from_data(each, "layer descriptor") for each in layers),
            str(value.get("mediaType") or MANIFEST),
            dict(annotations) if isinstance(annotations, dict) else {},
        )


@dataclass(frozen=True, slots=True)
class History:
    """One line of an image's history. Times are RFC 3339 texts in UTC."""

    created: str | None = None
    created_by: str | None = None
    comment: str | None = None
    author: str | None = None
    empty_layer: bool = False

    def to_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key in ("created", "created_by", "author", "comment"):
            if (value := getattr(self, key)) is not None:
                data[key] = value
        if self.empty_layer:
            data["empty_layer"] = True
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> History:
        texts = (data.get(key) for key in ("created", "created_by", "author", "comment"))
        if not all(each is None or isinstance(each, str) for each in texts):
            raise BadImage("an entry of the image's history is not made of texts")
        return cls(
            data.get("created"),
            data.get("created_by"),
            data.get("comment"),
            data.get("author"),
            bool(data.get("empty_layer", False)),
        )


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """Times are nanoseconds, as docker's JSON has them; 0 means inherited or default."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0

    def to_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {"Test": list(self.test)} if self.test else {}
        numbers = {
            "Interval": self.interval,
            "Timeout": self.timeout,
            "StartPeriod": self.start_period,
            "StartInterval": self.start_interval,
            "Retries": self.retries,
        }
        data |= {key: value for key, value in numbers.items() if value}
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Healthcheck:
        return cls(
            tuple(data.get("Test") or ()),
            int(data.get("Interval") or 0),
            int(data.get("Timeout") or 0),
            int(data.get("StartPeriod") or 0),
            int(data.get("StartInterval") or 0),
            int(data.get("Retries") or 0),
        )


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """The `config` object of an image: what a container made from it starts with.

    None differs from empty for `entrypoint`, `cmd` and `shell`: None is not written.
    """

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {}
        if self.user:
            data["User"] = self.user
        if self.exposed_ports:
            data["ExposedPorts"] = {port: {} for port in sorted(set(self.exposed_ports))}
        if self.env:
            data["Env"] = list(self.env)
        if self.entrypoint is not None:
            data["Entrypoint"] = list(self.entrypoint)
        if self.cmd is not None:
            data["Cmd"] = list(self.cmd)
        if self.volumes:
            data["Volumes"] = {volume: {} for volume in sorted(set(self.volumes))}
        if self.working_dir:
            data["WorkingDir"] = self.working_dir
        if self.labels:
            data["Labels"] = dict(sorted(self.labels.items()))
        if self.stop_signal:
            data["StopSignal"] = self.stop_signal
        if self.args_escaped:
            data["ArgsEscaped"] = True
        if self.healthcheck is not None:
            data["Healthcheck"] = self.healthcheck.to_data()
        if self.on_build:
            data["OnBuild"] = list(self.on_build)
        if self.shell is not None:
            data["Shell"] = list(self.shell)
        return {**data, **self.extra}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ContainerConfig:
        def words(key: str) -> tuple[str, ...] | None:
            value = data.get(key)
            return tuple(str(each) for each in value) if isinstance(value, list) else None

        health = data.get("Healthcheck")
        return cls(
            user=str(data.get("User") or ""),
            exposed_ports=tuple(data.get("ExposedPorts") or ()),
            env=words("Env") or (),
            entrypoint=words("Entrypoint"),
            cmd=words("Cmd"),
            volumes=tuple(data.get("Volumes") or ()),
            working_dir=str(data.get("WorkingDir") or ""),
            labels={str(k): str(v) for k, v in (data.get("Labels") or {}).items()},
            stop_signal=str(data.get("StopSignal") or ""),
            args_escaped=bool(data.get("ArgsEscaped")),
            healthcheck=Healthcheck.from_data(health) if isinstance(health, dict) else None,
            on_build=words("OnBuild") or (),
            shell=words("Shell"),
            extra={k: v for k, v in data.items() if k not in _KNOWN},
        )


_KNOWN = frozenset(
    "User ExposedPorts Env Entrypoint Cmd Volumes WorkingDir Labels StopSignal ArgsEscaped"
    " Healthcheck OnBuild Shell".split()
)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """An image config: platform, container defaults, layers' diff ids, history."""

    platform: Platform
    config: ContainerConfig = field(default_factory=ContainerConfig)
    created: str | None = None
    author: str | None = None
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[History, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        data: dict[str, Any] = {
            **self.extra,
            "architecture": self.platform.architecture,
            "config": self.config.to_data(),
            "history": [each.to_data() for each in self.history],
            "os": self.platform.os,
            "rootfs": {"type": "layers", "diff_ids": list(self.diff_ids)},
        }
        if self.platform.variant:
            data["variant"] = self.platform.variant
        if self.created is not None:
            data["created"] = self.created
        if self.author:
            data["author"] = self.author
        return to_json(dict(sorted(data.items())))

    @classmethod
    def from_bytes(cls, data: bytes) -> ImageConfig:
        """Read a config; raise BadImage for one that is none."""
        value = from_json(data, "image config")
        try:
            return cls._from_value(value)
        except (AttributeError, TypeError, ValueError) as error:
            raise BadImage(f"a field of the image config is of a wrong kind: {error}") from None

    @classmethod
    def _from_value(cls, value: Mapping[str, Any]) -> ImageConfig:
        rootfs = value.get("rootfs")
        diff_ids = (rootfs.get("diff_ids") if isinstance(rootfs, dict) else None) or []
        if not all(isinstance(each, str) and is_digest(each) for each in diff_ids):
            raise BadImage("a diff id of the image config is no sha256 digest")
        for key in ("created", "author"):
            if not isinstance(value.get(key), str | None):
                raise TypeError(key)
        config = value.get("config")
        history = value.get("history") or []
        return cls(
            platform_from_data(value),
            ContainerConfig.from_data(config if isinstance(config, dict) else {}),
            value.get("created"),
            value.get("author"),
            tuple(Digest(each) for each in diff_ids),
            tuple(History.from_data(each) for each in history if isinstance(each, dict)),
            {k: v for k, v in value.items() if k not in _TOP and k != "container_config"},
        )

    def with_config(self, **changes: Any) -> ImageConfig:
        """Return a copy whose container config has the given fields replaced."""
        return replace(self, config=replace(self.config, **changes))


_TOP = frozenset("architecture os variant config created author rootfs history".split())


def chain_ids(diff_ids: tuple[Digest, ...]) -> tuple[Digest, ...]:
    """Return the chain id of each layer: identity of the stack up to and including it."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(sha256(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)
