"""A plan carried out on the engine: as much at once as its order allows, waiting by events."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager, suppress

from buildkit_py.compose.changes import subnet_of
from buildkit_py.compose.grants import digest
from buildkit_py.compose.observe import containers_of, supervisor_of
from buildkit_py.compose.plan import Action, Plan, container_name
from buildkit_py.compose.request import LABEL, labels_of, request_of
from buildkit_py.compose.waiting import ServiceFailed, is_readable, wait_for_service
from buildkit_py.core.data import dataclass, field
from buildkit_py.core.errors import BuildkitError, HostError, StateError
from buildkit_py.core.threads import block_signals
from buildkit_py.engine.containers import CannotStart, NotRunning, UnknownContainer
from buildkit_py.engine.events import News
from buildkit_py.engine.limit_checks import hint
from buildkit_py.engine.network_records import NetworkInUse, UnknownNetwork
from buildkit_py.engine.volume_records import UnknownVolume
from buildkit_py.runtime.network.publish import PortTaken
from buildkit_py.runtime.network.subnets import BadSubnet
from buildkit_py.runtime.users import UnknownAccount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future, ThreadPoolExecutor

    from buildkit_py.compose import model
    from buildkit_py.compose.grants import Contents
    from buildkit_py.engine.client import Engine, Group
    from buildkit_py.engine.containers import Known

AT_ONCE = 8

WORDS = {
    "create-network": ("Network", "Creating", "Created"),
    "remove-network": ("Network", "Removing", "Removed"),
    "create-volume": ("Volume", "Creating", "Created"),
    "remove-volume": ("Volume", "Removing", "Removed"),
    "create": ("Container", "Creating", "Created"),
    "rename": ("Container", "Recreate", "Recreated"),
    "start": ("Container", "Starting", "Started"),
    "stop": ("Container", "Stopping", "Stopped"),
    "kill": ("Container", "Killing", "Killed"),
    "remove": ("Container", "Removing", "Removed"),
}
"""docker compose's words: for what it is done to, while it is done, and when it is."""


@dataclass(frozen=True, slots=True)
class Told:
    """Something begins (state `working`), is done, or failed (`error`), or is worth a `warning`."""

    resource: str
    name: str
    word: str
    state: str = "working"


@dataclass(slots=True)
class Work:
    """What all actions of one plan share.

    project, hashes, contents: only for plans of `up`, which create
    stop_seconds: None is each container's own; signal: for `kill`
    keep_volumes: what is removed leaves its volumes without a name
    tell, warn, notice: called from several threads; notice with a hint or ""
    """

    engine: Engine
    group: Group
    project: model.Project | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    contents: Contents = field(default_factory=dict)
    stop_seconds: float | None = None
    signal: int = 9
    keep_volumes: bool = False
    renew_volumes: bool = False
    at_once: int = AT_ONCE
    tell: Callable[[Told], None] = lambda told: None
    warn: Callable[[str], None] = lambda text: None
    notice: Callable[[str, str], None] = lambda text, hint: None
    settled: Callable[[], None] = lambda: None
    """Called once when nothing is made or removed any more: what is left starts, and waits."""
    interrupted: int = -1
    """A descriptor that becomes readable when nothing new may begin, and waits end."""
    kept: dict[str, dict[str, str]] = field(default_factory=dict)
    """Volumes without a name of containers that are replaced: by id, and target."""
    replaced: set[str] = field(default_factory=set)
    """Ids of containers that are replaced: what becomes of them is told of their successors."""
    ids: dict[str, str] = field(default_factory=dict)
    """Ids of containers that were made, by name."""
    started: list[str] = field(default_factory=list)
    """Ids of containers that were started."""

    news: News | None = None
    noticed: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def notice_once(self, text: str, hint: str = "") -> None:
        """Tell what people should know about this machine, each sentence and each hint once."""
        with self.lock:
            if text in self.noticed:
                return
            new_hint = "" if hint in self.noticed else hint
            self.noticed |= {text, hint}
            self.notice(text, new_hint)

    def tell_of_container(self, name: str, word: str, state: str) -> None:
        self.tell(Told("Container", name, word, state))

    def files(self) -> model.Project:
        assert self.project is not None
        return self.project


class Interrupted(BuildkitError):
    """Somebody does not want the rest of a plan any more."""

    code = "compose/interrupted"
    exit_code = 130


