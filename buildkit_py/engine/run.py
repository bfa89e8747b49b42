"""`run`: a container of an image in the foreground, from its request to its exit code.

Its writable layer is a snapshot of this process, thrown away at the end; when this process dies,
however it dies, the zygote kills the container and the next session removes the snapshot.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from buildkit_py.core.data import dataclass, replace
from buildkit_py.core.errors import InputError
from buildkit_py.engine import limit_checks
from buildkit_py.engine.command import argv_of, environment_of
from buildkit_py.engine.images import Progress, find_or_pull
from buildkit_py.engine.mounts import VolumeRequest, uncovered
from buildkit_py.engine.request import RunRequest
from buildkit_py.engine.signals import forwarded
from buildkit_py.engine.terminal import Output, carry_input, fit, raw, size_of
from buildkit_py.engine.volumes import BadWorkdir, bind_of, check_targets, make_workdir
from buildkit_py.oci.image import ContainerConfig
from buildkit_py.oci.reference import Reference
from buildkit_py.runtime.host import Host
from buildkit_py.runtime.network import publish, resolve
from buildkit_py.runtime.network.network import Network
from buildkit_py.runtime.network.uplink import NetworkUnavailable
from buildkit_py.runtime.process import Exit, Process
from buildkit_py.runtime.spec import (
    Account,
    Container,
    Directory,
    Interface,
    MountSpec,
    Overlay,
)
from buildkit_py.runtime.users import resolve_account
from buildkit_py.runtime.zygote import Zygote
from buildkit_py.store.snapshots import Active
from buildkit_py.store.store import Store


class CannotPublish(InputError):
    """Ports are published for a container that has no network of its own."""

    code = "engine/cannot-publish"


@dataclass(frozen=True, slots=True)
class Talk:
    """How a run tells its caller what happens meanwhile.

    notice: something about this machine that people should know, and a hint or ""
    on_pull, progress: see engine.images
    """

    notice: Callable[[str, str], None]
    on_pull: Callable[[Reference], None] = lambda reference: None
    progress: Progress | None = None


def run(
    request: RunRequest, *, root: str, host: Host, zygote: Zygote, run_dir: str, talk: Talk
) -> Exit:
    """Run a container to its end with our standard streams. Main thread only.

    Raises BuildkitError for everything that prevents its start, except a program that cannot be
    executed: that is an Exit with code 126 or 127 and a message, as docker's.
    """
    limit_checks.check(request.limits)
    limits, unkept = limit_checks.kept(request.limits, host.cgroups)
    for text in unkept:
        talk.notice(text, limit_checks.hint(host) if text == unkept[-1] else "")
    request = replace(request, limits=limits)
    with ExitStack() as stack:
        # Taken first, so that a conflict is known before anything is pulled or made.
        ports = publish.bind(request.ports)
        for port in ports:
            stack.callback(port.close)
        if ports and request.network in ("host", "none"):
            raise CannotPublish(
                f"ports cannot be published with `--network {request.network}`",
                hint="leave `-p` or `--network` away",
            )
        store = Store.open(root, overlay=host.overlay or "copy", single_id=host.ids == "single")
        stack.callback(store.close)
        record, image = find_or_pull(
            store,
            request.image,
            platform=request.platform,
            policy=request.pull,
            on_pull=talk.on_pull,
            progress=talk.progress,
        )
        for notice in host.lacks:
            talk.notice(notice, "")
        manifest = store.images.manifest(record.descriptor.digest)
        parent = store.snapshots.unpack_image(manifest, image)
        active = store.snapshots.prepare(parent)
        stack.callback(active.discard)
        mounts, account, cwd = _prepare(store, request, image.config, active, stack)
        # Without ports the host's own network serves better than one without a way out.
        alone = bool(ports) or request.network == "bridge"
        network = stack.enter_context(
            Network.open(host, zygote, run_dir=run_dir, purpose="run", may_be_alone=alone)
        )
        interface = _reserve(request, network, stack, talk)
        container = _container(
            request, image.config, active, host, network, interface, mounts, account, cwd, talk
        )
        with _created(zygote, container, request) as running:
            if interface is not None:
                network.plug(interface, running.process.netns)
            if ports:
                assert interface is not None
                proxy = stack.enter_context(publish.Proxy(zygote, network.netns_fd))
                for port in ports:
                    proxy.carry(port, interface.address)
            return running.to_the_end(talk)


def _prepare(
    store: Store,
    request: RunRequest,
    config: ContainerConfig,
    active: Active,
    stack: ExitStack,
) -> tuple[list[MountSpec], Account, str]:
    """Return mounts, account and working directory, all of which are there afterwards."""
    cwd = request.workdir or config.working_dir or "/"
    if not cwd.startswith("/"):
        raise BadWorkdir(f"the working directory `{cwd}` is invalid: it is not an absolute path")
    cwd = posixpath.normpath(f"/{cwd.lstrip('/')}")
    targets = [*(each.target for each in request.volumes), *(t.target for t in request.tmpfs)]
    requests = [
        *request.volumes,
        *(VolumeRequest("anonymous", "", path) for path in uncovered(config.volumes, targets)),
    ]
    mounts: list[MountSpec] = list(request.tmpfs)
    with active.mount() as root:
        account = resolve_account(root, request.user or config.user)
        mounts += [bind_of(store, each, root, stack) for each in requests]
        check_targets(mounts)
        make_workdir(root, cwd, mounts)
    return mounts, account, cwd


def _reserve(
    request: RunRequest, network: Network, stack: ExitStack, talk: Talk
) -> Interface | None:
    if request.network in ("host", "none"):
        return None
    try:
        interface = network.reserve()
    except NetworkUnavailable as error:
        if request.network == "bridge" or request.ports:
            raise
        talk.notice(
            f"{error.message}: the container uses the network of this host", error.hint or ""
        )
        return None
    stack.callback(network.release, interface)
    for notice in network.notices:
        talk.notice(notice, "")
    return interface


def _container(
    request: RunRequest,
    config: ContainerConfig,
    active: Active,
    host: Host,
    network: Network,
    interface: Interface | None,
    mounts: list[MountSpec],
    account: Account,
    cwd: str,
    talk: Talk,
) -> Container:
    on_host = interface is None and request.network != "none"
    hostname = request.hostname or (os.uname().nodename if on_host else os.urandom(6).hex())
    env = environment_of((f"HOSTNAME={hostname}", *config.env), request.env)
    return Container(
        args=argv_of(config, request.command, request.entrypoint),
        root=Overlay(active.lower, active.upper, active.work, userxattr=host.overlay == "userxattr")
        if active.lower
        else Directory(active.upper),
        env=env,
        cwd=cwd,
        account=account,
        hostname=hostname,
        network="host" if on_host else "private",
        interface=interface,
        mounts=tuple(mounts),
        files=_files(request, network, interface, hostname, talk, on_host=on_host),
        limits=request.limits,
        rlimits=request.rlimits,
        shm_bytes=request.shm_bytes or 64 << 20,
        read_only=request.read_only,
        terminal=request.terminal,
        terminal_size=size_of(1) if request.terminal else (0, 0),
        stubs=False,  # the layer is thrown away as it is
    )


def _files(
    request: RunRequest,
    network: Network,
    interface: Interface | None,
    hostname: str,
    talk: Talk,
    *,
    on_host: bool,
) -> dict[str, str]:
    files = {"/etc/hostname": f"{hostname}\n"}
    if on_host:
        with open(resolve.RESOLV_CONF, encoding="utf-8", errors="replace") as file:
            files["/etc/resolv.conf"] = file.read()
        files["/etc/hosts"] = resolve.host_hosts(request.hosts)
        return files
    text, notices = resolve.resolv_conf(
        resolve.host_resolver(), forwarder=network.nameserver if interface else ""
    )
    if interface is not None:
        for notice in notices:
            talk.notice(notice, "")
    files["/etc/resolv.conf"] = text
    files["/etc/hosts"] = resolve.hosts(
        address=interface.address if interface else "",
        hostname=hostname if interface else "",
        add=request.hosts,
        host_address=network.host_address if interface else "",
    )
    return files


class _Running:
    """A container that waits at its start, with the pipes to its program."""

    def __init__(self, process: Process, request: RunRequest, ours: dict[int, int]) -> None:
        self.process = process
        self.request = request
        self.ours = ours

    def to_the_end(self, talk: Talk) -> Exit:
        process, request = self.process, self.request
        with ExitStack() as stack:
            process.start()
            stack.enter_context(forwarded(process, on_resize=lambda: _fit(process)))
            for warning in process.warnings:
                talk.notice(warning, "")
            if request.terminal:
                outputs = self._join_terminal(stack)
            else:
                outputs = [
                    Output(self.ours.pop(number), number, f"output-{number}") for number in (1, 2)
                ]
                if request.interactive:
                    carry_input(0, self.ours.pop(0))
            end = process.wait()
            for output in outputs:
                output.join()
        for output in outputs:
            if output.error is not None and output.error.errno != errno.EPIPE:
                talk.notice(f"the output is not whole: {output.error.strerror}", "")
        if end.oom:
            talk.notice("the memory limit was reached, and something was killed for it", "")
        return end

    def _join_terminal(self, stack: ExitStack) -> list[Output]:
        process = self.process
        if process.terminal < 0:  # it ended before it had one
            return []
        if self.request.interactive and os.isatty(0):
            stack.enter_context(raw(0))
        _fit(process)
        if self.request.interactive:
            carry_input(0, os.dup(process.terminal))
        return [Output(os.dup(process.terminal), 1, "terminal")]


def _fit(process: Process) -> None:
    for fd in (0, 1, 2):
        if os.isatty(fd):
            fit(process, fd)
            return


@contextmanager
def _created(zygote: Zygote, container: Container, request: RunRequest) -> Iterator[_Running]:
    """Give the container, which waits, with pipes for what is wanted of its three streams."""
    wanted = (1, 2) if not request.terminal else ()
    if request.interactive and not request.terminal:
        wanted = (0, *wanted)
    ours: dict[int, int] = {}
    theirs: dict[int, int] = {}
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        for number in wanted:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            ours[number], theirs[number] = (writer, reader) if number == 0 else (reader, writer)
        streams = [theirs.get(number, nothing) for number in (0, 1, 2)]
        process = zygote.create(container, stdin=streams[0], stdout=streams[1], stderr=streams[2])
        while theirs:
            os.close(theirs.popitem()[1])
        with process:
            yield _Running(process, request, ours)
    finally:
        for fd in (nothing, *theirs.values(), *ours.values()):
            os.close(fd)
