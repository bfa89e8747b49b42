"""Limits of config.json for cgroup v1: a table from `Resources` to writes, pure.

Zero is "not said" where no kernel could take it, as runc and crun have it: engines send zeros.
Kernel memory is a no-op: no kernel since 5.16 counts it apart.
"""

from __future__ import annotations

from buildkit_py.runtime.kernel.oci_resources import Row, idle_and_places, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.oci.runtime_config import BlockIo, Cpu, Memory, Resources
    from buildkit_py.runtime.kernel.oci_resources import Has


def rows(resources: Resources, has: Has, *, memsw: int | None = None) -> Iterator[Row]:
    """Yield what to write, in an order in which the kernel takes it. Pure.

    memsw: the limit of memory and swap together that stands now, None for no limit
    """
    yield from _memory(resources.memory, memsw)
    yield from _cpu(resources.cpu)
    if resources.pids is not None:
        yield Row("pids.max", number(resources.pids or 1), "pids.limit")
    yield from _block_io(resources.block_io, has)
    for size, limit in resources.huge_pages:
        yield Row(f"hugetlb.{size}.limit_in_bytes", str(limit), "hugepageLimits")
        yield Row(f"hugetlb.{size}.rsvd.limit_in_bytes", str(limit), "hugepageLimits", "ignore")
    if resources.class_id is not None:
        yield Row("net_cls.classid", str(resources.class_id), "network.classID")
    for interface, priority in resources.priorities:
        yield Row("net_prio.ifpriomap", f"{interface} {priority}", "network.priorities")
    for device, limits in sorted(resources.rdma.items()):
        words = [device]
        if limits.handles is not None:
            words.append(f"hca_handle={limits.handles}")
        if limits.objects is not None:
            words.append(f"hca_object={limits.objects}")
        yield Row("rdma.max", " ".join(words), "rdma")


def _memory(memory: Memory, memsw: int | None) -> Iterator[Row]:
    swap = memory.swap
    if memory.limit == -1 and not swap:
        swap = -1  # memory without limit and a limit on both together cannot be
    limit_row = swap_row = None
    if memory.limit:
        limit_row = Row("memory.limit_in_bytes", str(memory.limit), "memory.limit")
    if swap:
        swap_row = Row(
            "memory.memsw.limit_in_bytes",
            str(swap),
            "memory.swap",
            "ignore" if swap < 0 else "warn",
        )
    # The kernel keeps memory <= both at every moment: who raises starts with both, who lowers
    # with memory.
    raises = memsw is not None and swap is not None and (swap < 0 or swap > memsw)
    for row in (swap_row, limit_row) if raises else (limit_row, swap_row):
        if row is not None:
            yield row
    if memory.reservation:
        reservation = str(memory.reservation)
        yield Row("memory.soft_limit_in_bytes", reservation, "memory.reservation", "warn")
    if memory.kernel_tcp:
        yield Row(
            "memory.kmem.tcp.limit_in_bytes", str(memory.kernel_tcp), "memory.kernelTCP", "ignore"
        )
    if memory.swappiness is not None:
        yield Row("memory.swappiness", str(memory.swappiness), "memory.swappiness", "warn")
    if memory.use_hierarchy:
        yield Row("memory.use_hierarchy", "1", "memory.useHierarchy", "ignore")
    if memory.disable_oom_killer is not None:
        text = str(int(memory.disable_oom_killer))
        yield Row("memory.oom_control", text, "memory.disableOOMKiller", "warn")


def _cpu(cpu: Cpu) -> Iterator[Row]:
    if cpu.idle == 0:
        yield Row("cpu.idle", "0", "cpu.idle", "ignore")
    if cpu.shares:
        yield Row("cpu.shares", str(cpu.shares), "cpu.shares")
    if cpu.period:
        yield Row("cpu.cfs_period_us", str(cpu.period), "cpu.period")
    if cpu.quota:
        yield Row("cpu.cfs_quota_us", str(cpu.quota), "cpu.quota")
    if cpu.burst is not None:
        yield Row("cpu.cfs_burst_us", str(cpu.burst), "cpu.burst", "warn")
    if cpu.realtime_period:
        yield Row("cpu.rt_period_us", str(cpu.realtime_period), "cpu.realtimePeriod")
    if cpu.realtime_runtime:
        yield Row("cpu.rt_runtime_us", str(cpu.realtime_runtime), "cpu.realtimeRuntime")
    yield from idle_and_places(cpu)


def _block_io(block_io: BlockIo, has: Has) -> Iterator[Row]:
    # The scheduler is CFQ up to Linux 4.20 and BFQ afterwards; each has names of its own.
    kind = "blkio.bfq" if has("blkio.bfq.weight") else "blkio"
    if block_io.weight:
        yield Row(f"{kind}.weight", str(block_io.weight), "blockIO.weight")
    if block_io.leaf_weight:
        yield Row("blkio.leaf_weight", str(block_io.leaf_weight), "blockIO.leafWeight", "warn")
    for each in block_io.weight_devices:
        device = f"{each.major}:{each.minor}"
        if each.weight:
            yield Row(f"{kind}.weight_device", f"{device} {each.weight}", "blockIO.weightDevice")
        if each.leaf_weight:
            text = f"{device} {each.leaf_weight}"
            yield Row("blkio.leaf_weight_device", text, "blockIO.weightDevice", "warn")
    for name, setting, devices in (
        ("read_bps", "throttleReadBpsDevice", block_io.read_bps),
        ("write_bps", "throttleWriteBpsDevice", block_io.write_bps),
        ("read_iops", "throttleReadIOPSDevice", block_io.read_iops),
        ("write_iops", "throttleWriteIOPSDevice", block_io.write_iops),
    ):
        for limit in devices:
            text = f"{limit.major}:{limit.minor} {limit.rate}"
            yield Row(f"blkio.throttle.{name}_device", text, f"blockIO.{setting}")
