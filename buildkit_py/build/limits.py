"""Limits and hosts of RUN: `--add-host` and `--ulimit` as docker's clients read them, and ours."""

from __future__ import annotations

import ipaddress
import resource
from collections.abc import Mapping, Sequence

from buildkit_py.core.errors import InputError
from buildkit_py.runtime.host import Host
from buildkit_py.runtime.spec import RLIMITS, Limits

MOST_PROCESSES = 16384
"""Processes and threads of one RUN, where the kernel's own limit is not even smaller."""


class BadHost(InputError):
    code = "build/bad-host"


class BadLimit(InputError):
    code = "build/bad-ulimit"


def parse_hosts(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Read `name:address` or `name=address`; the address may be `host-gateway`."""
    hosts = []
    for text in texts:
        separator = "=" if "=" in text else ":"
        name, _, address = text.partition(separator)
        address = address.removeprefix("[").removesuffix("]")
        if address != "host-gateway":
            try:
                ipaddress.ip_address(address)
            except ValueError:
                address = ""
        if not name or not address or any(c.isspace() for c in name):
            raise BadHost(f"invalid `--add-host` `{text}`", hint="write it as `name=192.0.2.1`")
        hosts.append((name, address))
    return tuple(hosts)


def parse_ulimits(texts: Sequence[str]) -> Mapping[str, tuple[int, int]]:
    """Read `name=soft[:hard]`; -1 means unlimited."""
    limits = {}
    for text in texts:
        name, equals, value = text.partition("=")
        soft, _, hard = value.partition(":")
        try:
            numbers = (int(soft), int(hard or soft))
        except ValueError:
            numbers = (-2, -2)
        if not equals or min(numbers) < -1 or (numbers[1] != -1 and numbers[0] > numbers[1]):
            raise BadLimit(f"invalid `--ulimit` `{text}`", hint="write it as `nofile=1024:2048`")
        if name not in RLIMITS:
            raise BadLimit(f"unknown `--ulimit` `{name}`", hint=f"one of {', '.join(RLIMITS)}")
        limits[name] = numbers
    return limits


def bound(
    host: Host, rlimits: Mapping[str, tuple[int, int]]
) -> tuple[Limits, Mapping[str, tuple[int, int]]]:
    """Return the limits of a RUN: a fork bomb in one must not take the machine with it.

    A cgroup bounds the step; where there is none, and no root that is exempt from it, the rlimit
    bounds each of its users. What `--ulimit` says stands.
    """
    most = min(MOST_PROCESSES, _pid_max() // 2)
    if host.cgroups is not None and host.cgroups.limits("pids"):
        return Limits(pids=most), rlimits
    if host.rootless and "nproc" not in rlimits:
        now, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        if now == resource.RLIM_INFINITY or now > most:
            return Limits(), {**rlimits, "nproc": (most, most)}
    return Limits(), rlimits


def _pid_max() -> int:
    try:
        with open("/proc/sys/kernel/pid_max") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 32768
