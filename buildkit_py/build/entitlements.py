"""What a Dockerfile may only do when whoever starts the build allows it.

A Dockerfile is often somebody else's. Without `--allow` it gets neither all capabilities
(`RUN --security=insecure`, CVE-2024-23653) nor the host's network, with whatever listens on
loopback (`RUN --network=host`). BuildKit's names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from buildkit_py.core.errors import InputError
from buildkit_py.graph.ops import Run
from buildkit_py.graph.vertex import Vertex

NETWORK_HOST = "network.host"
INSECURE = "security.insecure"
KNOWN = (NETWORK_HOST, INSECURE)


class NotAllowed(InputError):
    """A step asks for what the build was not given."""

    code = "build/not-allowed"


class UnknownEntitlement(InputError):
    code = "build/unknown-entitlement"


def require(vertices: Iterable[Vertex], allowed: Collection[str], *, network: str) -> None:
    """Refuse steps that ask for more than is allowed, before anything runs.

    allowed: the values of `--allow`
    network: that of the whole build; `host` allows each step what it gives to all of them
    """
    for each in allowed:
        if each not in KNOWN:
            raise UnknownEntitlement(
                f"`--allow {each}` is not supported", hint=f"one of {', '.join(KNOWN)}"
            )
    for vertex in vertices:
        op = vertex.op
        if not isinstance(op, Run):
            continue
        if op.security == "insecure" and INSECURE not in allowed:
            raise _not_allowed(vertex, "RUN --security=insecure", INSECURE)
        if op.network == "host" and network != "host" and NETWORK_HOST not in allowed:
            raise _not_allowed(vertex, "RUN --network=host", NETWORK_HOST)


def _not_allowed(vertex: Vertex, what: str, name: str) -> NotAllowed:
    return NotAllowed(
        f"`{what}` is not allowed for this build",
        at=vertex.span,
        hint=f"if you trust this Dockerfile, build with `--allow {name}`",
    )
