"""What the commands of `pycompose` share: the project, the engine, and telling what is done."""

from __future__ import annotations

import contextlib
import os
import sys

from buildkit_py.cli.reader import BadOption, Command, Option, read
from buildkit_py.core.data import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from buildkit_py.cli.reader import Value
    from buildkit_py.compose import model
    from buildkit_py.compose.carry_out import Told
    from buildkit_py.compose.grants import Contents
    from buildkit_py.compose.plan import Plan
    from buildkit_py.compose.recall import Signature
    from buildkit_py.core.events import Sink
    from buildkit_py.core.files import NameLock
    from buildkit_py.engine.client import Engine
    from buildkit_py.engine.containers import Known


DRY_RUN = Option("--dry-run", "flag", "Say what would be done, and do nothing")
"""Stands before a command, or behind one that does something."""


def read_acting(
    command: Command, argv: Sequence[str], given: dict[str, Value]
) -> tuple[dict[str, Value], list[str]]:
    """Read the command line of what does something; `--dry-run` in it counts as one before it."""
    values, names = read(command, argv)
    given["dry_run"] = given["dry_run"] or values["dry_run"]
    return values, names


@dataclass(frozen=True, slots=True)
class Prepared:
    """A project that can be carried out.

    hashes: of each service's configuration; contents: what secrets and configs hold
    looked: signatures of all files that were looked at, for `compose.recall`
    """

    project: model.Project
    hashes: dict[str, str]
    contents: Contents
    looked: dict[str, Signature]


@dataclass(frozen=True, slots=True)
class Named:
    """What is known of a project without carrying anything out of its files.

    services: those of the files, also disabled ones; None without files, where `-p` is enough
    volumes: real names of the volumes that `down -v` removes; external: of networks it leaves
    """

    name: str
    services: tuple[str, ...] | None = None
    volumes: tuple[str, ...] = ()
    external: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Telling:
    """How a command tells what it does; called from several threads.

    settle: from now on others print, too: a table stays as it is, and lines follow it
    """

    tell: Callable[[Told], None]
    warn: Callable[[str], None]
    notice: Callable[[str, str], None]
    settle: Callable[[], None]


def prepared(given: dict[str, Value], names: Sequence[str] = ()) -> Prepared:
    """Load the project and check that all of it can be carried out. Raises all that is wrong.

    names: of the services that are wanted, none is all; those that they need come with them
    """
    from buildkit_py.cli.compose_config import request, warn_all, world
    from buildkit_py.compose import grants
    from buildkit_py.compose.blame import stop_at
    from buildkit_py.compose.carried import check, notices
    from buildkit_py.compose.load import Loading, Options
    from buildkit_py.compose.project import prepare
    from buildkit_py.compose.recall import signature
    from buildkit_py.compose.render import service_hash
    from buildkit_py.compose.request import faults
    from buildkit_py.compose.typed import typed

    looked: dict[str, Signature] = {}

    def look(path: str) -> None:
        if path not in looked:
            looked[path] = signature(path)

    loading = Loading(world(look), Options())
    try:
        bound = prepare(request(given), loading, names)
        project = typed(bound)
        errors = check(project)
        contents, wrong = grants.read(project, look)
        stop_at([*errors, *wrong])
        stop_at(faults(project, contents))
        for notice in notices(project):
            loading.warn(notice)
    finally:
        warn_all(loading)
    hashes = {name: service_hash(service) for name, service in bound.services.items()}
    return Prepared(project, hashes, contents, looked)


def images_only(given: dict[str, Value], names: Sequence[str] = ()) -> model.Project:
    """Load the project for its images: what keeps services from running is no error then.

    What keeps an image from being built is. names: as for `prepared`
    """
    from buildkit_py.cli.compose_config import request, warn_all, world
    from buildkit_py.compose.blame import stop_at
    from buildkit_py.compose.carried import check_builds
    from buildkit_py.compose.load import Loading, Options
    from buildkit_py.compose.project import prepare
    from buildkit_py.compose.typed import typed

    loading = Loading(world(), Options())
    try:
        project = typed(prepare(request(given), loading, names, runs=False))
        stop_at(check_builds(project))
    finally:
        warn_all(loading)
    return project


