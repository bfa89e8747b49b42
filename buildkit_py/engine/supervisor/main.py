"""A supervisor: one process, one thread, for one group of containers.

It is started by a client that found none (engine/client.py), with the socket to listen on, and
ends by itself when nothing runs and nobody is connected. It owns the zygote, the networks and the
proxy of published ports, which the kernel ends with it, so that after SIGKILL nothing runs that
nobody looks after; the locks in its containers' directories are free then, and everybody sees it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from buildkit_py.core.errors import BuildkitError
from buildkit_py.core.files import Lock
from buildkit_py.engine import containers, errors_over_sockets
from buildkit_py.engine.connection import lock_of, vacate
from buildkit_py.engine.containers import ContainerSpec, NotRunning
from buildkit_py.engine.events import Journal
from buildkit_py.engine.supervisor.control import Client, is_ours
from buildkit_py.engine.supervisor.loop import Loop
from buildkit_py.engine.supervisor.member import Member
from buildkit_py.engine.supervisor.names import Names
from buildkit_py.engine.supervisor.plugged import record_of
from buildkit_py.engine.supervisor.programs import Ended, Program
from buildkit_py.runtime import userns
from buildkit_py.runtime.execute import plan_execution
from buildkit_py.runtime.network import resolve
from buildkit_py.runtime.network.publish import Proxy
from buildkit_py.runtime.network.switch import Switch
from buildkit_py.runtime.process import Process
from buildkit_py.runtime.users import resolve_account
from buildkit_py.runtime.zygote import Zygote

LISTENER = 3
"""The descriptor of the socket that clients connect to."""
_SOON_SECONDS = 0.05


class Supervisor:
    """Everything that one group shares."""

    def __init__(
        self, root: str, run_dir: str, group: str, place: str, listener: socket.socket
    ) -> None:
        """place: path of the socket."""
        self.host = userns.enter()
        self.zygote = Zygote.start(self.host)
        # Ten descriptors a container. After the zygote: containers have the limit that we had.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.root = root
        self.run_dir = run_dir
        self.group = group
        self.place = place
        self.listener = listener
        self.loop = Loop()
        self.members: dict[str, Member] = {}
        self.clients: set[Client] = set()
        self.watchers: set[Client] = set()
        self.programs: set[Program] = set()
        self.doomed: list[str] = []
        """Containers that somebody is removing, by id, once for each: none of them is started."""
        self.parting: set[Client] = set()
        """Clients that wait for our end, or to hear that we stay."""
        self.is_ending = False
        self.resolver = resolve.host_resolver()
        self.names = Names(self.loop, self.resolver.nameservers)
        self.switch = Switch(self.host, self.zygote, run_dir=run_dir)
        self._proxy: Proxy | None = None
        self._journal = Journal(root, group)
        self._leaving: Lock | None = None

    def serve(self) -> None:
        """Work until nothing is left to do."""
        self.listener.setblocking(False)
        self.loop.watch(self.listener.fileno(), self._on_connection)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writer)
        self.loop.watch(reader, lambda _: self._on_signal(reader))
        gc.collect()
        gc.freeze()
        try:
            self.loop.run()
        finally:
            self.close()
        if self._leaving is None:  # somebody wanted our end
            self.listener.close()
            with lock_of(self.place):
                vacate(self.place)

    def close(self) -> None:
        """End everything in order. The kernel would do the same without us."""
        if self._proxy is not None:
            self._proxy.close()
        self.zygote.close()
        self.switch.close()

    @property
    def proxy(self) -> Proxy:
        """The proxy of published ports; it is started by the first one."""
        if self._proxy is None:
            self._proxy = Proxy(self.zygote, self.switch.netns_fd)
        return self._proxy

    def member(self, id: str) -> Member:
        """Return a container of this group. Raises UnknownContainer."""
        member = self.members.get(id)
        if member is not None:
            return member
        try:
            known = containers.observe(containers.directory_of(self.root, id))
        except FileNotFoundError:
            raise containers.UnknownContainer(id) from None
        member = self.members[id] = Member(self, known.directory, known.spec)
        member.state = known.state
        return member

    def settled(self, member: Member) -> None:
        """A container ended and is not started again by itself."""
        member.close()
        self.members.pop(member.spec.id, None)
        if member.state.stopped:
            self.tell("stop", member.spec)
        if member.spec.auto_remove and member.state.started:
            from buildkit_py.engine.remove import forget_journal, remove_directory

            remove_directory(self.root, member.spec, with_volumes=True)
            self.tell("destroy", member.spec)
            forget_journal(self.root, self.group)
        if self.is_ending and not any(each.is_alive for each in self.members.values()):
            self.loop.stop()
        self.loop.later(0, self.leave_if_idle)

    def forget(self, id: str) -> None:
        """Let go of a container that does not run."""
        member = self.members.pop(id, None)
        if member is not None:
            member.close()

    def make_network(self, name: str) -> None:
        """Make a network that a container is about to join, if it is not there yet."""
        if name in self.switch:
            return
        record = record_of(self, name)
        if record is None:
            self.switch.add(name)
        else:
            self.switch.add(
                name, internal=record.internal, subnet=record.subnet, gateway=record.gateway
            )
        self.names.host_address = self.switch.host_address
        self.names.know_subnet(name, self.switch.subnet(name))
        for notice in self.switch.notices:
            self._journal.write("notice", {"text": notice})
        self.switch.notices.clear()

    def execute(
        self,
        member: Member,
        args: Sequence[str],
        *,
        stdio: tuple[int, int, int],
        done: Ended,
        env: Sequence[str] = (),
        cwd: str = "",
        user: str | None = None,
        terminal: bool = False,
        ready: Callable[[Program], None] = lambda program: None,
    ) -> Program:
        """Start a further program in a container. stdio: the caller's. Raises BuildkitError.

        cwd, user: "" and None are the container's own
        """
        process = member.process
        if process is None or member.state.status != "running":
            raise NotRunning(member.spec.id)
        container = member.spec.container
        account = container.account
        if user is not None:
            # Its tables as they are now, seen by its first process.
            root = os.open(f"/proc/{process.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                account = resolve_account(root, user)
            finally:
                os.close(root)
        execution = plan_execution(
            container, self.host, args, env=env, cwd=cwd or container.cwd, account=account,
            terminal=terminal,
        )  # fmt: skip
        added = self.zygote.execute(
            process, execution, stdin=stdio[0], stdout=stdio[1], stderr=stdio[2]
        )
        program = Program(
            self.loop, process, added, done=done, ready=ready, gone=self.programs.discard
        )
        self.programs.add(program)
        return program

    def end_programs_of(self, container: Process) -> None:
        """Take in the ends of further programs of a container that is gone."""
        for each in [each for each in self.programs if each.container is container]:
            each.finish()

    def tell(self, event: str, spec: ContainerSpec, **attributes: str) -> None:
        """Write an event down, and tell everybody who watches."""
        data = self._journal.write(event, {"id": spec.id, "name": spec.name, **attributes})
        for client in tuple(self.watchers):
            client.send({"event": data})

    def disconnected(self, client: Client) -> None:
        self.clients.discard(client)
        self.parting.discard(client)
        self.leave_if_idle()

    def _on_connection(self, _: int) -> None:
        # One who is gone again; or too many at once, and whoever waits is served later.
        with contextlib.suppress(OSError):
            connection, _address = self.listener.accept()
            if is_ours(connection):
                self.clients.add(Client(self, connection))
            else:
                connection.close()

    def leave_if_idle(self) -> None:
        """End when there is nothing to look after; a client that is connecting is still served.

        Clients connect while they hold the lock of starts. So once we have it, everybody who
        found our socket is in its queue, and everybody else will find none.
        """
        if self.clients or self._leaving or any(m.is_alive for m in self.members.values()):
            for client in () if self._leaving else tuple(self.parting):
                client.stays()
            return
        lock = lock_of(self.place)
        if not lock.acquire(wait=False):
            self.loop.later(_SOON_SECONDS, self.leave_if_idle)
            return
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        if poll.poll(0):
            lock.release()
            return
        vacate(self.place)
        self._leaving = lock  # released by the end of this process
        self.loop.stop()

    def _on_signal(self, reader: int) -> None:
        """Somebody wants us to end: stop all containers as they want to be stopped."""
        with contextlib.suppress(BlockingIOError):
            os.read(reader, 64)
        self.is_ending = True
        alive = [each for each in self.members.values() if each.is_alive]
        for member in alive:
            member.stop(member.spec.stop_signal, member.spec.stop_seconds, lambda state: None)
        if not alive:
            self.loop.stop()


def main(arguments: Sequence[str]) -> NoReturn:
    """Be a supervisor. Never returns. arguments: root, run_dir, group, place."""
    code = 70
    root, run_dir, group, place = arguments
    try:
        os.umask(0o022)
        os.set_inheritable(LISTENER, False)
        Supervisor(root, run_dir, group, place, socket.socket(fileno=LISTENER)).serve()
        code = 0
    except BuildkitError as error:
        # Whoever started us reads it: our standard error is a file beside the socket.
        os.write(2, json.dumps(errors_over_sockets.to_data(error)).encode() + b"\n")
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
    finally:
        os._exit(code)
