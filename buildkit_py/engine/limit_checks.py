"""Limits of memory that go together; moby daemon/daemon_unix.go, `verifyContainerResources`."""

from __future__ import annotations

from buildkit_py.core.errors import InputError
from buildkit_py.runtime.spec import Limits

LEAST_BYTES = 6 << 20
"""No program of ours could start with less: docker's own bound."""


class BadLimit(InputError):
    code = "engine/bad-limit"


def check(limits: Limits) -> None:
    """Raise BadLimit for what contradicts itself."""
    memory, swap, reservation = limits.memory_bytes, limits.swap_bytes, limits.reservation_bytes
    if 0 < memory < LEAST_BYTES:
        raise BadLimit("a limit of memory is 6 MiB at the least")
    if swap > 0 and not memory:
        raise BadLimit(
            "a limit of memory and swap needs a limit of memory", hint="set that of memory, too"
        )
    if memory and 0 < swap < memory:
        raise BadLimit(
            "the limit of memory and swap together is below that of memory",
            hint="it counts both: equal ones leave no swap",
        )
    if 0 < reservation < LEAST_BYTES:
        raise BadLimit("a reservation of memory is 6 MiB at the least")
    if memory and reservation > memory:
        raise BadLimit("the reservation of memory is above its limit")
