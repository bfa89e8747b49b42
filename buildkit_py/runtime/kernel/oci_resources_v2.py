"""Limits of config.json for cgroup2: a table from `Resources` to writes, pure.

Names and units: Documentation/admin-guide/cgroup-v2.rst. Zero is "not said" where no kernel could
take it, as runc and crun have it: engines send zeros.
"""

from __future__ import annotations

from buildkit_py.runtime.kernel.cgroup_limits import weight_of_shares
from buildkit_py.runtime.kernel.oci_resources import BadResource, Row, idle_and_places, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.oci.runtime_config import BlockIo, Cpu, Memory, Resources
    from buildkit_py.runtime.kernel.oci_resources import Has


def rows(resources: Resources, has: Has) -> Iterator[Row]:
    """Yield what to write, `unified` last and as it stands. Pure. Raises BadResource."""
    yield from _memory(resources.memory)
    yield from _cpu(resources.cpu)
    if resources.pids is not None:
        yield Row("pids.max", number(resources.pids or 1), "pids.limit")
    yield from _block_io(resources.block_io, has)
    for size, limit in resources.huge_pages:
        yield Row(f"hugetlb.{size}.max", number(limit), "hugepageLimits")
        yield Row(f"hugetlb.{size}.rsvd.max", number(limit), "hugepageLimits", "ignore")
    for device, limits in sorted(resources.rdma.items()):
        words = [device]
        if limits.handles is not None:
            words.append(f"hca_handle={limits.handles}")
        if limits.objects is not None:
            words.append(f"hca_object={limits.objects}")
        yield Row("rdma.max", " ".join(words), "rdma")
    yield from unified(resources)


def unified(resources: Resources) -> Iterator[Row]:
    """Yield the files named by hand. The kernel takes one line at a time."""
    for file, text in sorted(resources.unified.items()):
        for line in text.splitlines() or [""]:
            yield Row(file, line, f"unified.{file}")


def unknown(resources: Resources) -> list[str]:
    """Return the settings that are made and mean nothing to cgroup2. Pure."""
    memory, block_io = resources.memory, resources.block_io
    leaves = block_io.leaf_weight or any(each.leaf_weight for each in block_io.weight_devices)
    asked = {
        "memory.swappiness": memory.swappiness is not None,
        "memory.disableOOMKiller": bool(memory.disable_oom_killer),
        "cpu.realtimeRuntime": bool(resources.cpu.realtime_runtime),
        "cpu.realtimePeriod": bool(resources.cpu.realtime_period),
        "blockIO.leafWeight": bool(leaves),
        "network.classID": bool(resources.class_id),
        "network.priorities": bool(resources.priorities),
    }
    return [name for name, is_asked in asked.items() if is_asked]


def io_weight(weight: int) -> int:
    """Turn a weight of 10..1000, as v1 has it, into io.weight's 1..10000."""
    return 1 + (weight - 10) * 9999 // 990 if weight > 10 else 1


def _memory(memory: Memory) -> Iterator[Row]:
    if memory.limit:
        yield Row("memory.max", number(memory.limit), "memory.limit")
    if memory.swap or (memory.limit == -1 and memory.swap is None):
        swap = _swap(memory)
        yield Row(
            "memory.swap.max", swap, "memory.swap", "ignore" if swap in ("0", "max") else "warn"
        )
    if memory.reservation:
        yield Row("memory.low", number(memory.reservation), "memory.reservation")


def _swap(memory: Memory) -> str:
    """Return what is swap alone: config.json counts memory and swap together."""
    if memory.swap is None or memory.swap < 0:
        return "max"
    if memory.limit is None or memory.limit <= 0:
        raise BadResource("`memory.swap` needs `memory.limit`: it counts both together")
    return str(memory.swap - memory.limit)


def _cpu(cpu: Cpu) -> Iterator[Row]:
    # An idle cgroup has no weight: it must be woken first, and put to sleep last.
    if cpu.idle == 0:
        yield Row("cpu.idle", "0", "cpu.idle", "ignore")
    if cpu.shares and not cpu.idle:
        yield Row("cpu.weight", str(weight_of_shares(cpu.shares)), "cpu.shares")
    if cpu.quota or cpu.period:
        # Without a second number the period stays.
        quota = number(cpu.quota or -1)
        text = f"{quota} {cpu.period}" if cpu.period else quota
        yield Row("cpu.max", text, "cpu.quota" if cpu.quota else "cpu.period")
    if cpu.burst is not None:
        yield Row("cpu.max.burst", str(cpu.burst), "cpu.burst", "warn")
    yield from idle_and_places(cpu)


def _block_io(block_io: BlockIo, has: Has) -> Iterator[Row]:
    # BFQ's weights are v1's; io.weight is of the io cost model.
    is_bfq = has("io.bfq.weight")
    file = "io.bfq.weight" if is_bfq else "io.weight"
    if block_io.weight:
        weight = block_io.weight if is_bfq else io_weight(block_io.weight)
        yield Row(file, str(weight), "blockIO.weight")
    for each in block_io.weight_devices:
        if each.weight:
            weight = each.weight if is_bfq else io_weight(each.weight)
            text = f"{each.major}:{each.minor} {weight}"
            yield Row(file, text, "blockIO.weightDevice")
    for word, setting, devices in (
        ("rbps", "throttleReadBpsDevice", block_io.read_bps),
        ("wbps", "throttleWriteBpsDevice", block_io.write_bps),
        ("riops", "throttleReadIOPSDevice", block_io.read_iops),
        ("wiops", "throttleWriteIOPSDevice", block_io.write_iops),
    ):
        for limit in devices:
            # 0 lifts a limit on v1; here the word for that is `max`.
            rate = str(limit.rate) if limit.rate > 0 else "max"
            text = f"{limit.major}:{limit.minor} {word}={rate}"
            yield Row("io.max", text, f"blockIO.{setting}")
