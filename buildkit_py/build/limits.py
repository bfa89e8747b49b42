"""`--add-host` and `--ulimit`, as docker's clients read them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from buildkit_py.core.errors import InputError

_LIMITS = (
    "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending"
    " stack"
).split()


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
        if name not in _LIMITS:
            raise BadLimit(f"unknown `--ulimit` `{name}`", hint=f"one of {', '.join(_LIMITS)}")
        limits[name] = numbers
    return limits
