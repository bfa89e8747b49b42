"""Several commands on one project at once: each does its part, and none waits for ever."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from buildkit_py.engine.connection import place_of
from tests.stories.compose import Composer, lasting, project, supervisor_of
from tests.stories.conftest import Person
from tests.stories.residue import descendants, groups_of, on_the_network, watching

pytestmark = [pytest.mark.kernel("overlay")]

PAIR = """\
services:
  a: {image: busybox, command: [sh, -c, "STAYS"], scale: 3}
  b: {image: busybox, command: [sh, -c, "STAYS"], depends_on: [a], volumes: [data:/data]}
volumes: {data: {}}
"""
SECONDS = 60


def ends(started: list[subprocess.Popen[bytes]]) -> list[tuple[int, str]]:
    """Return the exit codes of commands, and what they complained of."""
    ended = []
    for process in started:
        _, errors = process.communicate(timeout=SECONDS)
        words = [line for line in errors.decode().splitlines() if line.startswith("error")]
        ended.append((process.returncode, "\n".join(words)))
    return ended


def networks(app: Composer) -> str:
    return app.engine("network", "ls", "--format", "{{.Name}}").stdout


@pytest.mark.parametrize("how_many", [2, 4])
def test_whoever_takes_down_what_is_gone_already_has_what_they_want(
    anyone: Person, how_many: int
) -> None:
    with watching() as watch, project(anyone, lasting(PAIR)) as app:
        app("up", "-d")

        found = ends([app.start("down", "-v") for _ in range(how_many)])

        assert found == [(0, "")] * how_many
        assert app.containers() == {}
        assert "app_default" not in networks(app)
        assert "app_data" not in app.engine("volume", "ls").stdout
        watch.check()


def test_of_two_up_one_makes_and_the_other_finds_it(anyone: Person) -> None:
    with watching() as watch, project(anyone, lasting(PAIR)) as app:
        found = ends([app.start("up", "-d") for _ in range(2)])

        assert found == [(0, "")] * 2
        assert app.states() == dict.fromkeys(["a-1", "a-2", "a-3", "b-1"], "running")
        app("down", "-v")
        watch.check()


@pytest.mark.parametrize("when", ["Creating", "Created", "Starting", "Started"])
def test_down_beside_up_leaves_all_or_nothing(anyone: Person, when: str) -> None:
    with watching() as watch, project(anyone, lasting(PAIR)) as app:
        up = app.start("up", "-d")
        assert up.stderr is not None
        for line in up.stderr:
            if f"  {when}".encode() in line:
                break
        app("down", "-v")

        ((code, complaint),) = ends([up])
        assert code == 0 or (code == 1 and "was removed meanwhile" in complaint)
        assert app.containers() == {}
        assert "app_default" not in networks(app)
        watch.check()


def test_a_run_in_the_foreground_ends_with_the_project(anyone: Person) -> None:
    with watching() as watch, project(anyone, lasting(PAIR)) as app:
        run = app.start("run", "--rm", "-T", "--no-deps", "b", "sh", "-c", "echo here; sleep 1000")
        assert run.stdout is not None
        assert run.stdout.readline() == b"here\n"

        app("down", "-v", "--remove-orphans", "-t", "0")

        assert ends([run]) == [(137, "")]
        assert app.containers() == {}
        assert "app_default" not in networks(app)
        watch.check()


def test_containers_that_remove_themselves_are_taken_down_like_others(anyone: Person) -> None:
    with watching() as watch, project(anyone, lasting(PAIR)) as app:
        for service in ("a", "b"):
            app("run", "-d", "--rm", "--no-deps", service)

        app("down", "-v", "--remove-orphans")

        assert app.containers() == {}
        assert "app_default" not in networks(app)
        watch.check()


def test_a_container_is_removed_once_however_many_ask(anyone: Person) -> None:
    with watching() as watch, project(anyone, lasting(PAIR)) as app:
        app("up", "-d")

        found = ends([app.start("rm", "-sfv") for _ in range(3)])

        assert found == [(0, "")] * 3
        assert app.containers() == {}
        app("down", "-v")
        watch.check()


@pytest.mark.parametrize("with_children", [True, False])
def test_down_removes_what_a_killed_supervisor_left(person: Person, with_children: bool) -> None:
    with watching() as watch, project(person, lasting(PAIR)) as app:
        app("up", "-d")
        supervisor = supervisor_of(app, "b-1")
        below = descendants(supervisor)
        assert groups_of(below)
        assert os.path.exists(place(app))
        for pid in [supervisor, *(below if with_children else ())]:
            os.kill(pid, signal.SIGKILL)

        app("down", "-v")

        assert app.containers() == {}
        assert groups_of(below) == []
        assert not os.path.exists(place(app))
        watch.check()


def place(app: Composer) -> str:
    """Return the path of the socket of root's supervisor."""
    return place_of(str(app.person.root), "/run/buildkit-py", app.name)


def test_when_down_returns_its_supervisor_is_gone(person: Person) -> None:
    with watching() as watch, project(person, lasting(PAIR)) as app:
        app("up", "-d")
        links = on_the_network() - watch.network
        assert links

        app("down", "-v")

        assert not os.path.exists(place(app))
        assert not links & on_the_network()
        watch.check()


def test_of_two_who_stop_the_less_patient_decides(anyone: Person) -> None:
    text = "services: {a: {image: busybox, command: sleep 1000, stop_grace_period: 10m}}\n"
    with watching() as watch, project(anyone, text) as app:
        app("up", "-d")
        patient = app.start("stop")
        assert patient.stderr is not None
        assert b"Stopping" in patient.stderr.readline()

        app("down", "-t", "0")

        assert ends([patient]) == [(0, "")]
        assert app.containers() == {}
        watch.check()
