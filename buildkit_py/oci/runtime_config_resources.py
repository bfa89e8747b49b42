"""Reading `linux.resources`, the limits of a container: runtime-spec config-linux.md."""

from __future__ import annotations

from buildkit_py.oci.runtime_config import (
    BlockIo,
    Cpu,
    DeviceRule,
    Memory,
    Rdma,
    Resources,
    ThrottleDevice,
    WeightDevice,
)
from buildkit_py.oci.runtime_config_numbers import checked_list
from buildkit_py.oci.runtime_config_section import (
    INT64,
    UINT16,
    UINT32,
    UINT64,
    Section,
    join,
    named,
    quoted,
)

DEVICE_KINDS = ("a", "c", "b")


def resources_of(section: Section) -> Resources:
    """Read limits; faults stay with the section."""
    network = section.part("network")
    return Resources(
        devices=tuple(device_rule(each) for each in section.sections("devices")),
        memory=memory(section.part("memory")),
        cpu=cpu(section.part("cpu")),
        # 0 is a limit, too.
        pids=section.part("pids").number("limit", -1, INT64),
        block_io=block_io(section.part("blockIO")),
        huge_pages=huge_pages(section),
        class_id=network.number("classID", 0, UINT32),
        priorities=tuple(
            (
                each.text("name", required=True),
                each.number("priority", 0, UINT32, required=True) or 0,
            )
            for each in network.sections("priorities")
        ),
        rdma={name: rdma(each) for name, each in section.named_sections("rdma").items()},
        unified=unified(section),
    )


def device_rule(section: Section) -> DeviceRule:
    access = section.text("access")
    if access.strip("rwm"):
        section.fault("access", f"{quoted(access)} is more than letters of `rwm`")
    return DeviceRule(
        allow=bool(section.flag("allow", required=True)),
        type=section.one_of("type", DEVICE_KINDS, "a type of device") or "a",
        major=any_number(section, "major"),
        minor=any_number(section, "minor"),
        access=access or "rwm",
    )


def any_number(section: Section, key: str) -> int | None:
    """Return the number of a device; None, which runc and docker write as -1, is all."""
    number = section.number(key, -1, UINT32)
    return None if number == -1 else number


def memory(section: Section) -> Memory:
    limit, swap = section.number("limit", -1, INT64), section.number("swap", -1, INT64)
    # 0 and less is no limit to compare with.
    if limit and swap and 0 < swap < limit:
        section.fault("swap", f"{swap} is less than `limit`: {limit}; it is of both together")
    return Memory(
        limit=limit,
        reservation=section.number("reservation", -1, INT64),
        swap=swap,
        kernel=section.number("kernel", -1, INT64),
        kernel_tcp=section.number("kernelTCP", -1, INT64),
        swappiness=section.number("swappiness", 0, 100),
        disable_oom_killer=section.flag("disableOOMKiller"),
        use_hierarchy=section.flag("useHierarchy"),
        check_before_update=bool(section.flag("checkBeforeUpdate")),
    )


def cpu(section: Section) -> Cpu:
    quota, burst = section.number("quota", -1, INT64), section.number("burst", 0, UINT64)
    if quota and burst and 0 < quota < burst:
        section.fault("burst", f"{burst} is more than `quota`: {quota}")
    return Cpu(
        shares=section.number("shares", 0, UINT64),
        quota=quota,
        burst=burst,
        period=section.number("period", 0, UINT64),
        realtime_runtime=section.number("realtimeRuntime", -1, INT64),
        realtime_period=section.number("realtimePeriod", 0, UINT64),
        cpus=checked_list(section, "cpus"),
        mems=checked_list(section, "mems"),
        idle=section.number("idle", 0, 1),
    )


def block_io(section: Section) -> BlockIo:
    return BlockIo(
        weight=section.number("weight", 0, UINT16),
        leaf_weight=section.number("leafWeight", 0, UINT16),
        weight_devices=tuple(weight_device(each) for each in section.sections("weightDevice")),
        read_bps=throttles(section, "throttleReadBpsDevice"),
        write_bps=throttles(section, "throttleWriteBpsDevice"),
        read_iops=throttles(section, "throttleReadIOPSDevice"),
        write_iops=throttles(section, "throttleWriteIOPSDevice"),
    )


def weight_device(section: Section) -> WeightDevice:
    if section.value.get("weight") is None and section.value.get("leafWeight") is None:
        section.fault("", "must have `weight`, `leafWeight` or both")
    return WeightDevice(
        major=section.number("major", 0, UINT32, required=True) or 0,
        minor=section.number("minor", 0, UINT32, required=True) or 0,
        weight=section.number("weight", 0, UINT16),
        leaf_weight=section.number("leafWeight", 0, UINT16),
    )


def throttles(section: Section, key: str) -> tuple[ThrottleDevice, ...]:
    return tuple(
        ThrottleDevice(
            major=each.number("major", 0, UINT32, required=True) or 0,
            minor=each.number("minor", 0, UINT32, required=True) or 0,
            rate=each.number("rate", 0, UINT64, required=True) or 0,
        )
        for each in section.sections(key)
    )


def huge_pages(section: Section) -> tuple[tuple[str, int], ...]:
    found = []
    for each in section.sections("hugepageLimits"):
        size = each.text("pageSize", required=True)
        if size and not is_page_size(size):
            each.fault("pageSize", f"{quoted(size)} is not a size such as `64KB`, `2MB` or `1GB`")
        found.append((size, each.number("limit", 0, UINT64, required=True) or 0))
    return tuple(found)


def is_page_size(text: str) -> bool:
    digits, unit = text[:-2], text[-2:]
    # `isdigit` takes other scripts' digits, too.
    return unit in ("KB", "MB", "GB") and digits.isascii() and digits.isdigit() and digits[0] != "0"


def rdma(section: Section) -> Rdma:
    if section.value.get("hcaHandles") is None and section.value.get("hcaObjects") is None:
        section.fault("", "must have `hcaHandles`, `hcaObjects` or both")
    return Rdma(
        handles=section.number("hcaHandles", 0, UINT32),
        objects=section.number("hcaObjects", 0, UINT32),
    )


def unified(section: Section) -> dict[str, str]:
    files = section.named_texts("unified")
    for name in files:
        # It is opened below the container's cgroup, and must not lead elsewhere.
        if "/" in name or name in (".", ".."):
            section.fault(join("unified", named(name)), "is not the name of a file of a cgroup")
    return files
