"""What a person without root cannot have, told by `pycompose` and never claimed."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from tests.stories.compose import lasting, project
from tests.stories.conftest import Person
from tests.stories.residue import eventually, watching

pytestmark = pytest.mark.rootless

LIMITED = lasting("""\
services:
  web:
    image: busybox
    scale: 2
    mem_limit: 64m
    cpus: 0.5
    pids_limit: 50
    command: [sh, -c, "STAYS"]
  db:
    image: busybox
    deploy: {resources: {limits: {memory: 32m}}}
    command: [sh, -c, "STAYS"]
""")
KINDS = {
    "Memory": "memory cannot be limited",
    "NanoCpus": "processor time cannot be limited",
    "PidsLimit": "the number of processes cannot be limited",
}


def test_up_tells_each_limit_that_is_not_kept_once_and_inspect_does_not_claim_it(
    user: Person,
) -> None:
    with project(user, LIMITED) as compose:
        said = compose("up", "-d").stderr
        web = compose.inspect("web-1")["HostConfig"]
        db = compose.inspect("db-1")["HostConfig"]
        again = compose("up", "-d").stderr

    lost = [("web", kind) for kind in KINDS if not web[kind]]
    lost += [] if db["Memory"] else [("db", "Memory")]
    for service, kind in lost:
        assert said.count(f"notice: service `{service}`: {KINDS[kind]}") == 1, said
    assert said.count("notice: service") == len(lost)
    assert said.count("hint: ") == min(len(lost), 1)
    assert said.index("notice: ") < said.index("Starting")
    assert "notice: " not in again


def test_run_and_create_tell_it_too(user: Person) -> None:
    with project(user, LIMITED) as compose:
        ran = compose("run", "--rm", "db", "true").stderr
        made = compose("create").stderr
        kept = compose.inspect("db-1")["HostConfig"]["Memory"]
        alone = compose.engine("create", "--name", "alone", "--memory", "32m", "busybox").stderr
        compose.engine("rm", "alone")

    if not kept:
        assert ran.count("memory cannot be limited") == 1
        assert made.count("notice: service `db`: memory cannot be limited") == 1
        assert alone.count("notice: memory cannot be limited") == 1


TIERS = lasting("""\
services:
  web:
    image: busybox
    ports: ["127.0.0.1:%PORT%:80"]
    networks: [front, back]
    command: [sh, -c, "mkdir /w; echo hello >/w/index.html; exec httpd -f -h /w"]
  db:
    image: busybox
    networks: [back]
    command: [sh, -c, "mkdir /w; echo data >/w/index.html; exec httpd -f -h /w"]
networks: {front: {}, back: {internal: true}}
""")
INTERNAL = lasting("""\
services:
  web: {image: busybox, networks: [back], command: [sh, -c, "STAYS"]}
  db:
    image: busybox
    networks: [back]
    command: [sh, -c, "mkdir /w; echo data >/w/index.html; exec httpd -f -h /w"]
networks: {back: {internal: true}}
""")


@pytest.fixture
def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def without_tun(user: Person) -> Person:
    """Somebody without rights who may not open /dev/net/tun."""
    assert user.account is not None
    user.account = replace(user.account, has_tun=False)
    return user


@pytest.mark.root  # who takes the device away
@pytest.mark.kernel("tun")
def test_without_a_way_out_services_run_on_their_networks_and_ports_are_published(
    without_tun: Person, free_port: int
) -> None:
    text = TIERS.replace("%PORT%", str(free_port))
    with watching() as watch, project(without_tun, text) as compose:
        said = compose("up", "-d").stderr
        with socket.create_connection(("127.0.0.1", free_port), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = client.makefile("rb").read()
        neighbour = compose("exec", "-T", "web", "wget", "-qO-", "http://db/").stdout
        beyond = compose("exec", "-T", "web", "nc", "-w", "5", "192.0.2.1", "80", code=None)
        again = compose("up", "-d", "--scale", "db=2").stderr
        compose("down")
    watch.check()

    assert said.count("notice: ") == 1
    assert (
        "notice: containers reach each other, and published ports lead to them, but nothing beyond"
        " their networks can be reached: `/dev/net/tun` cannot be opened: Permission denied. To"
        " change that, let others use it, as root: `chmod 0666 /dev/net/tun`\n"
    ) in said
    assert answer.endswith(b"hello\n")
    assert neighbour == "data\n"
    assert beyond.code != 0
    assert "notice: " not in again


@pytest.mark.root
@pytest.mark.kernel("tun")
def test_a_container_in_the_foreground_has_its_ports_published_too(
    without_tun: Person, free_port: int
) -> None:
    assert without_tun.account is not None
    program = [without_tun.account.python, "-m", "buildkit_py.cli.pyengine", "run"]
    options = ["--root", str(without_tun.root), "--rm", "-p", f"127.0.0.1:{free_port}:80"]
    serve = "while ! [ -e /told ]; do echo hello | nc -l -p 80 && touch /told; done"

    def heard() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", free_port), timeout=10) as client:
                return client.recv(10) == b"hello\n"
        except OSError:
            return False

    process = without_tun.start([*program, *options, "busybox", "sh", "-c", serve])
    assert eventually(heard)
    _, said = process.communicate(timeout=30)

    assert process.returncode == 0
    assert said.startswith(b"notice: containers reach each other, and published ports lead to")


@pytest.mark.root
@pytest.mark.kernel("tun")
def test_internal_networks_need_no_way_out(without_tun: Person) -> None:
    with watching() as watch, project(without_tun, INTERNAL) as compose:
        said = compose("up", "-d").stderr
        neighbour = compose("exec", "-T", "web", "wget", "-qO-", "http://db/").stdout
        compose("down")
    watch.check()

    assert "notice: " not in said
    assert neighbour == "data\n"


@pytest.mark.peer("pasta")
@pytest.mark.kernel("tun")
def test_a_way_out_comes_with_the_first_network_that_leads_out(user: Person) -> None:
    outer = INTERNAL + "---\n" + "services: {web: {networks: [front]}}\nnetworks: {front: {}}\n"
    with project(user, INTERNAL) as compose:
        compose("up", "-d")
        before = compose("exec", "-T", "web", "ip", "route").stdout
        compose.write(outer)
        said = compose("up", "-d").stderr
        after = compose("exec", "-T", "web", "ip", "route").stdout

    assert "default via" not in before
    assert "default via" in after
    assert "notice: " not in said
