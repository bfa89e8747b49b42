"""Limits that go together, and those that this machine can keep.

moby daemon/daemon_unix.go, `verifyPlatformContainerResources`: what contradicts itself is refused,
and what cannot be kept is told and discarded when the container is made.
"""

from __future__ import annotations

from typing import Any

from buildkit_py.core.data import replace
from buildkit_py.core.errors import InputError
from buildkit_py.runtime.host import Host
from buildkit_py.runtime.kernel import cgroup_layout, cgroup_limits
from buildkit_py.runtime.spec import Limits

LEAST_BYTES = 6 << 20
"""No program of ours could start with less: docker's own bound."""


class BadLimit(InputError):
    """about: which one is at fault, `memory`, `swap` or `reservation`"""

    code = "engine/bad-limit"

    def __init__(self, message: str, about: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.about = about


def check(limits: Limits) -> None:
    """Raise BadLimit for what contradicts itself."""
    memory, swap, reservation = limits.memory_bytes, limits.swap_bytes, limits.reservation_bytes
    if 0 < memory < LEAST_BYTES:
        raise BadLimit("a limit of memory is 6 MiB at the least", "memory")
    if swap > 0 and not memory:
        raise BadLimit(
            "a limit of memory and swap needs a limit of memory", "swap", "set that of memory, too"
        )
    if memory and 0 < swap < memory:
        raise BadLimit(
            "the limit of memory and swap together is below that of memory",
            "swap",
            "it counts both: equal ones leave no swap",
        )
    if 0 < reservation < LEAST_BYTES:
        raise BadLimit("a reservation of memory is 6 MiB at the least", "reservation")
    if memory and reservation > memory:
        raise BadLimit("the reservation of memory is above its limit", "reservation")


_NOTHING: dict[str, dict[str, Any]] = {
    "memory": {"memory_bytes": 0, "swap_bytes": 0, "reservation_bytes": 0},
    "cpu": {"cpus": 0.0, "cpu_shares": 0},
    "cpuset": {"cpuset_cpus": ""},
    "pids": {"pids": 0},
}
"""What the fields of a controller are when nothing is limited."""


def kept(limits: Limits, layout: cgroup_layout.Layout | None) -> tuple[Limits, tuple[str, ...]]:
    """Return those limits that this machine keeps, and what is to be told of the others. Pure."""
    said = []
    for controller, what in cgroup_limits.wanted(limits).items():
        if layout is None or not layout.limits(controller):
            anywhere = layout is not None
            said.append(cgroup_limits.unlimited(what, controller, anywhere=anywhere))
            limits = replace(limits, **_NOTHING[controller])
    if limits.swap_bytes > 0 and layout is not None and not layout.counts_swap:
        said.append(cgroup_limits.NO_SWAP)
        limits = replace(limits, swap_bytes=-1)
    return limits, tuple(said)


def hint(host: Host) -> str:
    """Return what to do where limits cannot be kept, "" where we cannot say."""
    if not host.rootless:
        return ""
    if cgroup_layout.gives_to_users():
        return (
            "have a cgroup of your own: put `systemd-run --user --scope -p Delegate=yes` before"
            " the command that makes the containers"
        )
    return "do it as root, or boot with cgroup v2 alone: v1 gives nothing to users"
