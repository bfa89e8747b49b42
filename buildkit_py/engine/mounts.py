"""`-v` and `--tmpfs` as docker's client reads them.

/host/path:/inside[:ro]     a directory or file of this host, made a directory when missing
name:/inside[:ro]           a named volume of the state root
/inside                     an anonymous volume, gone with its container
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from typing import Literal

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


def parse_tmpfs(text: str) -> Tmpfs:
    """Read one `--tmpfs PATH[:OPTION,...]`. Raises BadTmpfs."""
    path, _, options = text.partition(":")
    if not path.startswith("/") or posixpath.normpath(path) in ("/", "//"):
        raise BadTmpfs(f"invalid `--tmpfs` `{text}`", hint="write it as `/run:size=64m,mode=1777`")
    size_bytes, mode, read_only = 0, 0o1777, False
    for option in options.split(",") if options else ():
        name, _, value = option.partition("=")
        try:
            match name:
                case "size":
                    size_bytes = parse_size(value)
                case "mode":
                    mode = int(value, 8) & 0o7777
                case "ro" | "rw":
                    read_only = name == "ro"
                case "nosuid" | "nodev" | "exec":
                    continue  # what it is anyway
                case _:
                    raise BadTmpfs(
                        f"the option `{option}` of `--tmpfs` is not supported yet",
                        hint="`size`, `mode`, `ro`, `rw`",
                    )
        except ValueError:
            raise BadTmpfs(f"invalid `{option}` of `--tmpfs` `{text}`") from None
    return Tmpfs(posixpath.normpath(path), size_bytes, mode, read_only)


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
