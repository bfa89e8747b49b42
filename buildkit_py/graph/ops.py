"""What a step does, as data. One class per kind; how each is carried out is in build/steps.

`components()` names everything that identifies the step apart from what it reads. Its values are
JSON; the definition digest is taken over all of them, and `--explain` compares them by name.
What must not be in there: stage and step names, times, paths of this host, resource limits.
What must: see docs/caching.md, after the measured table of BuildKit's keys.
"""

from __future__ import annotations

from typing import Any, Literal

from buildkit_py.core.data import dataclass
from buildkit_py.core.digest import Digest
from buildkit_py.oci.platform import Platform


@dataclass(frozen=True, slots=True)
class Base:
    """The file system of an image. A root: its key is the manifest digest."""

    reference: str
    manifest: Digest
    platform: Platform

    def components(self) -> dict[str, Any]:
        return {"kind": "base", "manifest": self.manifest}


@dataclass(frozen=True, slots=True)
class Scratch:
    """The empty file system."""

    def components(self) -> dict[str, Any]:
        return {"kind": "scratch"}


@dataclass(frozen=True, slots=True)
class Local:
    """A directory of this host: the build context, or a named one. Only its content counts."""

    name: str = "context"

    def components(self) -> dict[str, Any]:
        return {"kind": "local"}


@dataclass(frozen=True, slots=True)
class InlineFile:
    name: str
    content: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Inline:
    """Files written in the Dockerfile itself (heredocs of COPY and ADD)."""

    files: tuple[InlineFile, ...]

    def components(self) -> dict[str, Any]:
        return {"kind": "inline", "files": [[f.name, f.content, f.mode] for f in self.files]}


@dataclass(frozen=True, slots=True)
class Mount:
    """One `RUN --mount`. `input` is an index into the vertex's inputs (bind, seeded cache)."""

    type: Literal["bind", "cache", "tmpfs", "secret", "ssh"]
    target: str
    input: int | None = None
    source: str = "/"
    read_only: bool = False
    id: str = ""
    sharing: Literal["shared", "private", "locked"] = "shared"
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    size_bytes: int = 0
    env: str = ""
    required: bool = False

    def components(self) -> dict[str, Any]:
        data: dict[str, Any] = {"type": self.type, "target": self.target}
        if self.type == "bind":
            data |= {"source": self.source, "read_only": self.read_only}
        elif self.type == "cache":
            data |= {"mode": self.mode, "uid": self.uid, "gid": self.gid}
        elif self.type == "tmpfs":
            data |= {"size": self.size_bytes}
        else:
            data |= {"id": self.id, "env": self.env}
        return data


@dataclass(frozen=True, slots=True)
class Run:
    """Run a program. Inputs: the root file system, then what mounts read.

    args: argv, with the shell in front where there is one
    env: NAME=value, in order; proxies are not in here (see `proxy_env`)
    user: as USER has it, "" for root; names are looked up in the root file system
    files: heredoc scripts, shown read-only below /dev/pipes
    proxy_env: given to the program, but not part of the key
    """

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str
    network: Literal["default", "none", "host"] = "default"
    mounts: tuple[Mount, ...] = ()
    files: tuple[InlineFile, ...] = ()
    proxy_env: tuple[str, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    security: Literal["sandbox", "insecure"] = "sandbox"

    def components(self) -> dict[str, Any]:
        return {
            "kind": "run",
            "args": list(self.args),
            "env": list(self.env),
            "cwd": self.cwd,
            "user": self.user,
            "network": self.network,
            "mounts": [mount.components() for mount in self.mounts],
            "files": [[f.name, f.content, f.mode] for f in self.files],
            "hosts": sorted(name for name, _ in self.hosts),
            "security": self.security,
        }


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy `sources`, paths in the second input, to `dest` in the first. COPY and ADD.

    inline: names of files in the third input, an `Inline`, copied after `sources` and never
        unpacked. Only where one instruction mixes paths and heredocs: with heredocs alone, the
        `Inline` is the second input and `sources` names its files
    dest: absolute; a trailing `/` means a directory
    chown: as written, "" to keep (stage, image) or 0:0 (local)
    chmod: as written, octal or symbolic, "" to keep
    unpack: extract local archives (ADD)
    keep_owner: sources come from a stage or an image
    """

    sources: tuple[str, ...]
    dest: str
    chown: str = ""
    chmod: str = ""
    unpack: bool = False
    keep_owner: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    link: bool = False
    inline: tuple[str, ...] = ()

    def components(self) -> dict[str, Any]:
        # Only the last part of a source is in the key: the content digest covers the rest.
        sources = (
            list(self.sources) if self.parents else [s.rpartition("/")[2] for s in self.sources]
        )
        return {
            "kind": "copy",
            "sources": sources,
            "dest": self.dest,
            "chown": self.chown,
            "chmod": self.chmod,
            "unpack": self.unpack,
            "keep_owner": self.keep_owner,
            "parents": self.parents,
            "exclude": list(self.exclude),
            "link": self.link,
            "inline": list(self.inline),
        }


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """WORKDIR: make `path` and its parents, 0755, owned by `user` where they are new."""

    path: str
    user: str

    def components(self) -> dict[str, Any]:
        return {"kind": "mkdir", "path": self.path, "user": self.user}


Op = Base | Scratch | Local | Inline | Run | Copy | MakeDirectory
