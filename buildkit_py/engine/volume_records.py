"""Volumes: ROOT/volumes/NAME with `_data` and, beside it, what is known of the volume."""

from __future__ import annotations

import os
from collections.abc import Mapping

from buildkit_py.core.data import dataclass, field
from buildkit_py.core.errors import InputError
from buildkit_py.engine import coding, containers
from buildkit_py.engine.images import now
from buildkit_py.engine.mounts import check_volume_name
from buildkit_py.store.store import Store
from buildkit_py.store.trees import remove_tree


class UnknownVolume(InputError):
    code = "engine/unknown-volume"


class VolumeInUse(InputError):
    code = "engine/volume-in-use"


@dataclass(frozen=True, slots=True)
class Volume:
    """created: RFC 3339; anonymous: goes with its container"""

    name: str
    created: str
    labels: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False

    def path(self, root: str) -> str:
        """Return the directory with the volume's files."""
        return os.path.join(_directory(root, self.name), "_data")


def _directory(root: str, name: str) -> str:
    return os.path.join(root, "volumes", name)


def ensure(store: Store, name: str, *, labels: Mapping[str, str] | None = None) -> Volume:
    """Return the volume; made, empty, where it is missing. An existing one is not changed.

    Raises BadVolume for what is no name: it becomes a part of a path.
    """
    check_volume_name(name)
    path = os.path.join(_directory(store.root, name), "volume.json")
    os.makedirs(os.path.join(store.root, "volumes"), mode=0o711, exist_ok=True)
    with store.session.lock("volumes"):
        if not os.path.exists(path):
            os.makedirs(_directory(store.root, name), mode=0o711, exist_ok=True)
            volume = Volume(name, now(), dict(labels or {}))
            store.session.replace(path, coding.to_bytes(volume))
        os.makedirs(os.path.join(_directory(store.root, name), "_data"), mode=0o755, exist_ok=True)
    return read(store.root, name)


PENDING = "pending"
"""In a volume without a name, until its container has its place: the container's id."""


def stage(folder: str, name: str, container: str) -> str:
    """Begin a volume without a name in a folder of a session; return the directory for its files.

    Moved to its place before its container is; `settle` follows, or `sweep`, if a crash came.
    """
    data = os.path.join(folder, name, "_data")
    os.makedirs(data, mode=0o755)
    with open(os.path.join(folder, name, "volume.json"), "xb") as file:
        file.write(coding.to_bytes(Volume(name, now(), anonymous=True)))
    with open(os.path.join(folder, name, PENDING), "x", encoding="ascii") as file:
        file.write(container)
    return data


def place(root: str, folder: str, name: str) -> None:
    """Move a staged volume to its place; the lock of names is held."""
    os.makedirs(os.path.join(root, "volumes"), mode=0o711, exist_ok=True)
    os.rename(os.path.join(folder, name), _directory(root, name))


def settle(root: str, name: str) -> None:
    """Let a volume stay: its container has its place."""
    os.unlink(os.path.join(_directory(root, name), PENDING))


def sweep(store: Store) -> None:
    """Remove volumes whose container never came to be, because its maker was killed."""
    base = os.path.join(store.root, "volumes")
    try:
        names = [name for name in os.listdir(base) if len(name) == 64]
    except FileNotFoundError:
        return
    pending = [name for name in names if os.path.exists(os.path.join(base, name, PENDING))]
    if not pending:
        return
    with store.session.lock("containers"):
        for name in pending:
            try:
                with open(os.path.join(base, name, PENDING), encoding="ascii") as file:
                    container = file.read()
            except FileNotFoundError:
                continue  # settled meanwhile
            if os.path.isdir(containers.directory_of(store.root, container)):
                settle(store.root, name)
            else:
                doomed = store.session.temporary("volume-")
                os.rename(_directory(store.root, name), doomed)
                remove_tree(doomed)


def read(root: str, name: str) -> Volume:
    """Return a volume. Raises UnknownVolume."""
    if not name or "/" in name or name in (".", "..") or "\0" in name:
        raise UnknownVolume(f"no such volume: {name}")
    directory = _directory(root, name)
    try:
        with open(os.path.join(directory, "volume.json"), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        if not os.path.isdir(os.path.join(directory, "_data")):
            raise UnknownVolume(f"no such volume: {name}") from None
        return Volume(name, "")  # made by a container that ran in the foreground
    volume = coding.from_bytes(data, {"Volume": Volume}, f"volume `{name}`")
    assert isinstance(volume, Volume)
    return volume


def list_volumes(root: str) -> list[Volume]:
    """Return all volumes, sorted by name; one that is being made or removed is not among them."""
    try:
        names = sorted(os.listdir(os.path.join(root, "volumes")))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            found.append(read(root, name))
        except UnknownVolume:
            continue
    return found


def users(root: str, name: str) -> list[str]:
    """Return the ids of the containers that a volume belongs to."""
    return [
        known.spec.id
        for known in containers.all_of(root)
        if name in known.spec.volumes or name in known.spec.anonymous
    ]


def remove(store: Store, name: str) -> None:
    """Remove a volume and what is in it. Raises UnknownVolume, VolumeInUse."""
    with store.session.lock("volumes"):
        read(store.root, name)
        used = users(store.root, name)
        if used:
            raise VolumeInUse(f"remove {name}: volume is in use - [{', '.join(used)}]")
        doomed = store.session.temporary("volume-")
        os.rename(_directory(store.root, name), doomed)
    remove_tree(doomed)
