"""What the operating system refused, told as an error of ours and not as a mistake of ours.

Code that knows what it was doing explains its own errors. This is for the rest: a full disk can
be met by any line that writes.
"""

from __future__ import annotations

import errno
import os

from buildkit_py.core.errors import HostError, InputError

_SPACE = "free some space, or choose another state root with `--root`"
_HINTS: dict[int, str | None] = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EROFS: "choose another state root with `--root`",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "raise the limit of open files (fs.file-max)",
    errno.EACCES: None,
    errno.EPERM: None,
    errno.EIO: "see `dmesg`: the disk may be failing",
    errno.ENOMEM: None,
    errno.EAGAIN: None,
    errno.EBUSY: None,
    errno.EFBIG: None,
    errno.EOVERFLOW: None,
    errno.ENODEV: None,
    errno.ENXIO: None,
    errno.ETXTBSY: None,
}
_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY)


class RefusedByHost(HostError):
    """A call failed for a reason of this machine: a full disk, a right that is missing."""

    code = "host/refused"


class ImpossiblePath(InputError):
    """A path is too long, leads in a circle or through a file, or holds a zero byte."""

    code = "input/impossible-path"


def of_system(error: OSError) -> RefusedByHost | None:
    """Return what to tell people of an error by this machine, or None for any other."""
    if error.errno not in _HINTS:
        return None
    return RefusedByHost(_text(error), hint=_HINTS[error.errno])


def of_path(error: OSError) -> ImpossiblePath | None:
    """Return what to tell people when a path that they wrote cannot be, or None."""
    zero = error.errno == errno.EINVAL and "\0" in os.fsdecode(error.filename or "")
    return ImpossiblePath(_text(error)) if zero or error.errno in _PATHS else None


def _text(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    if not isinstance(error.filename, (str, bytes)):
        return reason
    name = os.fsdecode(error.filename)
    return f"`{name if len(name) < 200 else name[:200] + '…'}`: {reason}"
