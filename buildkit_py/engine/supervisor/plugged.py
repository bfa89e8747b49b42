"""The place of one container in its networks: interfaces, names, published ports, its files.

Addresses and ports are taken at a start and kept over restarts, until the container ends for good.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack

from buildkit_py.core.data import replace
from buildkit_py.core.errors import HostError
from buildkit_py.engine import network_records
from buildkit_py.engine.containers import ContainerSpec, Endpoint, NetworkUse, PublishedPort
from buildkit_py.runtime.network import publish, resolve, subnets
from buildkit_py.runtime.network.interface import NAMESERVER
from buildkit_py.runtime.process import Process
from buildkit_py.runtime.spec import Container, Interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.engine.supervisor.main import Supervisor

DEFAULT = "bridge"
"""The network of a container that asks for none by name: its group's, without a record."""


class Plugged:
    """What one container has of the networks; empty while it does not run."""

    def __init__(self, home: Supervisor, spec: ContainerSpec) -> None:
        self._home = home
        self._spec = spec
        self._interfaces: list[tuple[NetworkUse, Interface]] = []
        self._ports: list[tuple[publish.Bound, int]] = []

    @property
    def networks(self) -> list[str]:
        return [use.name for use, _ in self._interfaces]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(
            Endpoint(
                use.name,
                interface.address,
                interface.prefix,
                self._home.switch.gateway(use.name),
                ":".join(f"{byte:02x}" for byte in subnets.mac_of(interface.address)),
                self.names_in(use),
            )
            for use, interface in self._interfaces
        )

    @property
    def published(self) -> tuple[PublishedPort, ...]:
        return tuple(
            PublishedPort(
                bound.port.container_port, bound.port.protocol, bound.port.host_ip, bound.host_port
            )
            for bound, _ in self._ports
        )

    def names_in(self, use: NetworkUse) -> tuple[str, ...]:
        """Return the names under which others of a network find the container, each once."""
        spec = self._spec
        names = (spec.name, *use.aliases, spec.id[:12], spec.container.hostname)
        return tuple(dict.fromkeys(names))

    def prepare(self) -> Container:
        """Return the container with its interfaces and files; takes addresses and ports.

        What was taken for an earlier run is kept. Raises BuildkitError; `release` gives back.
        """
        spec = self._spec
        if spec.network_mode == "networks" and not self._interfaces:
            self._join()
        interfaces = [interface for _, interface in self._interfaces]
        return replace(
            spec.container,
            interface=interfaces[0] if interfaces else None,
            further_interfaces=tuple(interfaces[1:]),
            nameserver=bool(interfaces),
            files={**spec.container.files, **self._files()},
        )

    def _join(self) -> None:
        uses = self._spec.networks or (NetworkUse(DEFAULT),)
        with ExitStack() as undo:
            # First of all, so that a conflict is known before anything is made.
            bound = publish.bind(self._spec.ports)
            for each in bound:
                undo.callback(each.close)
            for use in uses:
                self._home.make_network(use.name)
            # The default route: by a network that leads out, and of these by name; moby
            # libnetwork, `sandbox.go`.
            out = sorted(use.name for use in uses if not self._home.switch.is_internal(use.name))
            for number, use in enumerate(uses):
                interface = self._home.switch.reserve(
                    use.name,
                    interface=f"eth{number}",
                    address=use.address,
                    leads_out=use.name == out[0] if out else False,
                )
                self._interfaces.append((use, interface))
            # Without a way out nothing is published, as with docker.
            if out:
                target = next(i.address for use, i in self._interfaces if use.name == out[0])
                for each in bound:
                    number = self._home.proxy.carry(each, target)
                    self._ports.append((each, number))
                    self._home.switch.publish(
                        number, out[0], target, each.port.container_port,
                        host_ip=each.port.host_ip, host_port=each.host_port,
                        protocol=each.port.protocol,
                    )  # fmt: skip
                undo.pop_all()

    def _files(self) -> dict[str, str]:
        spec, home = self._spec, self._home
        hostname = spec.container.hostname
        files = {"/etc/hostname": f"{hostname}\n"}
        if spec.network_mode == "host":
            with open(resolve.RESOLV_CONF, encoding="utf-8", errors="replace") as file:
                files["/etc/resolv.conf"] = file.read()
            files["/etc/hosts"] = resolve.host_hosts(spec.hosts)
            return files
        text, _ = resolve.resolv_conf(home.resolver)
        if self._interfaces:
            text = resolve.inner_resolv_conf(home.resolver, NAMESERVER)
        files["/etc/resolv.conf"] = text
        lines = resolve.hosts(add=spec.hosts, host_address=home.switch.host_address)
        domain = spec.container.domainname
        own_name = f"{hostname}.{domain} {hostname}" if domain else hostname
        own = "".join(f"{interface.address}\t{own_name}\n" for _, interface in self._interfaces)
        files["/etc/hosts"] = lines + own
        return files

    def plug(self, process: Process) -> None:
        """Put the interfaces into the namespace of a container that waits."""
        for use, interface in self._interfaces:
            self._home.switch.plug(use.name, interface, process.netns)

    def serve_names(self, sockets: list[socket.socket]) -> None:
        """Answer questions that come to sockets made inside of the container."""
        internal = all(self._home.switch.is_internal(name) for name in self.networks)
        self._home.names.serve(self, sockets, internal=internal)

    def announce(self) -> None:
        """Let others find the container by its names."""
        for use, interface in self._interfaces:
            self._home.names.add(self, use.name, self.names_in(use), interface.address)

    def withdraw(self) -> None:
        """Let nobody find it any more, and answer it no questions: it does not run."""
        self._home.names.forget(self)

    def release(self) -> None:
        """Give addresses and ports back. What the kernel refuses keeps nothing else from it."""
        for _, number in self._ports:
            try:
                self._home.switch.unpublish(number)
            except HostError as error:
                self._home.tell("warning", self._spec, text=error.message)
            self._home.proxy.stop(number)
        self._ports = []
        for use, interface in self._interfaces:
            self._home.switch.release(use.name, interface)
        self._interfaces = []


def record_of(home: Supervisor, name: str) -> network_records.NetworkRecord | None:
    """Return what is remembered of a network, None of a group's own default one.

    Raises UnknownNetwork, ForeignNetwork.
    """
    if name == DEFAULT:
        return None
    record = network_records.find(home.root, name)
    if record.owner != home.group:
        raise network_records.ForeignNetwork(
            f"the network `{name}` belongs to `{record.owner}`, and containers of `{home.group}`"
            " cannot join it yet",
            hint="let one project have both",
        )
    return record
