"""`pycompose up` in the foreground: the lines of all containers, their ends, and Ctrl-C.

The first SIGINT or SIGTERM stops the containers in order, the second kills them. While they are
being made it cancels what is left, and stops what was begun.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager

from buildkit_py.cli.compose_common import check_services
from buildkit_py.cli.compose_logs import Printer, short_name
from buildkit_py.cli.reader import BadOption
from buildkit_py.core.errors import BuildkitError
from buildkit_py.core.signals import caught

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from buildkit_py.cli.reader import Value
    from buildkit_py.compose import model
    from buildkit_py.compose.attach import Attached
    from buildkit_py.compose.carry_out import Work
    from buildkit_py.compose.plan import Plan
    from buildkit_py.engine.containers import Known


_STOPPING = "Gracefully Stopping... press Ctrl+C again to force"
END_SECONDS = 10.0
"""How long the ends of containers that were stopped are awaited: their events are on the way."""


class _Shown:
    """Prints what `Attached` hears."""

    def __init__(self, printer: Printer) -> None:
        self.printer = printer

    def line(self, known: Known, text: str, time: str, stream: str) -> None:
        self.printer.line(short_name(known), text, time, stream)

    def ended(self, known: Known, code: int, *, restarts: bool) -> None:
        again = " (restarting)" if restarts else ""
        self.printer.say(f"{short_name(known)} exited with code {code}{again}")


class _Signals:
    """SIGINT and SIGTERM counted; the first makes `fd` readable."""

    def __init__(self, woken: threading.Event) -> None:
        self.count = 0
        self.woken = woken
        self.fd, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def take(self, number: signal.Signals) -> None:
        self.count += 1
        if self.count == 1:
            os.write(self._writer, b"!")
        self.woken.set()

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._writer)


@contextmanager
def _signals(woken: threading.Event) -> Iterator[_Signals]:
    made = _Signals(woken)
    try:
        with caught((signal.SIGINT, signal.SIGTERM), made.take):
            yield made
    finally:
        made.close()


def up(
    plan: Plan,
    work: Work,
    values: dict[str, Value],
    names: Sequence[str],
    *,
    settle: Callable[[], None],
) -> int:
    """Carry a plan of `up` out and stay with its containers; return the exit code.

    settle: called before anything of the containers is printed
    """
    from buildkit_py.compose.attach import Attached
    from buildkit_py.compose.carry_out import carry_out

    project = work.files()
    work.group.supervisor = plan.supervisor or work.group.name
    watched = _watched(project, values, names)
    shown = _shown(project, watched, values)
    printer = Printer(
        _names(work, shown), prefix=not values["no_log_prefix"], colour=not values["no_color"],
        timestamps=bool(values["timestamps"]),
    )  # fmt: skip
    unlock = work.settled

    def settled() -> None:
        unlock()
        settle()
        printer.say(f"Attaching to {', '.join(_names(work, shown))}")

    work.settled = settled
    woken = threading.Event()
    attached = Attached(
        work.engine, work.group, watched, shown, _Shown(printer), changed=woken.set
    )  # fmt: skip
    with _signals(woken) as signals:
        work.interrupted = signals.fd
        try:
            attached.open()
            carry_out(plan, work)
        except BuildkitError:
            if not signals.count:
                raise
            settle()
            print(_STOPPING, file=sys.stderr, flush=True)
            _stop(attached, work, signals, woken, by_signal=True)
            return 130
        try:
            return _stay(attached, work, signals, woken, values)
        finally:
            attached.close()


def _stay(
    attached: Attached,
    work: Work,
    signals: _Signals,
    woken: threading.Event,
    values: dict[str, Value],
) -> int:
    """Wait until all containers have ended, or something says that they are to end."""
    chosen = str(values["exit_code_from"] or "")
    on_failure = bool(values["abort_on_container_failure"])
    on_exit = bool(values["abort_on_container_exit"]) or (bool(chosen) and not on_failure)
    while True:
        woken.clear()
        if attached.broken is not None:
            raise attached.broken
        if signals.count:
            print(_STOPPING, file=sys.stderr, flush=True)
            _stop(attached, work, signals, woken, by_signal=True)
            return 130 if signals.count > 1 else _code(attached, work, chosen) if chosen else 0
        if attached.is_gone and attached.alive:
            from buildkit_py.engine.connection import SupervisorGone

            raise SupervisorGone(
                "the process that looks after the containers was killed, and they with it",
                hint="`pycompose up` starts them again",
            )
        ends = list(attached.codes.values())
        if (on_exit and ends) or (on_failure and any(ends)):
            first = ends[0] if on_exit else next(code for code in ends if code)
            print("Aborting on container exit...", file=sys.stderr, flush=True)
            _stop(attached, work, signals, woken, by_signal=False)
            return _code(attached, work, chosen) if chosen else first
        # In this order: a start that is heard of meanwhile makes the container alive.
        is_behind = not attached.is_gone and attached.is_behind(work.started)
        if not is_behind and not attached.alive:
            attached.finish(seconds=2.0)
            return _code(attached, work, chosen) if chosen else 0
        woken.wait()


def _code(attached: Attached, work: Work, service: str) -> int:
    """Return the exit code of a service: the first of its containers that failed, else 0."""
    from buildkit_py.compose.observe import containers_of, service_of

    codes = [
        known.state.exit_code
        for known in containers_of(work.engine, work.group.name)
        if service_of(known) == service
    ]
    return next((code for code in codes if code), 0)


def _stop(
    attached: Attached,
    work: Work,
    signals: _Signals,
    woken: threading.Event,
    *,
    by_signal: bool,
) -> None:
    """Stop the services' containers in order; kill them when one more signal comes."""
    from buildkit_py.compose.carry_out import carry_out
    from buildkit_py.compose.observe import observe
    from buildkit_py.compose.plan_end import kill, stop
    from buildkit_py.core.threads import start_thread

    services = tuple(work.files().services)
    work.interrupted = -1
    work.settled = lambda: None
    failed: list[BaseException] = []
    done = threading.Event()

    def go() -> None:
        try:
            carry_out(stop(work.group.name, observe(work.engine, work.group.name), services), work)
        except BaseException as error:
            failed.append(error)
        finally:
            done.set()
            woken.set()

    # One signal may have asked for this; whatever comes on top wants it at once.
    enough = 1 if by_signal else 0
    start_thread(go, "stop")
    killed = False
    while not done.is_set():
        woken.clear()
        if signals.count > enough and not killed:
            killed = True
            rest = kill(work.group.name, observe(work.engine, work.group.name), services)
            for action in rest.actions:
                _kill(work, action.id)
        if not done.is_set():
            woken.wait()
    # The ends of all of them are still to be heard of, and told.
    end = time.monotonic() + END_SECONDS
    while attached.alive and not attached.is_gone and attached.broken is None and not failed:
        woken.clear()
        if attached.alive and not woken.wait(max(end - time.monotonic(), 0)):
            break
    attached.finish(seconds=2.0)
    if failed and not killed:
        raise failed[0]


