"""Volumes and directories that a container needs before it starts."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from contextlib import ExitStack

from buildkit_py.core.errors import HostError, InputError
from buildkit_py.engine.mounts import VolumeRequest
from buildkit_py.runtime.kernel.paths import open_beneath, open_directory_beneath
from buildkit_py.runtime.spec import Bind, MountSpec
from buildkit_py.store.copying import copy_tree
from buildkit_py.store.store import Store
from buildkit_py.store.trees import remove_tree


class NoVolume(HostError):
    """A directory to be mounted cannot be had."""

    code = "engine/no-volume"


class DuplicateMount(InputError):
    code = "engine/duplicate-mount"


class BadWorkdir(InputError):
    code = "engine/bad-workdir"


def check_targets(mounts: Sequence[MountSpec]) -> None:
    """Raise DuplicateMount when two mounts have one place."""
    seen = set()
    for mount in mounts:
        if mount.target in seen:
            raise DuplicateMount(f"duplicate mount point: {mount.target}")
        seen.add(mount.target)


def bind_of(store: Store, request: VolumeRequest, root: int, stack: ExitStack) -> Bind:
    """Return the bind of one volume; its directory is made where it is missing.

    root: descriptor of the image's file system, which fills an empty volume
    stack: gets what removes an anonymous volume
    """
    match request.kind:
        case "bind":
            source = request.source
            if not os.path.lexists(source):
                _make(source)
        case "volume":
            source = os.path.join(store.root, "volumes", request.source, "_data")
            with store.session.lock("volumes"):
                _make(source)
                if request.copy and not os.listdir(source):
                    fill(root, request.target, source)
        case _:
            source = store.session.temporary("volume-")
            stack.callback(remove_tree, source)
            _make(source)
            fill(root, request.target, source)
    return Bind(source, request.target, read_only=request.read_only)


def _make(path: str) -> None:
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
    except OSError as error:
        raise NoVolume(f"cannot make `{path}`: {error.strerror}") from None


def fill(root: int, target: str, directory: str) -> None:
    """Copy what the image has at `target` into an empty volume, with owner and mode."""
    try:
        fd = open_beneath(root, target, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise NoVolume(f"cannot read `{target}` of the image: {error.strerror}") from None
    try:
        copy_tree(f"/proc/self/fd/{fd}/.", directory)
    finally:
        os.close(fd)


def make_workdir(root: int, cwd: str, mounts: Sequence[MountSpec]) -> None:
    """Make the working directory where it is missing, as docker does, root's own.

    Beneath a writable mount it is made in there. Raises BadWorkdir, for a file in its way, say.
    """
    inner = [each for each in mounts if _is_below(cwd, each.target)]
    nearest = max(inner, key=lambda each: len(each.target), default=None)
    try:
        if nearest is None:
            fd, _ = open_directory_beneath(root, cwd)
            os.close(fd)
        elif isinstance(nearest, Bind) and not nearest.read_only and os.path.isdir(nearest.source):
            base = os.open(nearest.source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fd, _ = open_directory_beneath(base, posixpath.relpath(cwd, nearest.target))
                os.close(fd)
            finally:
                os.close(base)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BadWorkdir(f"cannot make the working directory `{cwd}`: {why}") from None


def _is_below(path: str, parent: str) -> bool:
    return path == parent or path.startswith(f"{parent}/")
