"""Limits of RUN: what is asked for, and what nobody needs to ask for."""

from __future__ import annotations

import pytest

from buildkit_py.build.limits import (
    MOST_PROCESSES,
    BadHost,
    BadLimit,
    bound,
    parse_hosts,
    parse_ulimits,
)
from buildkit_py.runtime.host import Host
from buildkit_py.runtime.kernel.cgroup_layout import Layout

V2 = Layout("v2", "/sys/fs/cgroup/x", frozenset({"pids"}), (), "bpf")
V1 = Layout("v1", "", frozenset(), (("pids", "/sys/fs/cgroup/pids"),), "v1")
BARE = Layout("v2", "/sys/fs/cgroup/x", frozenset(), (), "bpf")


def host(layout: Layout | None, *, rootless: bool) -> Host:
    return Host(rootless=rootless, ids="range" if rootless else "all", overlay=None, cgroups=layout)


@pytest.mark.parametrize("layout", [V1, V2])
def test_a_step_is_bounded_by_its_cgroup(layout: Layout) -> None:
    limits, rlimits = bound(host(layout, rootless=False), {})

    assert 0 < limits.pids <= MOST_PROCESSES
    assert rlimits == {}


@pytest.mark.parametrize("layout", [None, BARE])
def test_without_a_cgroup_each_user_of_a_step_is_bounded(layout: Layout | None) -> None:
    limits, rlimits = bound(host(layout, rootless=True), {})

    assert limits.pids == 0
    assert 0 < rlimits["nproc"][1] <= MOST_PROCESSES


def test_what_was_asked_for_stands() -> None:
    asked = {"nproc": (7, 8)}

    assert bound(host(None, rootless=True), asked)[1] == asked


def test_nothing_is_tried_where_nothing_can_be_limited() -> None:
    """Root is exempt from the rlimit, and each limit that fails would be a warning."""
    limits, rlimits = bound(host(None, rootless=False), {})

    assert (limits.pids, rlimits) == (0, {})


@pytest.mark.parametrize("text", ["a", "=1", "a:", "a:x", "a b=1.2.3.4"])
def test_a_bad_host_is_named(text: str) -> None:
    with pytest.raises(BadHost, match="invalid `--add-host`"):
        parse_hosts([text])


@pytest.mark.parametrize("text", ["nofile", "nofile=a", "nofile=9:8", "nofile=-2", "x=1"])
def test_a_bad_limit_is_named(text: str) -> None:
    with pytest.raises(BadLimit, match="--ulimit"):
        parse_ulimits([text])
