"""Waiting for services: for a condition of `depends_on`, and for `up --wait`. By events."""

from __future__ import annotations

import time

from buildkit_py.compose.observe import containers_of, service_of
from buildkit_py.compose.plan import COMPLETED, HEALTHY
from buildkit_py.core.errors import BuildkitError
from buildkit_py.engine.containers import UnknownContainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from buildkit_py.engine.client import Engine, Group
    from buildkit_py.engine.containers import Known

LOG_LINES = 10


class ServiceFailed(BuildkitError):
    """Something of a service could not be done; its last log lines are the notes."""

    code = "compose/service-failed"
    exit_code = 1


def wait_for_service(engine: Engine, group: Group, service: str, condition: str) -> None:
    """Wait for a condition of `depends_on` to hold of all containers. Raises ServiceFailed."""
    for known in containers_of(engine, group.name):
        if service_of(known) != service:
            continue
        try:
            wait_until(engine, group, known, condition)
        except ServiceFailed as error:
            error.message = f"dependency failed to start: {error.message}"
            raise


def wait_ready(
    engine: Engine,
    group: Group,
    services: Collection[str],
    jobs: Collection[str],
    *,
    seconds: float | None = None,
) -> None:
    """Wait until containers run, are healthy where that is checked, or are jobs done.

    jobs: services that others wait for to end. Raises ServiceFailed.
    """
    end = None if not seconds else time.monotonic() + seconds
    for known in containers_of(engine, group.name):
        service = service_of(known)
        if service not in services:
            continue
        is_checked = known.spec.healthcheck is not None
        condition = COMPLETED if service in jobs else HEALTHY if is_checked else "started"
        left = None if end is None else max(end - time.monotonic(), 0.0)
        try:
            wait_until(engine, group, known, condition, seconds=left)
        except TooLong:
            message = (
                f"application not healthy after {seconds:g}s: `{known.spec.name}` is not ready"
            )
            raise ServiceFailed(message, notes=_last_lines(engine, known)) from None


class TooLong(BuildkitError):
    """The time is up. Never leaves this module."""

    code = "compose/too-long"


def wait_until(
    engine: Engine, group: Group, known: Known, condition: str, *, seconds: float | None = None
) -> None:
    """Wait for a condition to hold of a container. Raises ServiceFailed, TooLong."""
    id = known.spec.id

    def decided() -> bool:
        try:
            now = engine.find(id)
        except UnknownContainer:
            return True
        if not now.running:
            return True
        health = now.state.health
        if condition == HEALTHY:
            return health is None or health.status in ("healthy", "unhealthy")
        return condition != COMPLETED

    in_time = group.until(decided, seconds=seconds)
    try:
        now = engine.find(id)
    except UnknownContainer:
        raise ServiceFailed(f"container `{known.spec.name}` was removed meanwhile") from None
    if not in_time and not decided():
        if seconds is not None:
            raise TooLong(known.spec.name)
        raise ServiceFailed(f"nobody looks after container `{known.spec.name}` any more")
    why = _why_not(now, condition)
    if why:
        raise ServiceFailed(f"container {known.spec.name} {why}", notes=_last_lines(engine, now))


def _why_not(now: Known, condition: str) -> str:
    """Return why a decided condition does not hold, "" if it does."""
    health = now.state.health
    if condition == COMPLETED:
        code = now.state.exit_code
        return f"did not complete successfully: exit {code}" if code else ""
    if not now.running:
        return f"exited ({now.state.exit_code})"
    if condition == HEALTHY:
        if health is None:
            return "has no healthcheck configured"
        if health.status != "healthy":
            return "is unhealthy"
    return ""


def _last_lines(engine: Engine, known: Known) -> list[str]:
    lines = [line.text.rstrip("\n") for line in engine.logs(known, tail=LOG_LINES)]
    health = known.state.health
    if health is not None and health.status != "healthy" and health.log:
        probe = health.log[-1]
        lines.append(f"its last health check ended with {probe.code}: {probe.output.strip()}")
    return lines
