"""Waiting for services: for a condition of `depends_on`, and for `up --wait`. By events."""

from __future__ import annotations

import select
import time

from buildkit_py.compose.observe import containers_of, service_of
from buildkit_py.compose.plan import COMPLETED, HEALTHY, STARTED
from buildkit_py.core.data import dataclass
from buildkit_py.core.errors import BuildkitError
from buildkit_py.engine.containers import UnknownContainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from buildkit_py.engine.client import Engine, Group
    from buildkit_py.engine.containers import Known

LOG_LINES = 10
SETTLE_SECONDS = 0.5
"""What docker compose waits between two looks, and so leaves a program to fail at its start."""


_INCOMPLETE = "didn't complete successfully"


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why a wait ended in vain.

    name: of the container that it is about
    verdict: on it, "" where there is none; text: all of it
    """

    name: str
    verdict: str
    text: str
    notes: list[str]


class ServiceFailed(BuildkitError):
    """Something of a service could not be done; its last log lines are the notes."""

    code = "compose/service-failed"
    exit_code = 1


def wait_for_service(
    engine: Engine,
    group: Group,
    service: str,
    condition: str,
    *,
    optional: bool = False,
    stop: int = -1,
    tell: Callable[[str, str, str], None] = lambda name, word, state: None,
) -> None:
    """Wait for a condition of `depends_on` to hold of all containers. Raises ServiceFailed.

    optional: what needs it goes on without it
    stop: a descriptor that becomes readable when nobody wants to wait any more
    tell: told a container's name, a word, and `working`, `done`, `warning` or `error`
    """
    waiting = {
        known.spec.id: condition
        for known in containers_of(engine, group.name)
        if service_of(known) == service
    }
    for id in waiting:
        tell(engine.find(id).spec.name, "Waiting", "working")
    failed = _wait(engine, group, waiting, stop=stop, ready=_teller(tell))
    if failed is None:
        return
    is_over = failed.verdict.startswith(_INCOMPLETE)
    text = f"service `{service}` {failed.verdict}" if is_over else failed.text
    if optional:
        word = f'optional dependency "{service}" failed to start'
        tell(failed.name, f"Skipped: {word}", "warning")
        raise ServiceFailed(f"{word}: {text}", notes=failed.notes)
    if failed.verdict or not is_readable(stop):
        tell(failed.name, "Error", "error")
    if not is_over:
        text = f"dependency failed to start: {text}"
    raise ServiceFailed(text, notes=failed.notes)


def wait_ready(
    engine: Engine,
    group: Group,
    services: Collection[str],
    jobs: Collection[str],
    *,
    seconds: float | None = None,
    fresh: Collection[str] = (),
    tell: Callable[[str, str, str], None] = lambda name, word, state: None,
) -> None:
    """Wait until containers run, are healthy where that is checked, or are jobs done.

    jobs: services that others wait for to end; seconds: no longer than this, None or 0: for ever
    fresh: ids of containers that were started just now, and may still turn out not to stay
    Raises ServiceFailed as soon as one of them cannot become ready.
    """
    waiting = {}
    for known in containers_of(engine, group.name):
        if service_of(known) in services:
            tell(known.spec.name, "Waiting", "working")
            is_checked = known.spec.healthcheck is not None
            waiting[known.spec.id] = (
                COMPLETED if service_of(known) in jobs else HEALTHY if is_checked else STARTED
            )
    unproven = any(waiting.get(id) == STARTED for id in fresh)
    failed = _wait(
        engine, group, waiting, seconds=seconds or None, unproven=unproven, ready=_teller(tell)
    )
    if failed is not None:
        raise ServiceFailed(failed.text, notes=failed.notes)


def _teller(tell: Callable[[str, str, str], None]) -> Callable[[str, str], None]:
    """Return what tells that a condition holds of a container."""
    return lambda name, condition: tell(
        name, "Exited" if condition == COMPLETED else "Healthy", "done"
    )


def _wait(
    engine: Engine,
    group: Group,
    waiting: Mapping[str, str],
    *,
    seconds: float | None = None,
    unproven: bool = False,
    stop: int = -1,
    ready: Callable[[str, str], None],
) -> _Failed | None:
    """Wait until conditions hold; return why one does not, None if all do.

    waiting: conditions by the containers' ids
    unproven: that something runs is believed when it still does after SETTLE_SECONDS
    ready: told a container's name and its condition as soon as that holds
    """
    known: dict[str, Known] = {}

    def verdicts() -> dict[str, str | None]:
        for id in waiting:
            try:
                known[id] = engine.find(id)
            except UnknownContainer:
                return {id: "was removed meanwhile"}
        return {id: _verdict(known[id], condition) for id, condition in waiting.items()}

    told: set[str] = set()
    begin = time.monotonic()

    def look() -> list[str | None]:
        found = verdicts()
        is_proven = not unproven or time.monotonic() >= begin + SETTLE_SECONDS
        for id, verdict in found.items():
            if verdict == "" and id not in told and (is_proven or waiting[id] != STARTED):
                told.add(id)
                ready(known[id].spec.name, waiting[id])
        return list(found.values())

    def is_decided() -> bool:
        found = look()
        return None not in found or any(found)

    if unproven:
        most = SETTLE_SECONDS if seconds is None else min(seconds, SETTLE_SECONDS)
        group.until(lambda: any(look()), seconds=most, stop=stop)
    left = None if seconds is None else max(begin + seconds - time.monotonic(), 0)
    group.until(is_decided, seconds=left, stop=stop)
    found = verdicts()
    for id, verdict in found.items():
        if verdict:
            name = known[id].spec.name if id in known else id[:12]
            notes = _last_lines(engine, known[id]) if id in known else []
            return _Failed(name, verdict, f"container {name} {verdict}", notes)
    for id, verdict in found.items():
        if verdict is None:
            name, notes = known[id].spec.name, _last_lines(engine, known[id])
            text = f"nobody looks after container {name} any more"
            if is_readable(stop):
                text, notes = f"interrupted while container {name} was waited for", []
            elif seconds is not None:
                text = f"application not healthy after {seconds:g}s: `{name}` is not ready"
            return _Failed(name, "", text, notes)
    return None


def _verdict(known: Known, condition: str) -> str | None:
    """Say of a container why a condition does not hold, "" if it does, None while it is open."""
    health = known.state.health
    if condition == COMPLETED:
        if known.running:
            return None
        code = known.state.exit_code
        return f"{_INCOMPLETE}: exit {code}" if code else ""
    if known.state.status == "restarting":
        return None
    if not known.running:
        return f"exited ({known.state.exit_code})"
    if condition == HEALTHY:
        if known.spec.healthcheck is None:
            return "has no healthcheck configured"
        if health is None or health.status == "starting":
            return None
        return "" if health.status == "healthy" else "is unhealthy"
    return ""


def is_readable(fd: int) -> bool:
    """Say whether a descriptor has something to read; -1 never has."""
    return fd >= 0 and bool(select.select([fd], [], [], 0)[0])


def _last_lines(engine: Engine, known: Known) -> list[str]:
    lines = [line.text.rstrip("\n") for line in engine.logs(known, tail=LOG_LINES)]
    health = known.state.health
    if health is not None and health.status != "healthy" and health.log:
        probe = health.log[-1]
        lines.append(f"its last health check ended with {probe.code}: {probe.output.strip()}")
    return lines
