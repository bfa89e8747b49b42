"""What a container used: the numbers of its cgroups in the shape of `runc events --stats`.

Bytes, nanoseconds and counts. A number that this kernel does not keep is 0, no limit is the
kernel's own largest number; opencontainers/runc types/events.go has the names.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Read = Callable[[str, str], str]
    """Read a controller's file, "" when there is none; the controller is "" for cgroup2."""

_NO_LIMIT = 2**64 - 1
_CPUSET_FLAGS = (
    "cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
    "memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level",
)  # fmt: skip


def stats(read: Read, v1: frozenset[str], names: list[str]) -> dict[str, Any]:
    """Return the object that is `data` in an event of type `stats`.

    v1: controllers that v1 hierarchies have; all others are asked of cgroup2
    names: files of the container's directories, to find sizes of huge pages
    """
    cpu = _cpu_v1(read) if v1 & {"cpu", "cpuacct"} else _cpu_v2(read)
    memory = _memory_v1(read) if "memory" in v1 else _memory_v2(read)
    block_io = _block_io_v1(read) if "blkio" in v1 else _block_io_v2(read)
    for data, file in ((cpu, "cpu"), (memory, "memory"), (block_io, "io")):
        if pressure := _pressure(read("", f"{file}.pressure")):
            data["psi"] = pressure
    return {
        "cpu": cpu,
        "cpuset": _cpuset(read, "cpuset" if "cpuset" in v1 else ""),
        "memory": memory,
        "pids": _pids(read, "pids" if "pids" in v1 else ""),
        "blkio": block_io,
        "hugetlb": _huge_pages(read, names),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def number(text: str) -> int:
    """Return a file's number; "" is 0."""
    word = text.strip()
    return _NO_LIMIT if word == "max" else int(word) if word.lstrip("-").isdigit() else 0


def table(text: str) -> dict[str, int]:
    """Return lines of `key number`."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: number(pair[1]) for pair in pairs if len(pair) == 2}


def oom_kills(read: Read, *, is_v1: bool) -> int:
    """Return how often the kernel killed for want of memory in here."""
    text = read("memory", "memory.oom_control") if is_v1 else read("", "memory.events")
    return table(text).get("oom_kill", 0)


def _cpu_v2(read: Read) -> dict[str, Any]:
    counts = table(read("", "cpu.stat"))
    return {
        "usage": {
            "total": counts.get("usage_usec", 0) * 1000,
            "kernel": counts.get("system_usec", 0) * 1000,
            "user": counts.get("user_usec", 0) * 1000,
        },
        "throttling": {
            "periods": counts.get("nr_periods", 0),
            "throttledPeriods": counts.get("nr_throttled", 0),
            "throttledTime": counts.get("throttled_usec", 0) * 1000,
        },
    }


def _cpu_v1(read: Read) -> dict[str, Any]:
    counts = table(read("cpu", "cpu.stat"))
    ticks = table(read("cpuacct", "cpuacct.stat"))
    tick_ns = 10**9 // os.sysconf("SC_CLK_TCK")
    # A head line, then a processor a line: its number, nanoseconds for programs, for the kernel.
    lines = [line.split() for line in read("cpuacct", "cpuacct.usage_all").splitlines()[1:]]
    return {
        "usage": {
            "total": number(read("cpuacct", "cpuacct.usage")),
            "percpu": [int(word) for word in read("cpuacct", "cpuacct.usage_percpu").split()],
            "percpu_kernel": [int(line[2]) for line in lines if len(line) == 3],
            "percpu_user": [int(line[1]) for line in lines if len(line) == 3],
            "kernel": ticks.get("system", 0) * tick_ns,
            "user": ticks.get("user", 0) * tick_ns,
        },
        "throttling": {
            "periods": counts.get("nr_periods", 0),
            "throttledPeriods": counts.get("nr_throttled", 0),
            "throttledTime": counts.get("throttled_time", 0),
        },
    }


def _cpuset(read: Read, controller: str) -> dict[str, Any]:
    effective = "" if controller else ".effective"
    data: dict[str, Any] = {
        "cpus": _numbers(read(controller, f"cpuset.cpus{effective}")),
        "mems": _numbers(read(controller, f"cpuset.mems{effective}")),
    }
    for flag in _CPUSET_FLAGS:
        data[flag] = number(read(controller, f"cpuset.{flag}")) if controller else 0
    return data


def _numbers(text: str) -> list[int]:
    """Return `0-2,5` as numbers."""
    found: list[int] = []
    for word in text.strip().split(","):
        first, _, last = word.partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return found


def _memory_v2(read: Read) -> dict[str, Any]:
    raw = table(read("", "memory.stat"))
    events = table(read("", "memory.events"))
    swap_events = table(read("", "memory.swap.events"))
    usage = _entry(read, "memory.max", "memory.current", "memory.peak")
    usage["failcnt"] = events.get("max", 0)
    # Together, as v1 counts and as the limit of config.json is written.
    swap = _entry(read, "memory.swap.max", "memory.swap.current", "memory.swap.peak")
    swap["limit"] = min(swap["limit"] + usage["limit"], _NO_LIMIT)
    swap["usage"] += usage["usage"]
    swap["failcnt"] = swap_events.get("max", 0)
    return {
        "cache": raw.get("file", 0),
        "usage": usage,
        "swap": swap,
        "kernel": {"limit": 0, "usage": raw.get("kernel", 0), "max": 0, "failcnt": 0},
        "kernelTCP": {"limit": 0, "usage": raw.get("sock", 0), "max": 0, "failcnt": 0},
        "raw": raw,
    }


def _entry(read: Read, limit: str, usage: str, peak: str) -> dict[str, int]:
    return {
        "limit": number(read("", limit)),
        "usage": number(read("", usage)),
        "max": number(read("", peak)),
        "failcnt": 0,
    }


def _memory_v1(read: Read) -> dict[str, Any]:
    raw = table(read("memory", "memory.stat"))
    data: dict[str, Any] = {"cache": raw.get("cache", 0), "raw": raw}
    for name, prefix in (
        ("usage", "memory"), ("swap", "memory.memsw"), ("kernel", "memory.kmem"),
        ("kernelTCP", "memory.kmem.tcp"),
    ):  # fmt: skip
        data[name] = {
            "limit": number(read("memory", f"{prefix}.limit_in_bytes")),
            "usage": number(read("memory", f"{prefix}.usage_in_bytes")),
            "max": number(read("memory", f"{prefix}.max_usage_in_bytes")),
            "failcnt": number(read("memory", f"{prefix}.failcnt")),
        }
    return data


def _pids(read: Read, controller: str) -> dict[str, int]:
    limit = read(controller, "pids.max").strip()
    current = number(read(controller, "pids.current"))
    return {"current": current, "limit": 0 if limit == "max" else number(limit)}


def _block_io_v1(read: Read) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, file in (
        ("ioServiceBytesRecursive", "io_service_bytes"),
        ("ioServicedRecursive", "io_serviced"),
    ):
        text = ""
        # The throttling layer counts whatever the scheduler; the schedulers' counts may be empty.
        for kind in ("blkio.bfq", "blkio.throttle"):
            text = read("blkio", f"{kind}.{file}_recursive")
            if len(text.splitlines()) > 1:
                break
        rows = [line.split() for line in text.splitlines()]
        data[name] = [_io_entry(row[0], row[1], int(row[2])) for row in rows if len(row) == 3]
    return data


def _block_io_v2(read: Read) -> dict[str, Any]:
    sizes, counts = [], []
    for line in read("", "io.stat").splitlines():
        device, *words = line.split()
        for word in words:
            key, _, value = word.partition("=")
            if key in ("rbytes", "wbytes"):
                sizes.append(_io_entry(device, "Read" if key[0] == "r" else "Write", int(value)))
            elif key in ("rios", "wios"):
                counts.append(_io_entry(device, "Read" if key[0] == "r" else "Write", int(value)))
    return {"ioServiceBytesRecursive": sizes, "ioServicedRecursive": counts}


def _io_entry(device: str, op: str, value: int) -> dict[str, Any]:
    major, _, minor = device.partition(":")
    return {"major": int(major), "minor": int(minor), "op": op, "value": value}


def _huge_pages(read: Read, names: list[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name in sorted(names):
        kind, _, rest = name.partition(".")
        size, _, file = rest.partition(".")
        if kind == "hugetlb" and file == "usage_in_bytes":
            found[size] = {
                "usage": number(read("hugetlb", name)),
                "max": number(read("hugetlb", f"hugetlb.{size}.max_usage_in_bytes")),
                "failcnt": number(read("hugetlb", f"hugetlb.{size}.failcnt")),
            }
        elif kind == "hugetlb" and file == "current":
            events = table(read("", f"hugetlb.{size}.events"))
            usage = number(read("", name))
            found[size] = {"usage": usage, "max": 0, "failcnt": events.get("max", 0)}
    return found


def _pressure(text: str) -> dict[str, dict[str, float | int]]:
    """Return lines of `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`."""
    data: dict[str, dict[str, float | int]] = {}
    for line in text.splitlines():
        kind, *words = line.split()
        pairs = (word.partition("=") for word in words)
        data[kind] = {key: int(v) if key == "total" else float(v) for key, _, v in pairs}
    return data
