"""RUN: a program in our sandbox, upon a snapshot that takes its changes."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack

from buildkit_py.build.steps.services import Services
from buildkit_py.core.errors import BuildFailed, InputError
from buildkit_py.core.events import StepOutput
from buildkit_py.core.source import Span
from buildkit_py.core.threads import start_thread
from buildkit_py.graph.ops import InlineFile, Run
from buildkit_py.graph.vertex import Vertex
from buildkit_py.runtime.network import resolve
from buildkit_py.runtime.network.uplink import NetworkUnavailable
from buildkit_py.runtime.spec import (
    Account,
    Bind,
    Container,
    Directory,
    Interface,
    MountSpec,
    Overlay,
)
from buildkit_py.store.snapshots import Active

HOSTNAME = "buildkitsandbox"
TAIL_LINES = 20
_MOST_TAIL_BYTES = 32 << 10


class StepFailed(BuildFailed):
    """The program of a RUN ended with an exit code other than 0.

    status: the exit code, as docker has it (128+n for a signal)
    """

    code = "build/step-failed"

    def __init__(self, vertex: Vertex, op: Run, status: int, tail: Sequence[str], why: str) -> None:
        words = " ".join(op.args)
        shown = words if len(words) < 200 else f"{words[:200]}…"
        super().__init__(
            f"process `{shown}` did not complete successfully: exit code: {status}",
            at=vertex.span,
            label=why,
            notes=["", "its last output:", *(f"  {line}" for line in tail)] if tail else (),
        )
        self.status = status


def run(
    services: Services,
    vertex: Vertex,
    op: Run,
    active: Active,
    mounts: Sequence[MountSpec],
    account: Account,
    number: int,
) -> None:
    """Run a step's program to its end; raise StepFailed, Cancelled or HostError."""
    with ExitStack() as stack:
        interface = None
        network: str = op.network
        if network == "default":
            interface, network = _reserve(services, stack)
        container = make_container(services, op, active, mounts, account, interface, network)
        output, writer = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, output)
        with open(os.devnull, "rb") as nothing:
            try:
                process = services.zygote.create(
                    container, stdin=nothing.fileno(), stdout=writer, stderr=writer
                )
            finally:
                os.close(writer)
        with process:
            if interface is not None:
                services.network.plug(interface, process.netns)
            forget = services.running(lambda: process.kill(9))
            try:
                services.check()
                started = time.monotonic()
                process.start()
                for warning in process.warnings:
                    services.notice_once(warning)
                tail = Tail()
                reader = start_thread(
                    lambda: _read_output(output, number, started, services, tail),
                    f"output-{number}",
                )
                end = process.wait()
                # What the program left running was killed with its namespace: the pipe ends.
                reader.join()
            finally:
                forget()
        services.check()
        if end.code != 0:
            why = f"ended with exit code {end.code}"
            if end.oom:
                why = "killed: the memory limit was reached"
            elif end.message:
                why = end.message
            elif end.signal:
                why = f"killed by signal {end.signal}"
            failed = StepFailed(vertex, op, end.code, tail.lines(), why)
            if services.host.ids == "single":
                # chown and setgroups are what fails then, and the program does not know why.
                failed.hint = next(iter(services.host.notices), None)
            raise failed


def _reserve(services: Services, stack: ExitStack) -> tuple[Interface | None, str]:
    """Return an interface in the build's network, or none and the host's network."""
    try:
        interface = services.network.reserve()
    except NetworkUnavailable as error:
        services.notice_once(f"{error.message}: RUN uses the network of this host", hint=error.hint)
        return None, "host"
    stack.callback(services.network.release, interface)
    for notice in services.network.notices:
        services.notice_once(notice)
    return interface, "bridge"


def make_container(
    services: Services,
    op: Run,
    active: Active,
    mounts: Sequence[MountSpec],
    account: Account,
    interface: Interface | None,
    network: str,
) -> Container:
    """Return the container of a RUN step."""
    names = {each.partition("=")[0] for each in op.env}
    env = [*op.env, *(each for each in op.proxy_env if each.partition("=")[0] not in names)]
    return Container(
        args=op.args,
        root=Overlay(
            active.lower,
            active.upper,
            active.work,
            userxattr=services.host.overlay == "userxattr",
            stubs=services.stubs,
        )
        if active.lower
        else Directory(active.upper),
        env=tuple(env),
        cwd=op.cwd,
        make_cwd=True,
        account=account,
        hostname=services.hostname,
        network="host" if network == "host" else "private",
        interface=interface,
        mounts=tuple(mounts),
        files=_files(services, op, interface, network),
        limits=services.limits,
        rlimits=services.rlimits,
        shm_bytes=services.shm_bytes or 64 << 20,
        security=op.security,
    )


def _files(
    services: Services, op: Run, interface: Interface | None, network: str
) -> dict[str, str]:
    if network == "host":
        return {
            "/etc/hosts": resolve.host_hosts(op.hosts),
            "/etc/resolv.conf": services.host_resolv_conf,
        }
    text, notices = resolve.resolv_conf(
        services.resolver, forwarder=services.network.nameserver if interface else ""
    )
    if interface is not None:
        for notice in notices:
            services.notice_once(notice)
    return {
        "/etc/hosts": resolve.hosts(
            address=interface.address if interface else "",
            hostname=services.hostname if interface else "",
            add=op.hosts,
            host_address=services.network.host_address if interface else "",
        ),
        "/etc/resolv.conf": text,
    }


class Tail:
    """The last lines of a program's output."""

    def __init__(self) -> None:
        self.data: deque[bytes] = deque()
        self.size = 0

    def add(self, data: bytes) -> None:
        self.data.append(data)
        self.size += len(data)
        while self.size > 2 * _MOST_TAIL_BYTES:
            self.size -= len(self.data.popleft())

    def lines(self) -> list[str]:
        text = b"".join(self.data)[-_MOST_TAIL_BYTES:].decode("utf-8", "replace")
        lines = text.rstrip().split("\n")[-TAIL_LINES:] if text.strip() else []
        return [line.rstrip("\r").rpartition("\r")[2] for line in lines]


def _read_output(fd: int, number: int, started: float, services: Services, tail: Tail) -> None:
    while data := os.read(fd, 1 << 16):
        tail.add(data)
        services.sink.emit(StepOutput(number, data, 1, time.monotonic() - started))


def file_name(file: InlineFile, at: Span | None) -> str:
    """Return the file name of a heredoc: its delimiter, which is a name and never a path."""
    if file.name in ("", ".", ".."):
        raise InputError(f"a file cannot be called `{file.name}`", code="build/bad-name", at=at)
    return file.name.replace("/", "_")


def script_files(op: Run, folder: str) -> list[MountSpec]:
    """Write heredoc scripts below `folder` and return the mount that shows them."""
    if not op.files:
        return []
    os.mkdir(folder)
    os.chmod(folder, 0o755)  # whatever the umask is: any USER must be able to look into it
    for file in op.files:
        fd = os.open(
            os.path.join(folder, file_name(file, None)),
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
            file.mode,
        )
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as opened:
            opened.write(file.content)
            os.fchmod(opened.fileno(), file.mode)
    return [Bind(folder, "/dev/pipes", read_only=True)]