def named(given: dict[str, Value]) -> Named:
    """Return what a command needs that works by labels; files are read where there are any.

    What cannot be carried out is no error here: what runs can always be stopped.
    """
    from buildkit_py.cli.compose_config import request, warn_all, world
    from buildkit_py.compose.errors import NoFile
    from buildkit_py.compose.load import Loading, Options
    from buildkit_py.compose.project import checked, select

    asked = request(given)
    environment = os.environ.get("COMPOSE_PROJECT_NAME", "")
    name = asked.name or environment
    loading = Loading(world(), Options())
    try:
        project = checked(asked, loading, fits=False)
        select(project, [])
    except NoFile:
        if not name:
            raise
        return Named(name)
    finally:
        warn_all(loading)
    volumes = [
        str(volume.get("name") or key)
        for key, volume in project.parts("volumes").items()
        if not volume.get("external")
    ]
    external = [
        str(network.get("name") or key)
        for key, network in project.parts("networks").items()
        if network.get("external")
    ]
    return Named(
        project.name, (*project.services, *project.disabled), tuple(volumes), tuple(external)
    )


def changing() -> Engine:
    """Open the engine for what changes its root. Before any thread."""
    from buildkit_py.core.dirs import run_dir, state_root
    from buildkit_py.core.signals import miss_none
    from buildkit_py.engine.client import Engine
    from buildkit_py.runtime.userns import enter

    root, run = state_root(), run_dir()  # before we look like root
    host = enter()
    miss_none()
    return Engine.open(root, run, host=host)


def locked(engine: Engine, name: str, *, shared: bool = False) -> NameLock:
    """Return the taken lock of those who change a project; shared: of those who end it."""
    lock = engine.project_lock(name, shared=shared)
    take(lock)
    return lock


def take(lock: NameLock) -> None:
    """Take a project's lock, and say so where that takes waiting."""
    if not lock.acquire(wait=False):
        print(f"notice: another command changes `{lock.name}`: waiting for it", file=sys.stderr)
        lock.acquire()


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise Terminated meanwhile: what a build runs is ended, then."""
    import signal

    from buildkit_py.cli.common import end_in_order

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    end_in_order()
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def looking() -> Engine:
    """Open the engine to look only."""
    from buildkit_py.core.dirs import run_dir, state_root
    from buildkit_py.engine.client import Engine

    return Engine.open(state_root(), run_dir())


def check_services(names: Sequence[str], known: Collection[str]) -> None:
    """Raise NoService for the first name that is no service's."""
    for name in names:
        if name not in known:
            from buildkit_py.compose.errors import NoService
            from buildkit_py.core.text import did_you_mean

            raise NoService(f"no such service: {name}", hint=did_you_mean(name, known))


def containers(
    engine: Engine, about: Named, names: Sequence[str] = (), *, oneoff: bool = False
) -> list[Known]:
    """Return a project's containers, or those of some services. Raises NoService."""
    from buildkit_py.compose.observe import containers_of, service_of

    found = containers_of(engine, about.name, oneoff=oneoff)
    check_services(names, {*(service_of(known) for known in found), *(about.services or ())})
    return [known for known in found if not names or service_of(known) in names]


def seconds_of(value: Value, option: str = "--timeout") -> float | None:
    """Return the seconds that an option gives, None where it is not given."""
    if value is None:
        return None
    text = str(value)
    if not text.isascii() or not text.isdigit():
        raise BadOption(f"`{option}` takes a whole number of seconds, not `{text}`")
    return float(text)


def pull_of(values: dict[str, Value]) -> str:
    """Return when `--pull` wants images pulled, "" for what each service says. Raises BadOption."""
    when = str(values["pull"] or "policy")
    if when not in ("always", "missing", "never", "policy"):
        raise BadOption(f"`--pull` is always, missing, never or policy, not `{when}`")
    return "" if when == "policy" else when


def same_files(made: Prepared) -> Callable[[str, str], bool]:
    """Return what says of a service and a container's label whether its files are those of now."""
    from buildkit_py.compose.grants import is_same

    services = made.project.services
    return lambda service, label: is_same(services[service], made.contents, label)


