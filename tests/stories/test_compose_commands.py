"""What `stop`, `start`, `rm`, `wait`, `ls` and `port` take, and what they leave alone."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.stories.compose import lasting, project
from tests.stories.conftest import Person
from tests.stories.residue import eventually

pytestmark = [pytest.mark.kernel("overlay")]

PAIR = """\
services:
  web:
    image: busybox
    command: [sh, -c, "STAYS"]
    depends_on: {db: {condition: service_healthy}}
    ports: ["127.0.0.1::53/udp"]
  db:
    image: busybox
    command: [sh, -c, "STAYS"]
    volumes: ["./gate:/gate"]
    healthcheck: {test: "test -e /gate/open", interval: 100ms, retries: 1000}
"""


def test_start_brings_along_what_is_needed_and_waits_for_it(anyone: Person) -> None:
    with project(anyone, lasting(PAIR), {"gate/open": ""}) as app:
        gate = app.folder / "gate" / "open"
        app("up", "-d")
        app("stop")
        app("start", "web")
        assert app.states() == {"db-1": "running", "web-1": "running"}

        app("stop")
        gate.unlink()
        app("start", "db")
        starting = app.start("start", "web")
        assert app.states() == {"db-1": "running", "web-1": "exited"}
        gate.write_text("")
        _, said = starting.communicate(timeout=60)
        assert starting.returncode == 0, said
        words = [line.split()[1:] for line in said.decode().splitlines()]
        assert words.index(["app-db-1", "Healthy"]) < words.index(["app-web-1", "Starting"])


def test_start_says_what_is_wrong_before_it_begins(anyone: Person) -> None:
    with project(anyone, lasting(PAIR), {"gate/open": ""}) as app:
        missing = app("start", code=1)
        assert re.search('service "(web|db)" has no container to start', missing.stderr)
        app("create")
        assert "--wait-timeout" in app("start", "--wait", "--wait-timeout", "x", code=2).stderr
        assert app.states() == {"db-1": "created", "web-1": "created"}


def test_orphans_are_left_alone_but_for_those_that_are_named(anyone: Person) -> None:
    with project(anyone, lasting(PAIR), {"gate/open": ""}) as app:
        app("up", "-d")
        app.write(lasting(PAIR.replace("  web:", "  shop:")))
        for words in (["stop"], ["start"], ["restart"], ["kill"], ["rm", "-sf"]):
            app(*words)
            assert app.states()["web-1"] == "running", words
        assert app("kill", "-s", "TERM", "web").stderr.count("Killed") == 1
        assert eventually(lambda: app.states()["web-1"] == "exited")
        app("rm", "-f")
        assert set(app.states()) == {"web-1"}
        app("rm", "-f", "web")
        assert app.states() == {}


def test_rm_leaves_programs_of_run(anyone: Person) -> None:
    text = lasting('services: {a: {image: busybox, command: [sh, -c, "STAYS"]}}\n')
    with project(anyone, text) as app:
        app("up", "-d")
        id = app("run", "-d", "a").stdout.strip()
        (name,) = set(app.containers()) - {"app-a-1"}
        app("rm", "-sf", "a")
        assert {key: row["State"] for key, row in app.containers().items()} == {name: "running"}
        app.engine("stop", id)
        assert "No stopped containers" in app("rm", "-f").stderr
        assert set(app.containers()) == {name}


def test_rm_removes_only_what_was_agreed_to(anyone: Person) -> None:
    text = lasting(
        "services:\n  a: {image: busybox, command: 'true'}\n"
        '  b: {image: busybox, command: [sh, -c, "STAYS"]}\n'
    )
    with project(anyone, text) as app:
        app("up", "-d")
        assert eventually(lambda: app.states()["a-1"] == "exited")
        asking = app.start("rm", stdin=subprocess.PIPE)
        assert asking.stdout is not None
        assert asking.stdout.readline() == b"Going to remove app-a-1\n"
        app("stop", "b")
        asking.communicate(b"y\n", timeout=60)

        assert app.states() == {"b-1": "exited"}


def test_wait_tells_ends_as_they_come(anyone: Person) -> None:
    text = lasting(
        'services:\n  a: {image: busybox, command: [sh, -c, "STAYS"]}\n'
        "  b: {image: busybox, command: [cat], stdin_open: true}\n"
    )
    with project(anyone, text) as app:
        app("up", "-d")
        first, second = app.id("a-1"), app.id("b-1")
        waiting = app.start("wait", "a", "b")
        assert waiting.stdout is not None
        app("kill", "b")
        assert second in waiting.stdout.readline().decode()
        app("kill", "-s", "TERM", "a")
        rest, said = waiting.communicate(timeout=60)
        assert first in rest.decode()
        assert waiting.returncode == 0, said  # of a, the last to end

        app("up", "-d")
        down = app.start("wait", "--down-project", "a", "b")
        app("kill", "b")
        out, said = down.communicate(timeout=60)
        assert down.returncode == 137, said
        assert out.decode().endswith("exited with status code 137\n")
        assert app.states() == {}


def test_ls_counts_what_runs_and_port_reads_any_case(anyone: Person) -> None:
    with project(anyone, lasting(PAIR), {"gate/open": ""}) as app:
        app("up", "-d")
        app("stop", "web")
        assert app("ls").stdout.split()[-3:-1] == ["app", "running(1)"]
        assert "exited(1), running(1)" in app("ls", "-a").stdout
        assert app("ls", "-q", "--filter", "name=^ap+$").stdout == "app\n"
        assert app("ls", "-q", "--filter", "name=^p").stdout == ""
        several = ("--filter", "name=nobody", "--filter", "name=app")
        assert app("ls", "-q", *several).stdout == "app\n"
        assert "name=(" in app("ls", "--filter", "name=(", code=2).stderr
        app("start", "web")
        assert re.fullmatch(
            r"127\.0\.0\.1:\d+\n", app("port", "--protocol", "UDP", "web", "53").stdout
        )
