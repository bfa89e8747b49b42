"""The engine as a library: containers, networks and volumes of a state root, by group.

    engine = Engine.open(root, run_dir, host=host)
    with engine.project("shop") as project:
        project.ensure_network("shop_default", labels={...})
        spec = project.create(ContainerRequest("nginx", platform, name="shop-web-1", ...))
        project.start(spec.id)
        ...
        for known in engine.containers({"com.docker.compose.project": "shop"}):
            print(known.spec.name, known.state.status)

Looking is done straight in the directories and needs nobody. What changes a running container
goes through its group's supervisor, which `start` makes where none runs. `host` is what
`userns.enter` gave this process, early, in its only thread; without it nothing can be created or
removed. All methods may be called from several threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from buildkit_py.core.errors import Bug
from buildkit_py.core.files import NameLock
from buildkit_py.engine import containers, network_records, volume_records
from buildkit_py.engine.connection import (
    Connection,
    SupervisorGone,
    alone,
    connect,
    connect_or_start,
)
from buildkit_py.engine.containers import (
    ContainerIsRunning,
    ContainerRequest,
    ContainerSpec,
    Known,
)
from buildkit_py.engine.logs import Line, follow, log_size, read_log
from buildkit_py.engine.network_records import NetworkRecord, NetworkTaken
from buildkit_py.engine.volume_records import Volume
from buildkit_py.oci.reference import Reference
from buildkit_py.runtime.host import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.store.store import Store


class Engine:
    """The engine's nouns in one state root."""

    def __init__(self, root: str, run_dir: str, host: Host | None) -> None:
        self.root = root
        self.run_dir = run_dir
        self._host = host
        self._store: Store | None = None
        self._opening = threading.Lock()

    @classmethod
    def open(cls, root: str, run_dir: str, *, host: Host | None = None) -> Engine:
        """Open a state root. Close it, or use it in a `with`, where it creates or removes."""
        return cls(root, run_dir, host)

    @property
    def host(self) -> Host:
        if self._host is None:
            raise Bug("the engine was opened to look only")
        return self._host

    @property
    def store(self) -> Store:
        """The store, opened at its first use."""
        with self._opening:
            if self._store is None:
                from buildkit_py.store.store import Store

                host = self.host
                self._store = Store.open(
                    self.root, overlay=host.overlay or "copy", single_id=host.ids == "single"
                )
                volume_records.sweep(self._store)
            return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def alone(self, group: str) -> Iterator[Connection | None]:
        """Give a connection to a group's supervisor that runs; or None, and then none is started.

        What one that was killed left behind is swept away.
        """
        from buildkit_py.runtime.kernel import cgroups

        def sweep() -> None:
            cgroups.sweep(self.host.cgroups)

        with alone(self.root, self.run_dir, group, killed=sweep) as connection:
            yield connection

    def project_lock(self, name: str, *, shared: bool = False) -> NameLock:
        """Return the lock of those who change what a project consists of, not yet taken.

        shared: of those who only take away, who may do so together
        """
        folder = os.path.join(self.root, "locks")
        for each in (self.root, folder):
            os.makedirs(each, mode=0o700, exist_ok=True)
        return NameLock(os.path.join(folder, "projects"), name, shared=shared)

    # Looking

    def containers(self, labels: Mapping[str, str | None] | None = None) -> list[Known]:
        """Return all containers that have the labels, the newest first. None is any value."""
        wanted = labels or {}
        found = [
            known
            for known in containers.all_of(self.root)
            if all(
                key in known.spec.labels and value in (None, known.spec.labels[key])
                for key, value in wanted.items()
            )
        ]
        return sorted(found, key=lambda known: known.spec.created, reverse=True)

    def find(self, text: str) -> Known:
        """Return the container of a name or id. Raises UnknownContainer, AmbiguousContainer."""
        return containers.find(self.root, text)

    def networks(self) -> list[NetworkRecord]:
        return network_records.list_networks(self.root)

    def volumes(self) -> list[Volume]:
        return volume_records.list_volumes(self.root)

    def log_size(self, known: Known) -> int:
        """Return where a container's log ends now, for `start` of `logs`."""
        return log_size(known.directory)

    def logs(
        self, known: Known, *, tail: int | None = None, go_on: bool = False, start: int = 0
    ) -> Iterator[Line]:
        """Give the lines of a container's log; with go_on also those to come, until its end.

        start: where to begin, as `log_size` gave it, instead of `tail`
        """
        if not go_on:
            yield from read_log(known.directory, tail=tail)
            return
        connection = connect(self.root, self.run_dir, known.spec.group)
        if connection is None:
            yield from read_log(known.directory, tail=tail)
            return
        with connection:
            connection.send("follow", id=known.spec.id)
            yield from follow(known.directory, connection.answers(), tail=tail, start=start)

    # Changing

    def project(self, name: str) -> Group:
        """Return a project: a group of containers with one supervisor."""
        return Group(self, name)

    def group_of(self, known: Known) -> Group:
        return Group(self, known.spec.group)

    def create(
        self,
        request: ContainerRequest,
        *,
        group: str | None = None,
        on_pull: Callable[[Reference], None] = lambda reference: None,
        progress: Any = None,
    ) -> ContainerSpec:
        """Make a container that does not run yet. group: None is one of its own."""
        from buildkit_py.engine.create import create

        for use in request.networks:
            record = network_records.find(self.root, use.name)
            if group is None:
                group = record.owner
            elif record.owner != group:
                raise network_records.ForeignNetwork(
                    f"the network `{use.name}` belongs to `{record.owner}`, and containers of"
                    f" `{group}` cannot join it yet"
                )
        return create(
            request, store=self.store, host=self.host, group=group, on_pull=on_pull,
            progress=progress,
        )  # fmt: skip

    def start(self, known: Known) -> None:
        with self.group_of(known) as group:
            group.start(known.spec.id)

    def stop(self, known: Known, *, seconds: float | None = None, number: int = 0) -> int:
        """Stop a container and return its exit code. seconds, number: None and 0 are its own."""
        return self.group_of(known).stop(known.spec.id, seconds=seconds, number=number)

    def kill(self, known: Known, number: int) -> None:
        self.group_of(known).kill(known.spec.id, number)

    def wait(self, known: Known) -> int:
        """Wait until a container runs no more, and return its exit code."""
        return self.group_of(known).wait(known.spec.id)

    def remove(self, known: Known, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container; one that runs by force. Raises ContainerIsRunning."""
        self.group_of(known).remove(known.spec.id, force=force, volumes=volumes)

    def create_network(
        self,
        name: str,
        *,
        owner: str | None = None,
        labels: Mapping[str, str] | None = None,
        internal: bool = False,
        subnet: str = "",
        gateway: str = "",
    ) -> NetworkRecord:
        """Remember a network. owner: the project that it belongs to; None is none."""
        return network_records.create(
            self.root, name, owner=owner, labels=labels, internal=internal, subnet=subnet,
            gateway=gateway,
        )  # fmt: skip

    def remove_network(self, text: str) -> NetworkRecord:
        """Forget a network. Raises UnknownNetwork, NetworkInUse."""
        record = network_records.find(self.root, text)
        with self.alone(record.owner) as connection:
            if connection is None:
                network_records.remove(self.root, record.name)
            else:
                connection.ask("remove-network", name=record.name)
        return record

    def ensure_volume(self, name: str, labels: Mapping[str, str] | None = None) -> Volume:
        return volume_records.ensure(self.store, name, labels=labels)

    def remove_volume(self, name: str) -> None:
        """Remove a volume. Raises UnknownVolume, VolumeInUse."""
        volume_records.remove(self.store, name)


class Group:
    """A group of containers and its supervisor: a project, or a single container.

    supervisor: the group whose supervisor looks after what is made here: its own, or the owner of
        networks that it joins. One that was made before stays where it is.
    In a `with` the supervisor stays from the first request that needs one, whether containers
    run or not.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        self.supervisor = name
        self._held: Connection | None = None
        self._holds = False

    def __enter__(self) -> Group:
        self._holds = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._holds = False
        if self._held is not None:
            self._held.close()
            self._held = None

    def create(
        self, request: ContainerRequest, *, on_pull: Callable[[Reference], None] | None = None
    ) -> ContainerSpec:
        """Make a container of this project that does not run yet."""
        return self.engine.create(
            request, group=self.supervisor, on_pull=on_pull or (lambda reference: None)
        )

    def ensure_network(
        self, name: str, *, labels: Mapping[str, str] | None = None, internal: bool = False,
        subnet: str = "", gateway: str = "",
    ) -> NetworkRecord:  # fmt: skip
        """Return a network of this project; remembered where it is missing."""
        for record in self.engine.networks():
            if record.name == name:
                return record
        try:
            return self.engine.create_network(
                name, owner=self.supervisor, labels=labels, internal=internal, subnet=subnet,
                gateway=gateway,
            )  # fmt: skip
        except NetworkTaken:
            # Somebody else, such as a second `pycompose run`, made it meanwhile.
            for record in self.engine.networks():
                if record.name == name and record.owner == self.supervisor:
                    return record
            raise

    def start(self, id: str) -> None:
        """Start a container, and return when its program runs.

        Raises what prevents it; CannotStart (engine/cannot-start) for a program that cannot be.
        """
        if self._holds and self._held is None:
            held = self._connect_or_start()
            held.ask("hold")
            self._held = held
        with self._connect_or_start(id) as connection:
            connection.ask("start", id=id)

    def stop(self, id: str, *, seconds: float | None = None, number: int = 0) -> int:
        """Stop a container, and return its exit code when it is gone."""
        return self._until_ended(id, "stop", seconds=seconds, signal=number)

    def kill(self, id: str, number: int) -> None:
        connection = self._connect(id)
        if connection is None:
            raise containers.NotRunning(id)
        with connection:
            connection.ask("kill", id=id, signal=number)

    def restart(self, id: str, *, seconds: float | None = None) -> None:
        self.stop(id, seconds=seconds)
        self.start(id)

    def wait(self, id: str) -> int:
        """Wait until a container runs no more and is not started again; return its exit code."""
        return self._until_ended(id, "wait")

    def _until_ended(self, id: str, do: str, **values: Any) -> int:
        connection = self._connect(id)
        if connection is not None:
            with connection, contextlib.suppress(SupervisorGone):
                return int(connection.ask(do, id=id, **values)["code"])
        return self._known(id).state.exit_code

    def remove(self, id: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container. force: kill it first; volumes: also those without a name.

        Raises ContainerIsRunning.
        """
        from buildkit_py.engine.remove import taken_away

        known = self._known(id)
        if known.running and not force:
            raise ContainerIsRunning(known.spec.name)
        # Opening the store sweeps what others left; and the names are its.
        assert self.engine.store is not None
        with contextlib.ExitStack() as removal, self._let_go(known, force=force):
            removal.enter_context(taken_away(self.engine.root, known.spec, with_volumes=volumes))

    @contextlib.contextmanager
    def _let_go(self, known: Known, *, force: bool) -> Iterator[None]:
        """Keep a container from being started meanwhile. force: kill it first."""
        while True:
            with self.engine.alone(known.spec.group) as connection:
                if connection is not None:
                    try:
                        connection.ask("forget", id=known.spec.id, force=force)
                    except SupervisorGone:
                        continue  # and so is the container; what is left is removed as it is
                yield
                return

    def leave(self) -> None:
        """Wait until the supervisor has ended, unless something keeps it. Sweep after a dead one.

        Afterwards the group has no process, link, cgroup, or file beside its records.
        """
        with self.engine.alone(self.supervisor) as connection:
            if connection is not None:
                with contextlib.suppress(SupervisorGone):
                    connection.ask("leave")

    def rename(self, id: str, name: str) -> None:
        """Give a container that does not run another name. Raises NameTaken, RenamingRuns."""
        from buildkit_py.engine.rename import rename

        rename(self.engine.root, id, name)

    def execute(
        self,
        id: str,
        args: Sequence[str],
        fds: tuple[int, int, int],
        *,
        env: Sequence[str] = (),
        cwd: str = "",
        user: str | None = None,
        terminal: bool = False,
        detach: bool = False,
    ) -> Connection:
        """Start a further program in a container; the answers on the connection tell of it.

        fds: become its standard streams. The first answer has `pid`, and a descriptor of its
        terminal where it has one; the last has `code` and `message`. Raises NotRunning.
        """
        connection = self._connect(id)
        if connection is None:
            raise containers.NotRunning(id)
        connection.send(
            "execute", fds, id=id, args=list(args), env=list(env), cwd=cwd, user=user,
            terminal=terminal, detach=detach,
        )  # fmt: skip
        return connection

    def run(self, id: str, fds: tuple[int, int, int]) -> Connection:
        """Start a container with streams of ours instead of its log; see engine/attached.py.

        An answer `terminal` brings a descriptor of its terminal, where it has one; `started`
        says that it runs, and the last one has its exit `code`.
        """
        connection = self._connect_or_start(id)
        connection.send("run", fds, id=id)
        return connection

    def processes(self, id: str) -> list[dict[str, Any]]:
        """Return the processes of a container; see engine/processes.py. Raises NotRunning."""
        connection = self._connect(id)
        if connection is None:
            raise containers.NotRunning(id)
        with connection:
            connection.send("processes", id=id)
            _, (fd,) = connection.receive()
            with open(fd, encoding="utf-8") as file:
                rows: list[dict[str, Any]] = json.load(file)
            return rows

    def until(
        self, holds: Callable[[], bool], *, seconds: float | None = None, stop: int = -1
    ) -> bool:
        """Wait until something holds of this group's containers; asked anew after each event.

        stop: a descriptor that becomes readable when nobody wants to wait any more
        Returns what it last was: False after so many seconds, or when no supervisor runs any
        more and it does not hold then.
        """
        connection = self.events()
        if connection is None:
            return holds()
        until = None if seconds is None else time.monotonic() + seconds
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        if stop >= 0:
            poll.register(stop, select.POLLIN)
        with connection:
            while not holds():
                left = None if until is None else max(until - time.monotonic(), 0) * 1000
                ready = poll.poll(left)
                if not ready or stop in [fd for fd, _ in ready]:
                    return holds()
                try:
                    connection.receive()
                except SupervisorGone:
                    return holds()
            return True

    def events(self) -> Connection | None:
        """Return a connection whose answers are events, None where no supervisor runs."""
        connection = self._connect()
        if connection is not None:
            connection.send("events")
        return connection

    def watch(self) -> Connection:
        """Return a connection whose answers are events; the supervisor is started, and stays."""
        connection = self._connect_or_start()
        connection.send("events")
        return connection

    def _known(self, id: str) -> Known:
        try:
            return containers.observe(containers.directory_of(self.engine.root, id))
        except FileNotFoundError:
            raise containers.UnknownContainer(id) from None

    def _supervisor_of(self, id: str) -> str:
        """Return whose supervisor looks after a container: one that joined a network of another
        group, or was made before such a network came, is not where the rest is."""
        return self._known(id).spec.group if id else self.supervisor

    def _connect(self, id: str = "") -> Connection | None:
        return connect(self.engine.root, self.engine.run_dir, self._supervisor_of(id))

    def _connect_or_start(self, id: str = "") -> Connection:
        os.makedirs(self.engine.root, mode=0o700, exist_ok=True)
        return connect_or_start(self.engine.root, self.engine.run_dir, self._supervisor_of(id))
