"""Mount options of `config.json` read into what the kernel's calls take. Pure.

runtime-spec config.md, "Linux mount options". Of options that exclude each other the last wins;
what is none of them is data for the file system.
"""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import InputError
from buildkit_py.runtime.kernel.mounts import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_PRIVATE,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
)

_ATIME = 0x70
_NOATIME, _STRICTATIME, _NODIRATIME, _NOSYMFOLLOW = 0x10, 0x20, 0x80, 0x200000

_ATTRIBUTES: dict[str, tuple[int, int]] = {
    # option: (attributes set, attributes cleared); include/uapi/linux/mount.h
    "ro": (MOUNT_ATTR_RDONLY, 0),
    "rw": (0, MOUNT_ATTR_RDONLY),
    "nosuid": (MOUNT_ATTR_NOSUID, 0),
    "suid": (0, MOUNT_ATTR_NOSUID),
    "nodev": (MOUNT_ATTR_NODEV, 0),
    "dev": (0, MOUNT_ATTR_NODEV),
    "noexec": (MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, MOUNT_ATTR_NOEXEC),
    "noatime": (_NOATIME, _ATIME),
    "atime": (0, _ATIME),
    "strictatime": (_STRICTATIME, _ATIME),
    "nostrictatime": (0, _ATIME),
    "relatime": (0, _ATIME),
    "norelatime": (0, _ATIME),
    "nodiratime": (_NODIRATIME, 0),
    "diratime": (0, _NODIRATIME),
    "nosymfollow": (_NOSYMFOLLOW, 0),
    "symfollow": (0, _NOSYMFOLLOW),
}
_PROPAGATION = {
    "private": MS_PRIVATE,
    "shared": MS_SHARED,
    "slave": MS_SLAVE,
    "unbindable": MS_UNBINDABLE,
}
_SUPERBLOCK = {
    "sync": ("sync", "async"),
    "async": ("async", "sync"),
    "dirsync": ("dirsync", ""),
    "lazytime": ("lazytime", "nolazytime"),
    "nolazytime": ("nolazytime", "lazytime"),
    "mand": ("mand", "nomand"),
    "nomand": ("nomand", "mand"),
}
"""Flags of the file system itself, with the one that each takes back."""
_NOTHING = frozenset(
    "defaults loud silent iversion noiversion acl noacl async nomand nolazytime".split()
)

RECURSIVE = tuple(f"r{name}" for name in _ATTRIBUTES)
NAMES = (
    *_ATTRIBUTES, *_PROPAGATION, *(f"r{name}" for name in _PROPAGATION), *_SUPERBLOCK, *RECURSIVE,
    "bind", "rbind", "remount", "defaults", "silent", "loud", "iversion", "noiversion",
    "tmpcopyup", "idmap", "ridmap",
)  # fmt: skip
"""What `pyruntime features` lists."""


@dataclass(frozen=True, slots=True)
class Options:
    """set_, clear: MOUNT_ATTR_* of this mount; the recursive ones: of all beneath it, too

    bind: None is a new file system, else whether the bind is recursive
    propagation: (MS_*, recursive) in the order given
    idmap: None is not asked for, else whether what is beneath is mapped, too
    flags, data: for the file system: flags, and `key=value` or `key`
    """

    set_: int = 0
    clear: int = 0
    recursive_set: int = 0
    recursive_clear: int = 0
    bind: bool | None = None
    remount: bool = False
    copy_up: bool = False
    idmap: bool | None = None
    propagation: tuple[tuple[int, bool], ...] = ()
    flags: tuple[str, ...] = ()
    data: tuple[tuple[str, str | None], ...] = ()


def parse(words: Sequence[str], at: str) -> Options:
    """Read a mount's options. at: where they stand. Raises InputError for what is not done."""
    set_ = clear = recursive_set = recursive_clear = 0
    bind: bool | None = None
    idmap: bool | None = None
    remount = copy_up = False
    propagation: list[tuple[int, bool]] = []
    flags: list[str] = []
    data: list[tuple[str, str | None]] = []
    for word in words:
        if word in _ATTRIBUTES:
            add, remove = _ATTRIBUTES[word]
            set_, clear = set_ & ~remove | add, clear & ~add | remove
        elif word in RECURSIVE:
            add, remove = _ATTRIBUTES[word[1:]]
            recursive_set = recursive_set & ~remove | add
            recursive_clear = recursive_clear & ~add | remove
        elif word in _PROPAGATION:
            propagation.append((_PROPAGATION[word], False))
        elif word.startswith("r") and word[1:] in _PROPAGATION:
            propagation.append((_PROPAGATION[word[1:]], True))
        elif word in ("bind", "rbind"):
            bind = word == "rbind"
        elif word == "remount":
            remount = True
        elif word == "tmpcopyup":
            copy_up = True
        elif word in ("idmap", "ridmap"):
            idmap = word == "ridmap"
        elif word in _SUPERBLOCK:
            flag, other = _SUPERBLOCK[word]
            flags = [each for each in flags if each not in (other, flag)]
            if word not in _NOTHING:
                flags.append(flag)
        elif word not in _NOTHING:
            key, equals, value = word.partition("=")
            if not key:
                raise InputError(f"{at}: `{word}` is no option", code="runtime/mount-option")
            data.append((key, value if equals else None))
    return Options(
        set_=set_, clear=clear, recursive_set=recursive_set, recursive_clear=recursive_clear,
        bind=bind, remount=remount, copy_up=copy_up, idmap=idmap, propagation=tuple(propagation),
        flags=tuple(flags), data=tuple(data),
    )  # fmt: skip
