"""How a snapshot says that something of the snapshots below it is gone.

Overlay has two marks: a character device 0:0 hides one name, and an extended attribute makes a
directory opaque. In the first user namespace the attribute is `trusted.overlay.opaque`, in
another one, with the mount option `userxattr`, it is `user.overlay.opaque`. Where there is no
overlay, the marks are kept in a list and carried out when the snapshot is completed.
Source: Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Literal

Overlay = Literal["kernel", "userxattr", "copy"]
"""How snapshots are stacked: by overlay, by overlay with userxattr, or by copying them whole."""

OWNER = b"user.buildkit_py.owner"
"""`uid:gid` in decimal: the owner a file should have, where chown cannot give it one."""

WHITEOUT_PREFIX = b".wh."
OPAQUE_NAME = b".wh..wh..opq"

_PRIVATE = (b"trusted.overlay.", b"user.overlay.", OWNER)


def opaque_name(overlay: Overlay) -> str:
    """Return the attribute that makes a directory opaque."""
    return "trusted.overlay.opaque" if overlay == "kernel" else "user.overlay.opaque"


def is_whiteout(state: os.stat_result) -> bool:
    """Tell whether this is overlay's mark for a name that is gone."""
    return stat.S_ISCHR(state.st_mode) and state.st_rdev == 0


def is_opaque(path: bytes | str | int, overlay: Overlay) -> bool:
    """Tell whether a directory of a snapshot hides what is below it."""
    if overlay == "copy":
        return False
    try:
        return os.getxattr(path, opaque_name(overlay)) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise


def belongs_in_layer(attribute: bytes) -> bool:
    """Tell whether a layer may hold this extended attribute, both ways.

    `user.*` and file capabilities are the image's own. Overlay's marks are ours; labels of
    security modules, ACLs and `trusted.*` belong to one machine, and docker leaves them out too.
    """
    if attribute.startswith(_PRIVATE):
        return False
    return attribute.startswith(b"user.") or attribute == b"security.capability"
