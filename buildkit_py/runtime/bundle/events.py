"""`pyruntime events`: what a container uses, again and again, until it ends."""

from __future__ import annotations

import json
import os
import select
import time

from buildkit_py.runtime.bundle.state import Place, State, WrongStatus, cgroup_of, status_of
from buildkit_py.runtime.kernel.oci_cgroup_events import OomWatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def once(root: str, id: str) -> str:
    """Return one line of what a container uses, in the shape of `runc events --stats`."""
    return _line(Place(root, id).read())


def _line(state: State) -> str:
    return _json({"type": "stats", "id": state.id, "data": cgroup_of(state).stats()})


def _json(data: dict[str, Any]) -> str:
    """Return a line as runc prints it, without blanks: scripts look for its text."""
    return json.dumps(data, separators=(",", ":"))


def follow(root: str, id: str, interval_seconds: float, emit: Callable[[str], None]) -> None:
    """Emit a line at once and in each interval, and one whenever memory runs out.

    Returns when the container's first process ends. Raises WrongStatus when it has already.
    """
    place = Place(root, id)
    state = place.read()
    status = status_of(place, state)
    if status not in ("created", "running", "paused"):
        raise WrongStatus(f"container `{id}` is {status}, not running")
    try:
        pidfd = os.pidfd_open(state.pid)
    except ProcessLookupError:
        raise WrongStatus(f"container `{id}` is stopped, not running") from None
    watch = OomWatch(cgroup_of(state))
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if watch.fd >= 0:
            poll.register(watch.fd, watch.events)
        due = time.monotonic()
        while True:
            left = due - time.monotonic()
            ready = dict(poll.poll(max(0, left) * 1000))
            for _ in range(watch.happened() if watch.fd in ready else 0):
                # A cgroup of v1 that goes says this, too.
                if cgroup_of(state).exists():
                    emit(_json({"type": "oom", "id": id}))
            if pidfd in ready:
                return
            if time.monotonic() >= due:
                emit(_line(state))
                due = time.monotonic() + interval_seconds
    finally:
        watch.close()
        os.close(pidfd)
