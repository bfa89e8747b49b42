"""The private network without root: pasta and slirp4netns on the real kernel."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rootless import RootlessUser
from tests.runtime.network.conftest import ANSWER, with_resolv_conf

pytestmark = [pytest.mark.rootless, pytest.mark.kernel("tun")]

STORY = ["-m", "tests.runtime.network.rootless_story"]
HELPERS = [pytest.param(each, marks=pytest.mark.peer(each)) for each in ("pasta", "slirp4netns")]


@pytest.fixture
def loopback_port() -> Iterator[int]:
    """A service on the host's loopback, which no container may reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def descendants(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        children = Path(f"/proc/{each}/task/{each}/children").read_text().split()
        found += map(int, children)
    return found[1:]


@pytest.mark.network
@pytest.mark.parametrize("program", HELPERS)
def test_containers_reach_the_mirror_and_each_other_but_not_the_hosts_loopback(
    rootless_user: RootlessUser, program: str, loopback_port: int
) -> None:
    done = rootless_user.run([rootless_user.python, *STORY, program, str(loopback_port)])

    story = json.loads(done.stdout)
    assert story["kind"] == "bridge"
    assert story["notices"] == []
    assert story["file"]["status"] == "HTTP/1.1 200 OK"
    assert story["file"]["size"] > 1_000_000
    assert story["neighbour"].startswith("two ")
    assert len(story["published"]) >= 2  # the loopback's address and others
    assert all(said.startswith("two ") for said in story["published"])
    assert len(story["said"]) >= 3
    assert set(story["said"].values()) == {""}


@pytest.mark.network
@pytest.mark.parametrize("program", HELPERS)
def test_a_helper_dies_with_a_network_that_is_killed(
    rootless_user: RootlessUser, program: str
) -> None:
    with rootless_user.start([rootless_user.python, *STORY, program, "wait"]) as running:
        assert running.stdout is not None
        json.loads(running.stdout.readline())
        others = {pid: os.pidfd_open(pid) for pid in descendants(running.pid)}
        names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in others}

        running.send_signal(signal.SIGKILL)

        for pidfd in others.values():
            assert select.select([pidfd], [], [], 10)[0]
            os.close(pidfd)
    assert any(name.startswith(("passt", "pasta", "slirp4netns")) for name in names), names


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            "none",
            "no helper connects a private network: "
            "`pasta` is not installed; `slirp4netns` is not installed",
        ),
        ("shut", "`/proc/1/mem` cannot be opened: Permission denied"),
    ],
)
def test_without_a_helper_or_a_tun_device_the_network_is_unavailable(
    rootless_user: RootlessUser, case: str, message: str
) -> None:
    done = rootless_user.run([rootless_user.python, *STORY, case, "1"], check=False)

    last = done.stderr.splitlines()[-1]
    assert last == f"buildkit_py.runtime.network.uplink.NetworkUnavailable: {message}"


@pytest.mark.root
@pytest.mark.parametrize("program", HELPERS)
def test_a_nameserver_on_the_hosts_loopback_is_asked_through_the_helper(
    rootless_user: RootlessUser, loopback_nameserver: None, program: str
) -> None:
    command = rootless_user.command([rootless_user.python, *STORY, program, "ask"])

    done = subprocess.run(
        with_resolv_conf(rootless_user.folder, command),
        env=rootless_user.environment,
        cwd=rootless_user.home,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answer"] == [ANSWER]
