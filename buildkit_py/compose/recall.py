"""`up -d` with nothing to do, answered before any file is parsed.

After an `up -d` that left nothing to be done, a record is kept of all that it looked at: the stat
of every file that was read or looked for, the environment, the containers, and the directories in
which containers, networks and volumes are remembered. When the same command comes again and all
of that still stands, there is nothing to do. Anything doubtful is no answer, and `up` goes the
long way.

A container that ran must run: its supervisor holds its lock. One that had ended (a job that was
done) must have the same state file. Health is not asked for: a plan does not depend on it.

Nothing heavy is imported here: docs/startup.md has the figures. build/recall.py does the same for
builds.
"""

from __future__ import annotations

import marshal
import os
import sys

from buildkit_py import __version__
from buildkit_py.core.digest import sha256
from buildkit_py.store.signature import index_signature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Signature = tuple[int, ...] | None

_FORMAT = f"2 {__version__} {sys.version_info[0]}.{sys.version_info[1]}"
"""A record of another release, or of another Python (marshal), is no record."""

_PASSING = ("_", "OLDPWD", "SHLVL", "COLUMNS", "LINES")
"""Variables that shells change from one command to the next, and compose files do not use."""

_RECORDS = ("containers", "networks", "volumes")
_TICK_NS = 20_000_000
"""Two writes within a tick of the kernel's clock look alike: what is younger is no proof."""

_S_IFMT = 0o170000
_S_IFDIR = 0o040000
_RUNNING = b'"status":"running"'


def signature(path: str) -> Signature:
    """Return what changes when a file does: of a directory its identity only, None for none."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    mode = state.st_mode
    if mode & _S_IFMT == _S_IFDIR:
        return (mode, state.st_dev, state.st_ino)
    return (
        mode, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns,
    )  # fmt: skip


def is_settled(found: Signature, now_ns: int) -> bool:
    """Say whether a file is old enough for a later write to show in its signature."""
    return found is None or len(found) == 3 or max(found[-2:]) < now_ns - _TICK_NS


def _path(root: str, arguments: Sequence[str]) -> str:
    identity = "\0".join((_folder(), str(os.geteuid()), *arguments))
    name = sha256(identity.encode("utf-8", "surrogateescape"))
    return os.path.join(root, "recall", f"up-{name.removeprefix('sha256:')}")


def _folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _environment() -> str:
    pairs = (f"{key}={value}" for key, value in os.environ.items() if key not in _PASSING)
    return sha256("\0".join(sorted(pairs)).encode("utf-8", "surrogateescape"))


def keep(
    root: str,
    arguments: Sequence[str],
    *,
    looked: Mapping[str, Signature],
    containers: Iterable[tuple[str, bool]],
    records: Mapping[str, tuple[int, ...]],
    names: Sequence[str] = (),
) -> None:
    """Keep a record for `running`.

    arguments: all of the command line; looked: every path that was looked at
    containers: ids of the project's containers, and whether each runs
    names: of the containers that run, for people
    records: from `records_of`, taken before what there is was looked at
    """
    from buildkit_py.core.files import write_atomically

    kept = []
    for id, runs in containers:
        folder = os.path.join(root, "containers", id)
        state = None if runs else signature(os.path.join(folder, "state.json"))
        kept.append((id, signature(os.path.join(folder, "spec.json")), state))
    data = {
        "format": _FORMAT,
        "environment": _environment(),
        "looked": dict(looked),
        "containers": kept,
        "records": dict(records),
        "names": list(names),
    }
    path = _path(root, arguments)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_atomically(path, marshal.dumps(data), mode=0o600, sync=False)


def records_of(root: str) -> dict[str, tuple[int, ...]]:
    """Return what changes when an image, a container, a network or a volume comes or goes."""
    found: dict[str, tuple[int, ...]] = {}
    for name in _RECORDS:
        try:
            state = os.stat(os.path.join(root, name))
        except OSError:
            found[name] = ()
        else:
            found[name] = (state.st_ino, state.st_mtime_ns)
    found[f"index {index_signature(root)}"] = ()
    return found


def running(root: str, arguments: Sequence[str]) -> list[str] | None:
    """Return the names of a project's containers when nothing is to be done, None where not.

    That is when the same command left nothing to do before, and all still stands.
    """
    try:
        # `marshal` trusts what it reads: so must we, and that is only what we wrote ourselves.
        data = marshal.loads(_read(_path(root, arguments)))
        names: list[str] = data["names"]
        return names if data["format"] == _FORMAT and _stands(root, data) else None
    except (OSError, ValueError, EOFError, TypeError, KeyError):
        return None


def _stands(root: str, data: dict[str, Any]) -> bool:
    if data["environment"] != _environment() or data["records"] != records_of(root):
        return False
    if any(signature(path) != expected for path, expected in data["looked"].items()):
        return False
    return all(_is_as_it_was(root, *each) for each in data["containers"])


def _is_as_it_was(root: str, id: str, spec: Signature, state: Signature) -> bool:
    folder = os.path.join(root, "containers", id)
    if spec is None or signature(os.path.join(folder, "spec.json")) != spec:
        return False
    if state is not None:
        return signature(os.path.join(folder, "state.json")) == state
    with open(os.path.join(folder, "state.json"), "rb") as file:
        if _RUNNING not in file.read(1 << 16):
            return False
    return _is_looked_after(os.path.join(folder, "lock"))


def _is_looked_after(path: str) -> bool:
    """Say whether somebody holds a lock: the supervisor of a container that runs."""
    import fcntl

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _read(path: str) -> bytes:
    """Return the bytes of a regular file that is our own."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(fd, "rb") as file:
        state = os.fstat(fd)
        if state.st_mode & _S_IFMT != 0o100000 or state.st_uid != os.geteuid():
            raise ValueError(path)
        return file.read(state.st_size)
