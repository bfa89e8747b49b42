"""`-v` and `--tmpfs` as docker's client reads them.

/host/path:/inside[:ro]     a directory or file of this host, made a directory when missing
name:/inside[:ro]           a named volume of the state root
/inside                     an anonymous volume, gone with its container
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Sequence
from typing import Any, Literal

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import InputError
from buildkit_py.runtime.spec import Tmpfs

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME = _FIRST | frozenset("_.-")
_SELINUX = "/sys/fs/selinux/enforce"


class BadVolume(InputError):
    code = "engine/bad-volume"


class BadTmpfs(InputError):
    code = "engine/bad-tmpfs"


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """One `-v`.

    kind: what `source` is: an absolute path of this host, a volume's name, or nothing
    target: absolute path in the container
    copy: fill an empty volume with what the image has there
    """

    kind: Literal["bind", "volume", "anonymous"]
    source: str
    target: str
    read_only: bool = False
    copy: bool = True


def parse_volume(text: str, *, cwd: str) -> VolumeRequest:
    """Read one `-v`. cwd: what `./here:/there` is relative to. Raises BadVolume."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise BadVolume(f"invalid volume `{text}`", hint="write it as `SOURCE:TARGET[:ro]`")
    if len(parts) == 1:
        return VolumeRequest("anonymous", "", _target(parts[0], text))
    source, target = parts[0], _target(parts[1], text)
    read_only, copy = _modes(parts[2] if len(parts) == 3 else "", text)
    if source.startswith((".", "/")):
        # docker's client makes `./x` absolute; the daemon cleans the path.
        return VolumeRequest(
            "bind", os.path.normpath(os.path.join(cwd, source)), target, read_only, copy
        )
    check_volume_name(source)
    return VolumeRequest("volume", source, target, read_only, copy)


def check_volume_name(source: str) -> None:
    """Raise BadVolume for what is no name of a volume."""
    if len(source) < 2 or source[0] not in _FIRST or not _NAME.issuperset(source):
        raise BadVolume(
            f"`{source}` is no name of a volume",
            hint="two or more letters, digits, `_`, `.`, `-`; a directory of this host begins with"
            " `/` or `./`",
        )


def _target(path: str, text: str) -> str:
    if not path.startswith("/"):
        raise BadVolume(f"invalid volume `{text}`: the target `{path}` is not absolute")
    clean = posixpath.normpath(f"/{path.lstrip('/')}")
    if clean == "/":
        raise BadVolume(f"invalid volume `{text}`: the target can't be `/`")
    return clean


def _modes(words: str, text: str) -> tuple[bool, bool]:
    read_only, copy = False, True
    for word in words.split(",") if words else ():
        match word:
            case "ro" | "readonly":
                read_only = True
            case "rw":
                read_only = False
            case "nocopy":
                copy = False
            case "z" | "Z" if not os.path.exists(_SELINUX):
                continue  # labels for SELinux, which is not at work here
            case _:
                raise BadVolume(
                    f"the mode `{word}` of the volume `{text}` is not supported yet",
                    hint="`ro`, `rw` or `nocopy`",
                )
    return read_only, copy


_TMPFS_FLAGS = {
    "rw": ("rw", True), "ro": ("rw", False), "exec": ("exec", True), "noexec": ("exec", False),
    "suid": ("suid", True), "nosuid": ("suid", False), "dev": ("dev", True),
    "nodev": ("dev", False), "defaults": ("", True),
}  # fmt: skip


def parse_tmpfs(text: str) -> Tmpfs:
    """Read one `--tmpfs PATH[:OPTION,...]`. Raises BadTmpfs.

    As docker has it: no programs, devices or set-user-ID in there unless an option says so, and
    the last of contradicting options counts.
    """
    path, _, options = text.partition(":")
    if not path.startswith("/") or posixpath.normpath(path) in ("/", "//"):
        hint = "write it as `/run:size=64m,mode=1777`"
        raise BadTmpfs(f"`{text}` names no absolute path for a tmpfs", hint=hint)
    found: dict[str, Any] = {}
    allowed: set[str] = set()
    for option in options.split(",") if options else ():
        name, equals, value = option.partition("=")
        if not equals and name in _TMPFS_FLAGS:
            flag, is_on = _TMPFS_FLAGS[name]
            if flag == "rw":
                found["read_only"] = not is_on
            elif flag:
                (allowed.add if is_on else allowed.discard)(flag)
        elif equals and name in _TMPFS_VALUES:
            field, read = _TMPFS_VALUES[name]
            try:
                found[field] = read(value)
            except ValueError:
                raise BadTmpfs(
                    f"the option `{option}` of the tmpfs `{path}` is no {name}"
                ) from None
        else:
            known = [*(f"{each}=" for each in _TMPFS_VALUES), *_TMPFS_FLAGS]
            raise BadTmpfs(
                f"unknown option `{option}` of the tmpfs `{path}`",
                hint=f"there are {', '.join(f'`{each}`' for each in known)}",
            )
    return Tmpfs(posixpath.normpath(path), allowed=tuple(sorted(allowed)), **found)


def _id(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) >= (1 << 32) - 1:
        raise ValueError(text)
    return int(text)


def _mode(text: str) -> int:
    if not text or not set(text) <= set("01234567") or int(text, 8) > 0o7777:
        raise ValueError(text)
    return int(text, 8)


def parse_size(text: str) -> int:
    """Read a size such as `64m` or `1.5GiB` in powers of 1024. Raises ValueError."""
    number = text.strip().lower().removesuffix("b").removesuffix("i")
    factor = 1
    if number and number[-1] in "kmgtp":
        factor = 1024 ** ("kmgtp".index(number[-1]) + 1)
        number = number[:-1]
    size = float(number) * factor
    if not 0 <= size < 1 << 62:
        raise ValueError(text)
    return int(size)


def uncovered(paths: Sequence[str], targets: Sequence[str]) -> list[str]:
    """Return an image's volumes on which nothing is mounted by request, cleaned, each once."""
    cleaned = [posixpath.normpath(f"/{path.lstrip('/')}") for path in paths]
    return sorted({path for path in cleaned if path != "/"} - set(targets))


_TMPFS_VALUES: dict[str, tuple[str, Callable[[str], int]]] = {
    "size": ("size_bytes", parse_size),
    "mode": ("mode", _mode),
    "uid": ("uid", _id),
    "gid": ("gid", _id),
    "nr_inodes": ("inodes", parse_size),
}
