"""The short form of a volume: `[SOURCE:]TARGET[:OPTIONS]`.

A source that starts with `.`, `/`, `~` or a drive is a path on the host, else a volume's name.
Docker takes every single letter before a colon for a Windows drive; here `v:/data` and
`v:/data:ro` are volumes, and only `C:\\dir:/data` and `C:/dir:/data` are drives.
Source: compose-go format/volume.go.
"""

from __future__ import annotations

import posixpath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")
_OPTIONS = {"ro", "rw", "nocopy", "z", "Z", *PROPAGATIONS, "consistent", "cached", "delegated"}
"""The last three are for macOS alone, and mean nothing here."""


def parse_mount(text: str) -> dict[str, Any]:
    """Return the long form of a short volume. Raises ValueError, saying what is wrong."""
    if not text:
        raise ValueError("the volume is empty")
    if len(text) <= 2:
        return {"type": "volume", "target": text}
    parts = _sections(text)
    if not all(parts):
        raise ValueError("there is an empty section between colons")
    if len(parts) > 3:
        raise ValueError("there are too many colons")
    source = parts[0] if len(parts) > 1 else ""
    mount: dict[str, Any] = {"type": "bind" if is_path(source) else "volume"}
    if source:
        mount["source"] = source
    mount["target"] = parts[1] if len(parts) > 1 else parts[0]
    section: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for option in parts[2].split(",") if len(parts) > 2 else ():
        if option in ("ro", "rw"):
            mount["read_only"] = option == "ro"
        elif option == "nocopy":
            (section if mount["type"] == "volume" else others)["nocopy"] = True
        elif option in PROPAGATIONS or option in ("z", "Z"):
            name = "propagation" if option in PROPAGATIONS else "selinux"
            (section if mount["type"] == "bind" else others)[name] = option
    if not mount.get("read_only", True):
        del mount["read_only"]
    if mount["type"] == "bind":
        section["create_host_path"] = True
    mount[mount["type"]] = section
    if others:
        mount["volume" if mount["type"] == "bind" else "bind"] = others
    return mount


def unknown_options(text: str) -> list[str]:
    """Return the options of a short volume that nobody knows; docker compose ignores them."""
    parts = _sections(text) if len(text) > 2 else []
    given = parts[2].split(",") if len(parts) == 3 else []
    return [each for each in given if each and each not in _OPTIONS]


def _sections(text: str) -> list[str]:
    """Split at colons, but not behind a drive's letter nor within `${...}`."""
    parts = [""]
    depth = 0
    drive = 1 if _has_drive(text) else -1
    for at, character in enumerate(text):
        if character == "$" and text[at + 1 : at + 2] == "{":
            depth += 1
        elif character == "}" and depth:
            depth -= 1
        if character == ":" and not depth and at != drive:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _has_drive(text: str) -> bool:
    """Say whether a short volume begins with a Windows drive, and not with a name of one letter."""
    if not text[0].isalpha() or text[1:2] != ":":
        return False
    return text[2:3] == "\\" or (text[2:3] == "/" and ":/" in text[3:])


def is_path(source: str) -> bool:
    """Say whether a source is a path on the host and not a volume's name."""
    if source[:1] in (".", "/", "~") and source:
        return True
    return source.startswith("\\\\") or (source[1:2] == ":" and source[0].isalpha())


def is_windows_path(path: str) -> bool:
    """Say whether a path is absolute on Windows: `C:\\x`, `C:/x`, `\\\\server\\share`."""
    drive = len(path) > 2 and path[0].isalpha() and path[1] == ":" and path[2] in "/\\"
    return drive or path.startswith("\\\\")


def clean(path: str) -> str:
    """Return a path without `.`, `..` and double slashes, as Go's path.Clean has it."""
    cleaned = posixpath.normpath(path) if path else "."
    # POSIX lets two leading slashes stand; Go does not.
    return "/" + cleaned.lstrip("/") if cleaned.startswith("//") else cleaned
