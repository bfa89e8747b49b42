"""The end of a bundle's container, and its pauses: kill, pause, resume, delete."""

from __future__ import annotations

import os
import select
import signal

from buildkit_py.core.errors import BuildkitError
from buildkit_py.oci.runtime_config_reader import read
from buildkit_py.runtime.bundle import hooks
from buildkit_py.runtime.bundle.state import (
    DamagedState,
    NotRunning,
    Place,
    State,
    WrongStatus,
    cgroup_of,
    for_others,
    is_alive,
    status_of,
)
from buildkit_py.runtime.kernel.oci_cgroups import thaw_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.oci.runtime_config import Config

_PATIENCE_SECONDS = 10.0


def kill(root: str, id: str, number: int, *, all_: bool = False) -> None:
    """Send a signal to the first process, or to all. Raises NotRunning for a stopped one.

    SIGKILL reaches all where no process namespace ends with the first, also when that is gone.
    """
    place = Place(root, id)
    state = place.read()
    cgroup = cgroup_of(state)
    if number == signal.SIGKILL and cgroup.places and not all_:
        all_ = _shares_processes(place) and bool(cgroup.pids(recursive=True))
    if all_ and cgroup.places:
        cgroup.kill_all(number)
        return
    if status_of(place, state) not in ("created", "running", "paused"):
        raise NotRunning(id)
    _signal(state, number)
    if number == signal.SIGKILL:
        _thaw(state)


def _shares_processes(place: Place) -> bool:
    try:
        own = read(place.config()).linux.namespace("pid")
    except FileNotFoundError:  # killed before there was one
        return False
    return own is None or bool(own.path)


def pause(root: str, id: str) -> None:
    place = Place(root, id)
    state = place.read()
    if status_of(place, state) not in ("created", "running"):
        raise NotRunning(id)
    cgroup_of(state).freeze()


def resume(root: str, id: str) -> None:
    place = Place(root, id)
    state = place.read()
    if status_of(place, state) != "paused":
        raise WrongStatus(f"container `{id}` is not paused")
    cgroup_of(state).thaw()


def delete(root: str, id: str, *, force: bool = False) -> list[str]:
    """Remove what is left of a container; return warnings.

    force: kill it first, and be content with none
    A container that was created and never started is removed, too, as runc and crun do it.
    """
    place = Place(root, id)
    try:
        state = place.read()
    except DamagedState:
        if not force:
            raise
        from buildkit_py.runtime.bundle.damage import remove_damaged

        return remove_damaged(place)
    except BuildkitError:
        if force:
            return []
        raise
    status = status_of(place, state)
    if status == "creating" and not force:
        raise WrongStatus(f"container `{id}` is being created")
    if status in ("running", "paused") and not force:
        raise WrongStatus(f"container `{id}` is {status}; stop it first, or use `--force`")
    if status != "stopped":
        _end(state)
    cgroup = cgroup_of(state)
    cgroup.kill_all()
    cgroup.delete()
    warnings: list[str] = []
    try:
        config = read(place.config())
        leave_resctrl(config, id)
        told = for_others(place, state, status="stopped")
        warnings += hooks.run_each("poststop", config.hooks.poststop, told)
    except FileNotFoundError:
        pass  # killed before there was one
    place.remove()
    return warnings


def _end(state: State) -> None:
    """Kill the first process, and wait until it is dead."""
    if not is_alive(state):
        return
    try:
        pidfd = os.pidfd_open(state.pid)
    except ProcessLookupError:
        return
    try:
        if is_alive(state):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            _thaw(state)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            poll.poll(_PATIENCE_SECONDS * 1000)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def _thaw(state: State) -> None:
    """Thaw what was killed, wherever it was frozen: by v1 it does not even die before."""
    cgroup = cgroup_of(state)
    if cgroup.is_frozen():
        cgroup.thaw()
    thaw_process(state.pid)


def _signal(state: State, number: int) -> None:
    try:
        pidfd = os.pidfd_open(state.pid)
    except ProcessLookupError:
        raise NotRunning(state.id) from None
    try:
        if not is_alive(state):
            raise NotRunning(state.id)
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        raise NotRunning(state.id) from None
    finally:
        os.close(pidfd)


def leave_resctrl(config: Config, id: str) -> None:
    """Remove the container's groups of resctrl, where it has some."""
    if config.linux.intel_rdt is not None:
        from buildkit_py.runtime.bundle import resctrl

        resctrl.Group(config.linux.intel_rdt, id).remove()
