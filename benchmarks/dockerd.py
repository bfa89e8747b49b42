"""A docker daemon of our own with networks, for `docker compose`: in a network namespace.

As users have it: with its bridge, its firewall rules and its shims. All of it is in a namespace
that is removed at the end; the host's network sees nothing of it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers


@dataclass(frozen=True, slots=True)
class Daemon:
    """pid: of dockerd; compose: runs `docker compose` in a shell beside it"""

    pid: int
    compose: peers.Tool


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def running(folder: Path, archive: Path, image: str) -> Iterator[Daemon]:
    """Start dockerd with an image from a docker archive. Needs root."""
    place = folder / "dockerd"
    place.mkdir()
    name = f"bkbench-{os.getpid()}"
    socket, pidfile = place / "d.sock", place / "d.pid"
    env = {**peers.clean_environment(), "DOCKER_HOST": f"unix://{socket}", "NETNS": name}
    inside = [] if peers.prefix() else ["nsenter", f"--net=/run/netns/{name}"]
    arguments = [
        f"--data-root={place / 'data'}",
        f"--exec-root={place / 'exec'}",
        f"--pidfile={pidfile}",
        f"--host=unix://{socket}",
    ]
    with open(place / "log", "wb") as log, ExitStack() as stack:
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "del", name)
        _ip("-n", name, "link", "set", "lo", "up")
        # dockerd wants a route before it chooses addresses.
        _ip("-n", name, "link", "add", "out0", "type", "veth", "peer", "name", "out1")
        _ip("-n", name, "address", "add", "192.0.2.2/24", "dev", "out0")
        for link in ("out0", "out1"):
            _ip("-n", name, "link", "set", link, "up")
        _ip("-n", name, "route", "add", "default", "via", "192.0.2.1")
        daemon = subprocess.Popen(
            [*peers.prefix(), *inside, "dockerd", *arguments], stdout=log, stderr=log, env=env
        )
        stack.callback(peers.end, daemon, pidfile)
        shell = peers.Shell(place, env)
        stack.callback(shell.close)
        peers.wait_for_daemon(shell, place / "log")
        shell.run(["docker", "load", "-i", str(archive)])
        shell.run(["docker", "image", "inspect", image])
        pid = int(pidfile.read_text())
        yield Daemon(pid, peers.Tool("docker compose", ["docker", "compose"], shell=shell,
                                     daemon=pid))  # fmt: skip