def carry_out(plan: Plan, work: Work) -> None:
    """Do what a plan says. After the first failure nothing new begins, and it is raised.

    What was begun is waited for; waits for services are not, unless `work.interrupted` is given,
    which then ends them. Raises ServiceFailed, ComposeError, and what the engine raises.
    """
    if work.project is not None:
        work.group.supervisor = plan.supervisor or work.group.name
    elif plan.of("start", "wait"):
        there = containers_of(work.engine, plan.project)
        work.group.supervisor = supervisor_of(there, plan.project)
    if plan.of("start"):
        work.news = News(work.engine.root, work.group.supervisor)
    for name in plan.kept:
        work.tell(Told("Container", name, "Running", "done"))
    if not plan.actions:
        work.settled()
        return
    if work.interrupted >= 0:
        _carry_out(plan, work, lambda: None, lambda: is_readable(work.interrupted))
        return
    reader, writer = os.pipe2(os.O_CLOEXEC)
    work.interrupted = reader
    try:
        _carry_out(plan, work, lambda: os.close(writer), lambda: False)
    finally:
        work.interrupted = -1
        os.close(reader)


def _carry_out(
    plan: Plan, work: Work, give_up: Callable[[], None], is_interrupted: Callable[[], bool]
) -> None:
    """Do what a plan says. give_up: ends waits; called once, as soon as anything has failed."""
    from concurrent.futures import FIRST_COMPLETED, wait

    replaced = {action.replaces for action in plan.actions if action.replaces}
    work.replaced = replaced
    for known in containers_of(work.engine, plan.project) if replaced else ():
        if known.spec.id in replaced:
            work.kept[known.spec.id] = _anonymous(work.engine.root, known)
    waiting = {action.key: action for action in plan.actions}
    done: set[str] = set()
    running: dict[Future[None], Action] = {}
    failure: BaseException | None = None
    settled = False
    # Waits take a thread each while they last: they must not keep others from beginning.
    waits = sum(action.kind == "wait" for action in plan.actions)
    threads = max(1, min(work.at_once, len(waiting))) + waits
    with _pool(threads, running) as pool, ExitStack() as stack:
        stack.callback(give_up)  # also when Ctrl-C raises: before the pool waits for its threads
        while running or (waiting and failure is None):
            if failure is None and is_interrupted():
                failure = Interrupted("interrupted")
            left = (*waiting.values(), *running.values())
            if not settled and all(each.kind in _ONLY_STARTS for each in left):
                settled = True
                work.settled()
            ready = [a for a in waiting.values() if failure is None and done.issuperset(a.after)]
            for action in ready:
                del waiting[action.key]
                running[pool.submit(_do, action, work)] = action
            if not running:
                break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                action = running.pop(future)
                error = future.exception()
                if error is None:
                    done.add(action.key)
                elif failure is not None:
                    continue
                elif action.optional and isinstance(error, ServiceFailed):
                    work.warn(error.message)
                    done.add(action.key)
                else:
                    failure = error
                    stack.close()
    if failure is not None:
        raise Interrupted("interrupted") if is_interrupted() else failure


@contextmanager
def _pool(threads: int, running: Mapping[Future[None], Action]) -> Iterator[ThreadPoolExecutor]:
    """Give threads, which have done their work at the end.

    When Ctrl-C raises, nothing waits for containers that were asked to end, which may take as long
    as they are granted: their supervisor sees to it without us.
    """
    from concurrent.futures import ThreadPoolExecutor, wait

    pool = ThreadPoolExecutor(threads, "compose", block_signals)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        wait(f for f, action in running.items() if action.kind != "stop" and not f.cancelled())
        raise
    pool.shutdown()


def _do(action: Action, work: Work) -> None:
    if action.kind == "wait":
        _wait(action, work)
        return
    resource, name, working, finished = _words(action, work)
    if working:
        work.tell(Told(resource, name, working))
    try:
        _ACTIONS[action.kind](action, work)
    except ServiceFailed:
        work.tell(Told(resource, name, "Error", "error"))
        raise
    except NetworkInUse:
        if work.project is not None:
            raise
        # Another project is in it, which `down` leaves alone.
        work.tell(Told(resource, name, "Resource is still in use", "warning"))
        return
    except BuildkitError as error:
        work.tell(Told(resource, name, "Error", "error"))
        if action.service and is_of_service(error):
            raise of_service(error, action.service) from error
        raise
    if finished:
        work.tell(Told(resource, name, finished, "done"))


def is_of_service(error: BuildkitError) -> bool:
    """Say whether an error is about a service.

    What this machine cannot, damaged records, and what has a place in a file, speak for themselves.
    """
    if error.code in (PortTaken.code, CannotStart.code):
        return True
    return error.at is None and not isinstance(error, HostError | StateError)


def of_service(error: BuildkitError, service: str) -> ServiceFailed:
    """Return an error as one of a service, which it names."""
    is_host = isinstance(error, HostError)
    return ServiceFailed(
        f"service `{service}`: {error.message}", code=error.code if is_host else None,
        hint=error.hint, notes=error.notes,
    )  # fmt: skip


