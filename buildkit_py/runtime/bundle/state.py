"""Containers of `pyruntime` on disk: one directory for each, written so that a crash shows.

ROOT/ID/config.json   the bundle's, as it was when the container was created
ROOT/ID/state.json    what is known of it, written before anything else is made
ROOT/ID/start         the socket at which its first process waits; gone once it was started
"""

from __future__ import annotations

import json
import os

from buildkit_py.core.data import dataclass, field, replace
from buildkit_py.core.errors import InputError, StateError
from buildkit_py.core.files import Lock
from buildkit_py.runtime.kernel.cgroups import start_time
from buildkit_py.runtime.kernel.oci_cgroups import Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

VERSION = "1.3.0"
"""Of the runtime specification."""

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


class NoContainer(InputError):
    """containerd and podman know it by the words `does not exist`."""

    code = "runtime/no-container"


class ContainerExists(InputError):
    code = "runtime/container-exists"


class DamagedState(StateError):
    """What is on disk of a container cannot be read."""

    code = "runtime/damaged-state"


class WrongStatus(StateError):
    """What was asked for cannot be done in the state that the container is in."""

    code = "runtime/wrong-status"


class NotRunning(WrongStatus):
    """containerd knows it by the words `container not running`."""

    def __init__(self, id: str) -> None:
        super().__init__(f"container not running: `{id}`")


@dataclass(frozen=True, slots=True)
class State:
    """What is written of a container.

    pid: 0 while there is none; born: its start time, by which a number given anew is told
    cgroup: of `Cgroup.to_data`; owner: uid of who made it; created: RFC 3339
    """

    id: str
    bundle: str
    rootfs: str
    pid: int = 0
    born: int = 0
    created: str = ""
    owner: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)
    cgroup: Mapping[str, Any] = field(default_factory=dict)


def check_id(id: str) -> None:
    """Raise InputError for what cannot be a container's id."""
    if not id or id in (".", "..") or not set(id) <= _LETTERS or id[0] == ".":
        raise InputError(
            f"invalid container ID `{id}`: empty, or an invalid character in it",
            code="runtime/bad-id", hint="letters, digits, `_`, `+`, `-` and `.`, not first",
        )  # fmt: skip
    if len(id) > 200:
        raise InputError("a container's id has 200 letters at most", code="runtime/bad-id")


class Place:
    """The directory of one container."""

    def __init__(self, root: str, id: str) -> None:
        check_id(id)
        self.id = id
        self.path = os.path.join(root, id)
        self.socket = os.path.join(self.path, "start")

    def claim(self) -> None:
        """Make the directory. Raises ContainerExists."""
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError:
            raise ContainerExists(f"there is a container `{self.id}` already") from None

    def lock(self) -> Lock:
        """Return the lock of changes to this container, not yet taken."""
        return Lock(os.path.join(self.path, "lock"))

    def write(self, state: State) -> None:
        data = {
            "id": state.id, "bundle": state.bundle, "rootfs": state.rootfs, "pid": state.pid,
            "born": state.born, "created": state.created, "owner": state.owner,
            "annotations": dict(state.annotations), "cgroup": dict(state.cgroup),
        }  # fmt: skip
        part = os.path.join(self.path, "state.part")
        with open(part, "w") as file:
            json.dump(data, file)
        os.rename(part, os.path.join(self.path, "state.json"))

    def keep_config(self, data: bytes) -> None:
        part = os.path.join(self.path, "config.part")
        with open(part, "xb") as file:
            file.write(data)
        os.rename(part, os.path.join(self.path, "config.json"))

    def config(self) -> bytes:
        with open(os.path.join(self.path, "config.json"), "rb") as file:
            return file.read()

    def read(self) -> State:
        """Raises NoContainer, DamagedState."""
        try:
            with open(os.path.join(self.path, "state.json")) as file:
                return State(**json.load(file))
        except FileNotFoundError:
            if os.path.isdir(self.path):  # killed in the first moment
                return State(self.id, "", "")
            raise NoContainer(f"container does not exist: `{self.id}`") from None
        except (ValueError, TypeError):
            raise DamagedState(
                f"the state of container `{self.id}` is damaged", hint="use `delete --force`"
            ) from None

    def remove(self) -> None:
        """Remove the directory, of which nobody but us ever wrote anything: it has no folders."""
        for name in os.listdir(self.path):
            os.unlink(os.path.join(self.path, name))
        os.rmdir(self.path)


def names(root: str) -> list[str]:
    """Return the ids of all containers."""
    try:
        found = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    return [name for name in found if os.path.isdir(os.path.join(root, name))]


def is_alive(state: State) -> bool:
    """Say whether the first process runs: a zombie does not, a number given anew is another's."""
    if not state.pid:
        return False
    try:
        return start_time(state.pid) == state.born
    except (FileNotFoundError, ProcessLookupError):
        return False


def status_of(place: Place, state: State) -> str:
    """Return `creating`, `created`, `running`, `paused` or `stopped`."""
    if not state.pid:
        return "creating" if _is_being_made(place) else "stopped"
    if not is_alive(state):
        return "stopped"
    if os.path.exists(place.socket):
        return "created"
    return "paused" if cgroup_of(state).is_frozen() else "running"


def _is_being_made(place: Place) -> bool:
    """Say whether somebody is at it: who makes a container holds its lock, and SIGKILL frees it."""
    lock = place.lock()
    try:
        if lock.acquire(wait=False):
            lock.release()
            return False
    except FileNotFoundError:  # it goes at this moment
        return False
    return True


def cgroup_of(state: State) -> Cgroup:
    return Cgroup.from_data(dict(state.cgroup)) if state.cgroup else Cgroup(())


def for_others(place: Place, state: State, *, status: str = "") -> bytes:
    """Return the state as the specification words it: for hooks, and `pyruntime state`."""
    status = status or status_of(place, state)
    data: dict[str, Any] = {"ociVersion": VERSION, "id": state.id}
    data |= {"pid": 0 if status == "stopped" else state.pid, "status": status}
    data |= {"bundle": state.bundle, "rootfs": state.rootfs, "created": state.created}
    if state.annotations:
        data["annotations"] = dict(state.annotations)
    data["owner"] = str(state.owner)
    return json.dumps(data, indent=2).encode()


def with_pid(state: State, pid: int) -> State:
    return replace(state, pid=pid, born=start_time(pid))
