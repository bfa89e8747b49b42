"""Build contexts described as data, so that odd files need not be in the tree.

A description maps names to a text, or to one of

    {"text": …} {"base64": …} {"tar": [[name, …], …], "compress": "gz"} {"sparse": bytes}
    {"link": target} {"hard": other name} {"dir": true} {"fifo": true} {"socket": true}
    {"device": "c 1 3"}

each with `mode`, `uid`, `gid`, `xattrs`. All times are `MOMENT`; names may hold surrogates.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import os
import socket
import stat
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

MOMENT = 1_600_000_000
_COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def make_context(folder: Path, dockerfile: bytes, files: Mapping[str, Any]) -> None:
    """Write a Dockerfile and what is described into a new directory. Needs root."""
    folder.mkdir(mode=0o755)
    made: list[tuple[bytes, Mapping[str, Any]]] = [(os.fsencode(folder), {})]
    described = {"Dockerfile": {"base64": base64.b64encode(dockerfile)}, **files}
    for name, each in sorted(described.items()):
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        for parent in _missing(os.path.dirname(path)):
            os.mkdir(parent)
            made.append((parent, {}))
        described_file = {"text": each} if isinstance(each, str) else each
        if "hard" in described_file:
            os.link(os.path.join(os.fsencode(folder), os.fsencode(each["hard"])), path)
            continue
        _make(path, described_file)
        made.append((path, described_file))
    # Directories last: writing into them changes their times.
    for path, each in reversed(made):
        _dress(path, each)


def _missing(folder: bytes) -> list[bytes]:
    found = []
    while not os.path.isdir(folder):
        found.append(folder)
        folder = os.path.dirname(folder)
    return found[::-1]


def _make(path: bytes, each: Mapping[str, Any]) -> None:
    if "link" in each:
        os.symlink(os.fsencode(each["link"]), path)
    elif "dir" in each:
        os.makedirs(path, exist_ok=True)
    elif "fifo" in each:
        os.mkfifo(path)
    elif "socket" in each:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
    elif "device" in each:
        kind, major, minor = each["device"].split()
        form = stat.S_IFCHR if kind == "c" else stat.S_IFBLK
        os.mknod(path, form | 0o644, os.makedev(int(major), int(minor)))
    else:
        Path(os.fsdecode(path)).write_bytes(content(each))


def content(each: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file that is described."""
    if "base64" in each:
        return base64.b64decode(each["base64"])
    if "sparse" in each:
        return bytes(3 * 4096) + b"x" + bytes(each["sparse"] - 3 * 4096 - 1)
    if "tar" in each:
        data = _tar(each["tar"])
        return _COMPRESS[each.get("compress", "")](data[: each.get("cut", len(data))])
    return str(each["text"]).encode("utf-8", "surrogateescape")


def _tar(members: list[tuple[str, Any]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, described in members:
            each: Mapping[str, Any] = (
                {"text": described} if isinstance(described, str) else described
            )
            member = tarfile.TarInfo(name)
            member.mtime = MOMENT
            member.uid, member.gid = each.get("uid", 0), each.get("gid", 0)
            member.mode = int(each.get("mode", "0755" if "dir" in each else "0644"), 8)
            data = b""
            if "link" in each:
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, each["link"], 0o777
            elif "hard" in each:
                member.type, member.linkname = tarfile.LNKTYPE, each["hard"]
            elif "dir" in each:
                member.type = tarfile.DIRTYPE
            elif "fifo" in each:
                member.type = tarfile.FIFOTYPE
            elif "device" in each:
                kind, *numbers = each["device"].split()
                member.type = tarfile.CHRTYPE if kind == "c" else tarfile.BLKTYPE
                member.devmajor, member.devminor = map(int, numbers)
            else:
                data = content(each)
                member.size = len(data)
            member.pax_headers = {
                f"SCHILY.xattr.{key}": value for key, value in each.get("xattrs", {}).items()
            }
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _dress(path: bytes, each: Mapping[str, Any]) -> None:
    if "link" not in each:
        os.chown(path, each.get("uid", 0), each.get("gid", 0))
        plain = "0755" if os.path.isdir(path) or "socket" in each else "0644"
        os.chmod(path, int(each.get("mode", plain), 8))
    for key, value in each.get("xattrs", {}).items():
        data = base64.b64decode(value[4:]) if value.startswith("b64:") else value.encode()
        os.setxattr(path, key, data)
    os.utime(path, (MOMENT, MOMENT), follow_symlinks=False)
