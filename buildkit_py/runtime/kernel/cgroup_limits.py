"""Limits as the files of cgroups have them, and as people read of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from buildkit_py.runtime.spec import Limits

NO_SWAP = "swap cannot be limited: the kernel does not count it"
NO_RESERVATION = "memory cannot be reserved: the kernel lacks it"
_PERIOD_US = 100_000


def wanted(limits: Limits) -> dict[str, str]:
    """Return controller -> words for people, of the limits that were asked for."""
    found: dict[str, str] = {}
    if limits.memory_bytes or limits.swap_bytes > 0 or limits.reservation_bytes:
        found["memory"] = "memory"
    if limits.cpus or limits.cpu_shares:
        found["cpu"] = "processor time"
    if limits.cpuset_cpus:
        found["cpuset"] = "the set of processors"
    if limits.pids > 0:
        found["pids"] = "the number of processes"
    return found


def unlimited(what: str, controller: str, *, anywhere: bool) -> str:
    """Return what is said of a limit that cannot be set. anywhere: other limits can be."""
    if anywhere:
        return f"{what} cannot be limited: no cgroup of `{controller}`"
    return f"{what} cannot be limited here"


def v2_settings(limits: Limits) -> Iterator[tuple[str, str]]:
    """Yield (file, text) for cgroup2. Pure. Without a swap limit docker allows as much again."""
    if limits.memory_bytes:
        yield "memory.max", str(limits.memory_bytes)
        swap = limits.swap_bytes
        if swap >= 0:
            yield (
                "memory.swap.max",
                str(swap - limits.memory_bytes if swap else limits.memory_bytes),
            )
        else:
            yield "memory.swap.max", "max"
    if limits.reservation_bytes:
        yield "memory.low", str(limits.reservation_bytes)
    if limits.cpus:
        yield "cpu.max", f"{round(limits.cpus * _PERIOD_US)} {_PERIOD_US}"
    if limits.cpu_shares:
        yield "cpu.weight", str(weight_of_shares(limits.cpu_shares))
    if limits.cpuset_cpus:
        yield "cpuset.cpus", limits.cpuset_cpus
    if limits.pids:
        yield "pids.max", str(limits.pids) if limits.pids > 0 else "max"


def v1_settings(limits: Limits) -> list[tuple[str, str]]:
    """Return (file, text) for v1, in an order in which the kernel takes them. Pure."""
    rows: list[tuple[str, str]] = []
    if limits.memory_bytes:
        rows.append(("memory.limit_in_bytes", str(limits.memory_bytes)))
        swap = limits.swap_bytes or 2 * limits.memory_bytes
        rows.append(("memory.memsw.limit_in_bytes", str(swap)))
    if limits.reservation_bytes:
        rows.append(("memory.soft_limit_in_bytes", str(limits.reservation_bytes)))
    if limits.cpus:
        rows.append(("cpu.cfs_period_us", str(_PERIOD_US)))
        rows.append(("cpu.cfs_quota_us", str(round(limits.cpus * _PERIOD_US))))
    if limits.cpu_shares:
        rows.append(("cpu.shares", str(limits.cpu_shares)))
    if limits.cpuset_cpus:
        rows.append(("cpuset.cpus", limits.cpuset_cpus))
    if limits.pids:
        rows.append(("pids.max", str(limits.pids) if limits.pids > 0 else "max"))
    return rows


def weight_of_shares(shares: int) -> int:
    """Turn v1's cpu.shares (2..262144) into v2's cpu.weight, as runc 1.4 and crun 1.23 do."""
    log = math.log2(min(max(shares, 2), 262144))
    return min(max(math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34)), 1), 10000)