def _words(action: Action, work: Work) -> tuple[str, str, str, str]:
    """Return what an action is done to, the word for its beginning, and that for its end.

    A container that takes the place of another is told as one thing, as docker compose tells it:
    what happens to the one before, and its name for the time being, are not.
    """
    resource, working, finished = WORDS[action.kind]
    if action.kind == "create" and action.replaces:
        return resource, action.target.partition("_")[2], "Recreate", ""
    if action.kind == "rename":
        project = work.files()
        service = project.services[action.service]
        return resource, container_name(project.name, service, action.number), "", "Recreated"
    if action.id in work.replaced:
        return resource, action.target, "", ""
    return resource, action.target, working, finished


def _create_network(action: Action, work: Work) -> None:
    network = next(n for n in work.files().networks.values() if n.name == action.target)
    subnet, gateway = subnet_of(network)
    labels = {
        **network.labels,
        f"{LABEL}network": network.key,
        f"{LABEL}project": work.files().name,
    }
    try:
        work.group.ensure_network(
            network.name, labels=labels, internal=network.internal, subnet=subnet, gateway=gateway
        )
    except BadSubnet as error:
        error.at = work.files().at("networks", network.key, "ipam", "config", "0", "subnet")
        raise


def _create_volume(action: Action, work: Work) -> None:
    volume = next(v for v in work.files().volumes.values() if v.name == action.target)
    labels = {
        **volume.labels,
        f"{LABEL}project": work.files().name,
        f"{LABEL}volume": volume.key,
    }
    work.engine.ensure_volume(volume.name, labels)


def _create(action: Action, work: Work) -> None:
    project = work.files()
    service = project.services[action.service]
    labels = labels_of(
        project, service, action.number, work.hashes[action.service],
        files=digest(service, work.contents), replaces=action.replaces,
    )  # fmt: skip
    kept = {} if work.renew_volumes else work.kept.get(action.replaces)
    request = request_of(
        project, service, name=action.target, labels=labels, contents=work.contents, kept=kept
    )
    try:
        spec = work.group.create(request)
    except UnknownAccount as error:
        if service.user:
            error.at = project.value_at("services", service.name, "user")
        raise
    work.ids[action.target] = spec.id
    for text in work.engine.host.lacks:
        work.notice_once(text)
    for text in spec.warnings:
        work.notice_once(f"service `{action.service}`: {text}", hint(work.engine.host))


def _rename(action: Action, work: Work) -> None:
    project = work.files()
    name = container_name(project.name, project.services[action.service], action.number)
    id = action.id or work.ids[action.target]
    work.group.rename(id, name)
    work.ids[name] = id


def _start(action: Action, work: Work) -> None:
    id = action.id or work.ids[action.target]
    try:
        work.group.start(id)
    except UnknownContainer:
        raise ServiceFailed(
            f"service `{action.service}`: its container {action.target} was removed meanwhile",
            hint="somebody else changes the same project",
        ) from None
    finally:
        for text in work.news.take() if work.news else ():
            work.notice_once(text)
    work.started.append(id)


# What is gone already is as it was wanted: of several who take a project down, one is the first.


def _stop(action: Action, work: Work) -> None:
    with suppress(UnknownContainer):
        work.group.stop(action.id, seconds=work.stop_seconds)


def _kill(action: Action, work: Work) -> None:
    with suppress(UnknownContainer, NotRunning):
        work.group.kill(action.id, work.signal)


def _remove(action: Action, work: Work) -> None:
    # Volumes without a name go on in the container that takes the place.
    keeps = work.keep_volumes or (action.id in work.kept and not work.renew_volumes)
    with suppress(UnknownContainer):
        work.group.remove(action.id, force=True, volumes=not keeps)


def _remove_network(action: Action, work: Work) -> None:
    with suppress(UnknownNetwork):
        work.engine.remove_network(action.target)


def _remove_volume(action: Action, work: Work) -> None:
    with suppress(UnknownVolume):
        work.engine.remove_volume(action.target)


def _wait(action: Action, work: Work) -> None:
    wait_for_service(
        work.engine, work.group, action.service, action.condition,
        optional=action.optional, stop=work.interrupted, tell=work.tell_of_container,
    )  # fmt: skip


_ONLY_STARTS = ("start", "wait")

_ACTIONS: dict[str, Callable[[Action, Work], None]] = {
    "create-network": _create_network,
    "remove-network": _remove_network,
    "create-volume": _create_volume,
    "remove-volume": _remove_volume,
    "create": _create,
    "rename": _rename,
    "start": _start,
    "stop": _stop,
    "kill": _kill,
    "remove": _remove,
}


def _anonymous(root: str, known: Known) -> dict[str, str]:
    """Return a container's volumes without a name, by target."""
    by_source = {os.path.join(root, "volumes", n, "_data"): n for n in known.spec.anonymous}
    return {
        mount.target: by_source[source]
        for mount in known.spec.container.mounts
        if (source := getattr(mount, "source", "")) in by_source
    }
