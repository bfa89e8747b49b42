"""The network under the real runtime: containers of the zygote, as root and without."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rootless import TREE, RootlessUser
from tests.runtime.network.test_helper import descendants

# Run in a process of its own: it becomes root of namespaces, and so it stays single-threaded.
PROGRAM = """\
import json, os, socket, statistics, sys, time
from buildkit_py.core.dirs import run_dir
run = run_dir()
from tests.runtime.box import prepare
from buildkit_py.runtime.network import resolve
from buildkit_py.runtime.network.network import Network
from buildkit_py.runtime.network.publish import Proxy, bind, parse

def shell(box, network, script, during=lambda interface: None):
    interface = network.reserve()
    text, _ = resolve.resolv_conf(resolve.host_resolver(), forwarder=network.nameserver)
    hosts = resolve.hosts(address=interface.address, hostname="box")
    container = box.container(
        "/bin/sh", "-c", script, interface=interface, hostname="box",
        files={"/etc/resolv.conf": text, "/etc/hosts": hosts},
    )
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    with box.zygote.create(container, stdin=null, stdout=write, stderr=write) as process:
        network.plug(interface, process.netns)
        process.start()
        during(interface)
        end = process.wait()
    os.close(write)
    os.close(null)
    network.release(interface)
    with open(read, errors="replace") as file:
        return {"code": end.code, "out": file.read(), "address": interface.address}

def wait_to_be_killed(interface):
    print(os.getpid(), flush=True)
    sys.stdin.read()

told = {}
with prepare(sys.argv[1]) as box:
    with Network.open(box.host, box.zygote, run_dir=run, purpose="test") as network:
        if sys.argv[2:] == ["wait"]:
            shell(box, network, "sleep 600", wait_to_be_killed)
        told["fetch"] = shell(
            box, network,
            "busybox wget -q -O /file http://deb.debian.org/debian/dists/bookworm/Release"
            " && wc -c </file",
        )
        told["inside"] = shell(box, network, "ip -o -4 addr show; ip route; cat /etc/hosts; id -u")

        def visit(interface):
            (bound,) = bind(parse("8000"))
            with Proxy(box.zygote, network.netns_fd) as proxy:
                proxy.carry(bound, interface.address)
                for _ in range(100):
                    with socket.create_connection(("127.0.0.1", bound.host_port)) as connection:
                        if data := connection.recv(100):
                            break
                    time.sleep(0.02)  # until it listens inside
                told["published"] = data.decode()

        told["served"] = shell(box, network, "echo hello | nc -l -p 8000", visit)
        told["thirty"] = [shell(box, network, "true")["code"] for _ in range(30)]
        told["kind"], told["notices"] = network.kind, network.notices
print(json.dumps(told))
"""


def check_that_all_die(running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    pid = int(running.stdout.readline())
    others = {each: os.pidfd_open(each) for each in descendants(pid)}
    assert len(others) >= 2  # the zygote and the container, at least

    os.kill(pid, signal.SIGKILL)

    for pidfd in others.values():
        assert select.select([pidfd], [], [], 10)[0]
        os.close(pidfd)


def check(told: dict[str, object]) -> None:
    fetch, inside = told["fetch"], told["inside"]
    assert isinstance(fetch, dict)
    assert isinstance(inside, dict)
    assert told["kind"] == "bridge"
    assert (fetch["code"], int(fetch["out"]) > 10_000) == (0, True)
    assert f"inet {inside['address']}/25" in inside["out"]
    assert "default via " in inside["out"]
    assert f"{inside['address']}\tbox\n" in inside["out"]
    assert told["published"] == "hello\n"
    assert told["thirty"] == [0] * 30


@pytest.mark.root
@pytest.mark.network
@pytest.mark.kernel("overlay")
def test_root_runs_containers_in_a_private_network(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout))


@pytest.mark.rootless
@pytest.mark.kernel("tun")
@pytest.mark.peer("pasta")
@pytest.mark.network
def test_anybody_runs_containers_in_a_private_network(rootless_user: RootlessUser) -> None:
    done = rootless_user.run([rootless_user.python, "-c", PROGRAM, str(rootless_user.home)])

    told = json.loads(done.stdout)
    check(told)
    assert told["notices"] == []


@pytest.mark.root
@pytest.mark.kernel("overlay")
def test_killed_as_root_it_takes_everything_along(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), "wait"],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        check_that_all_die(running)


@pytest.mark.rootless
@pytest.mark.kernel("tun")
@pytest.mark.peer("pasta")
def test_killed_as_anybody_it_takes_everything_along(rootless_user: RootlessUser) -> None:
    command = [rootless_user.python, "-c", PROGRAM, str(rootless_user.home), "wait"]
    with subprocess.Popen(
        rootless_user.command(command),
        env=rootless_user.environment,
        cwd=rootless_user.home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        check_that_all_die(running)
