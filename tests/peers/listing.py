"""Images as plain data that two builders can be compared by.

What may differ between them is left out: the times of directories and of what a build made just
now, the order of a tar, the two ways to say that a directory shows nothing from below, and
entries that repeat what the layers below have (BuildKit on overlayfs leaves them out, dockerd's
own layers have them).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.peers.contexts import MOMENT

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_KINDS = {
    tarfile.REGTYPE: "-",
    tarfile.AREGTYPE: "-",
    tarfile.DIRTYPE: "d",
    tarfile.SYMTYPE: "l",
    tarfile.LNKTYPE: "h",
    tarfile.CHRTYPE: "c",
    tarfile.BLKTYPE: "b",
    tarfile.FIFOTYPE: "p",
}
_NOT_COMPARED = ("created", "rootfs", "history", "container", "container_config", "docker_version")


@dataclass(frozen=True)
class Entry:
    """A file of a layer. kind: as ls(1) has it, `h` for a hard link, `w` for a whiteout."""

    kind: str
    mode: int = 0
    owner: str = ""
    time: str = ""
    rest: str = ""

    def text(self) -> str:
        if self.kind == "w":
            return "removed"
        return f"{self.kind}{self.mode:04o} {self.owner} {self.time} {self.rest}".rstrip()


Layer = dict[str, Entry]


def read_archive(path: Path, known: dict[str, Layer]) -> tuple[dict[str, Any], list[Layer]]:
    """Return an image's config and its layers from an archive that `docker load` would take.

    known: layers by diff id, read once
    """
    with tarfile.open(path) as archive:
        manifest = json.loads(_file(archive, "manifest.json"))[0]
        config = json.loads(_file(archive, manifest["Config"]))
        layers = []
        for diff_id, name in zip(config["rootfs"]["diff_ids"], manifest["Layers"], strict=True):
            if diff_id not in known:
                known[diff_id] = read_layer(_file(archive, name))
            layers.append(known[diff_id])
    return config, layers


def _file(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def read_layer(data: bytes) -> Layer:
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    found: Layer = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            path = member.name.removeprefix("./").rstrip("/") or "."
            found[path] = _entry(tar, member, path)
    return found


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> Entry:
    if path.rpartition("/")[2].startswith(WHITEOUT):
        return Entry("w")
    kind = _KINDS[member.type]
    rest = ""
    if kind == "-":
        file = tar.extractfile(member)
        assert file is not None
        rest = f"{member.size} {hashlib.sha256(file.read()).hexdigest()[:12]}"
    elif kind in "lh":
        rest = f"-> {member.linkname.removeprefix('./')}"
    elif kind in "cb":
        rest = f"{member.devmajor},{member.devminor}"
    for key, value in sorted(member.pax_headers.items()):
        if key.startswith("SCHILY.xattr."):
            rest += f" {key[13:]}={value.encode('utf-8', 'surrogateescape').hex()}"
    time = {MOMENT: "kept", 0: "zero"}.get(int(member.mtime), "new")
    return Entry(
        kind,
        member.mode & 0o7777,
        f"{member.uid}:{member.gid}",
        "-" if kind == "d" else time,
        rest,
    )


def listing(layers: Sequence[Layer]) -> list[dict[str, str]]:
    """Return what each layer changes, but for the first, as text by path."""
    below: Layer = {}
    found = []
    for number, layer in enumerate(layers):
        changed = {
            path: entry
            for path, entry in _without_opaque(layer, below).items()
            if entry.kind == "w" or below.get(path) != _resolved(entry, below)
        }
        if number:
            found.append({path: changed[path].text() for path in sorted(changed)})
        _apply(changed, below)
    return found


def _without_opaque(layer: Layer, below: Layer) -> Layer:
    """Spell out what an opaque directory hides."""
    found = dict(layer)
    for path in layer:
        folder, _, name = path.rpartition("/")
        if name != OPAQUE:
            continue
        del found[path]
        for hidden in below:
            parent, _, child = hidden.rpartition("/")
            if parent == folder and hidden not in layer:
                found[f"{folder}/{WHITEOUT}{child}"] = Entry("w")
    return found


def _resolved(entry: Entry, below: Layer) -> Entry:
    return below.get(entry.rest[3:], entry) if entry.kind == "h" else entry


def _apply(layer: Layer, below: Layer) -> None:
    gone = [
        f"{folder}{slash}{name[len(WHITEOUT) :]}"
        for folder, slash, name in (path.rpartition("/") for path in layer)
        if name.startswith(WHITEOUT)
    ]
    gone += [path for path, entry in layer.items() if entry.kind != "d"]
    for path in gone:
        for each in [each for each in below if each == path or each.startswith(f"{path}/")]:
            del below[each]
    for path, entry in layer.items():
        if entry.kind == "h":
            below[path] = replace(below.get(entry.rest[3:], entry))
        elif entry.kind != "w":
            below[path] = entry


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return an image config without times, digests and what is empty."""
    found = {key: value for key, value in config.items() if key not in _NOT_COMPARED}
    inner = found.get("config") or {}
    found["config"] = {key: inner[key] for key in sorted(inner) if inner[key]}
    return {key: found[key] for key in sorted(found)}


def plain_history(config: Mapping[str, Any]) -> list[str]:
    """Return the instructions of the history; those without a layer begin with `-`."""
    return [
        ("- " if each.get("empty_layer") else "") + each.get("created_by", "")
        for each in config.get("history", ())
        if each.get("comment") == "buildkit.dockerfile.v0"
    ]
