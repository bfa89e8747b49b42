"""Limits that a machine keeps, and what is said of the others."""

from __future__ import annotations

import pytest

from buildkit_py.engine.limit_checks import kept
from buildkit_py.runtime.kernel.cgroup_layout import Layout
from buildkit_py.runtime.spec import Limits

ALL = Limits(
    memory_bytes=64 << 20, swap_bytes=96 << 20, reservation_bytes=32 << 20, cpus=0.5,
    cpu_shares=512, cpuset_cpus="0", pids=50,
)  # fmt: skip
V2 = Layout("v2", "/x", frozenset({"cpu", "cpuset", "memory", "pids"}), (), "bpf")
PART = Layout("v2", "/x", frozenset({"memory", "pids"}), (), None)
NO_SWAP = Layout("v1", "", frozenset(), (("memory", "/x"),), "v1", counts_swap=False)


def test_a_machine_with_all_controllers_keeps_all() -> None:
    assert kept(ALL, V2) == (ALL, ())


def test_without_cgroups_nothing_is_kept_and_each_kind_is_told_once() -> None:
    assert kept(ALL, None) == (
        Limits(),
        (
            "memory cannot be limited here",
            "processor time cannot be limited here",
            "the set of processors cannot be limited here",
            "the number of processes cannot be limited here",
        ),
    )


def test_a_missing_controller_takes_only_its_own_limits() -> None:
    limits, said = kept(ALL, PART)

    assert (limits.memory_bytes, limits.pids, limits.cpus, limits.cpu_shares) == (
        64 << 20,
        50,
        0,
        0,
    )
    assert said == (
        "processor time cannot be limited: no cgroup of `cpu`",
        "the set of processors cannot be limited: no cgroup of `cpuset`",
    )


def test_memory_is_limited_without_swap_where_the_kernel_does_not_count_it() -> None:
    limits, said = kept(Limits(memory_bytes=64 << 20, swap_bytes=96 << 20), NO_SWAP)

    assert (limits.memory_bytes, limits.swap_bytes) == (64 << 20, -1)
    assert said == ("swap cannot be limited: the kernel does not count it",)


@pytest.mark.parametrize("limits", [Limits(), Limits(pids=-1), Limits(swap_bytes=-1)])
def test_no_limit_is_kept_everywhere(limits: Limits) -> None:
    assert kept(limits, None) == (limits, ())