def _kill(work: Work, id: str) -> None:
    from buildkit_py.engine.containers import NotRunning, UnknownContainer

    try:
        work.group.kill(id, signal.SIGKILL)
    except (NotRunning, UnknownContainer):
        return  # it has just ended


def _watched(
    project: model.Project, values: dict[str, Value], names: Sequence[str]
) -> Collection[str]:
    """Return the services whose containers are waited for."""
    chosen = str(values["exit_code_from"] or "")
    if chosen:
        check_services([chosen], project.services)
    if not names or values["attach_dependencies"]:
        return tuple(project.services)
    return (*names, *([chosen] if chosen and chosen not in names else ()))


def _shown(
    project: model.Project, watched: Collection[str], values: dict[str, Value]
) -> Collection[str]:
    """Return those whose lines are printed."""
    only, never = values["attach"], values["no_attach"]
    assert isinstance(only, list)
    assert isinstance(never, list)
    check_services([*only, *never], project.services)
    if only and values["attach_dependencies"]:
        raise BadOption("`--attach` and `--attach-dependencies` exclude each other")
    wanted = only or [name for name in watched if project.services[name].attach]
    return [name for name in wanted if name not in never]


def _names(work: Work, shown: Collection[str]) -> list[str]:
    """Return the short names of containers whose lines will be printed, as far as known."""
    from buildkit_py.compose.observe import containers_of, service_of
    from buildkit_py.compose.plan import container_name

    project = work.files()
    there = containers_of(work.engine, project.name)
    found = {short_name(known) for known in there if service_of(known) in shown}
    for name in shown:
        service = project.services[name]
        found |= {
            container_name(project.name, service, number).removeprefix(f"{project.name}-")
            for number in range(1, service.scale + 1)
        }
    return sorted(found)