def at_once(given: dict[str, Value]) -> int:
    """Return how many things are done at once, from `--parallel` or COMPOSE_PARALLEL_LIMIT."""
    from buildkit_py.compose.carry_out import AT_ONCE

    text = str(given["parallel"] or os.environ.get("COMPOSE_PARALLEL_LIMIT") or "-1")
    try:
        number = int(text)
    except ValueError:
        raise BadOption(f"COMPOSE_PARALLEL_LIMIT is a whole number, not `{text}`") from None
    return number if number > 0 else AT_ONCE


def show_plan(plan: Plan) -> None:
    """Print a plan for people."""
    from buildkit_py.compose.plan import text_of
    from buildkit_py.core.draw import printable

    warn(plan)
    print("\n".join(printable(line) for line in text_of(plan).splitlines()))


def warn(plan: Plan) -> None:
    """Print on standard error what a plan warns of."""
    from buildkit_py.cli.paint import print_warning

    for text in plan.warnings:
        print_warning(text)
    if plan.orphans and not _is_true("COMPOSE_IGNORE_ORPHANS"):
        print_warning(
            f"found orphan containers ({', '.join(plan.orphans)}) for this project: if you removed"
            " or renamed this service in your compose file, `--remove-orphans` cleans up"
        )


def removes_orphans(values: dict[str, Value]) -> bool:
    """Say whether orphans are to go, from `--remove-orphans` or COMPOSE_REMOVE_ORPHANS."""
    remove = bool(values["remove_orphans"]) or _is_true("COMPOSE_REMOVE_ORPHANS")
    if remove and _is_true("COMPOSE_IGNORE_ORPHANS"):
        raise BadOption("COMPOSE_IGNORE_ORPHANS and `--remove-orphans` exclude each other")
    return remove


def _is_true(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "t", "true")


def teller(given: dict[str, Value]) -> Callable[[Told], None]:
    """Return what tells on standard error what is done, by `--progress`."""
    kind = _progress(given)
    if kind == "quiet":
        return lambda told: None
    if kind == "json":
        return _tell_json
    from buildkit_py.cli.paint import painter
    from buildkit_py.core.draw import printable

    paint = painter(sys.stderr)
    colours = {"done": "success", "error": "error", "warning": "warning"}

    def tell(told: Told) -> None:
        word = paint(told.word, colours[told.state]) if told.state in colours else told.word
        name = printable(told.name)
        print(f" {told.resource} {name}  {word}\n", end="", file=sys.stderr, flush=True)

    return tell


@contextlib.contextmanager
def telling(given: dict[str, Value]) -> Iterator[Telling]:
    """Give what tells what is done: on a terminal a table, which is drawn last at the end."""
    from buildkit_py.cli.paint import is_live, print_notice, print_warning

    kind = _progress(given)
    if kind != "tty" and not (kind == "auto" and is_live(sys.stderr)):
        yield Telling(teller(given), print_warning, print_notice, lambda: None)
        return
    from buildkit_py.cli.compose_table import Table
    from buildkit_py.cli.paint import notice, warning

    table = Table(sys.stderr)
    plain = teller({**given, "progress": "plain"})

    def tell(told: Told) -> None:
        if not table.tell(told):
            plain(told)

    try:
        yield Telling(
            tell,
            lambda text: table.say(warning(text)),
            lambda text, hint: table.say(notice(text, hint)),
            table.close,
        )
    finally:
        table.close()


def _progress(given: dict[str, Value]) -> str:
    return str(given["progress"] or os.environ.get("COMPOSE_PROGRESS") or "auto")


def _tell_json(told: Told) -> None:
    import json

    states = {"working": "Working", "done": "Done", "error": "Error", "warning": "Warning"}
    row = {"id": f"{told.resource} {told.name}", "status": states[told.state], "text": told.word}
    print(f"{json.dumps(row)}\n", end="", file=sys.stderr, flush=True)


def build_sinks(given: dict[str, Value]) -> Callable[[str], Sink]:
    """Return what gives where the events of a service's build go."""
    from buildkit_py.cli.compose_progress import Several
    from buildkit_py.cli.progress import make_sink

    kind = _progress(given)
    return Several(make_sink({"json": "rawjson"}.get(kind, kind), sys.stderr)).of
