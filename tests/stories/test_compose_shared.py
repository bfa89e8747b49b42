"""Networks that several projects are in: `external: true`."""

from __future__ import annotations

import pytest

from tests.stories.compose import Composer, lasting, project
from tests.stories.conftest import Person
from tests.stories.residue import watching

pytestmark = [pytest.mark.kernel("overlay")]

PROXY = """\
services:
  proxy: {image: busybox, command: [sh, -c, "STAYS"], networks: [edge]}
networks: {edge: {name: edge}}
"""
APP = """\
services:
  web:
    image: busybox
    command: [sh, -c, "STAYS"]
    networks: {edge: {aliases: [shop]}, default: }
    depends_on: {db: {condition: service_healthy}}
  db:
    image: busybox
    command: [sh, -c, "STAYS"]
    healthcheck: {test: "true", interval: 100ms}
networks: {edge: {external: true}}
"""


def finds(app: Composer, service: str, name: str) -> bool:
    return app("exec", "-T", service, "ping", "-c", "1", "-W", "1", name, code=None).code == 0


def test_two_projects_meet_in_a_network_and_nowhere_else(anyone: Person) -> None:
    with (
        watching() as watch,
        project(anyone, lasting(PROXY), name="front") as front,
        project(anyone, lasting(APP), name="app") as app,
    ):
        missing = app("up", "-d", code=2)
        assert "network `edge` declared as external, but could not be found" in missing.stderr

        front("up", "-d")
        app("up", "-d")
        assert app.plan() == []
        assert front.plan() == []
        assert finds(front, "proxy", "shop")
        assert finds(app, "web", "proxy")
        assert finds(app, "web", "db")
        assert not finds(front, "proxy", "db")
        assert not finds(app, "db", "proxy")

        app("restart")
        assert finds(front, "proxy", "shop")
        app("stop", "web")
        assert not finds(front, "proxy", "shop")
        app("start", "--wait")
        assert finds(front, "proxy", "shop")

        # The network stays while the other project is in it.
        front("down")
        assert app.states() == {"db-1": "running", "web-1": "running"}
        assert "edge" in app.engine("network", "ls").stdout
        front("up", "-d")
        assert finds(app, "web", "proxy")

        app("down")
        assert app.containers() == {}
        assert "app_default" not in app.engine("network", "ls").stdout
        assert front.states() == {"proxy-1": "running"}
        front("down")
        assert "edge" not in app.engine("network", "ls").stdout
        watch.check()


def test_a_network_of_nobody_is_joined_and_stays(anyone: Person) -> None:
    with watching() as watch, project(anyone, lasting(APP)) as app:
        app.engine("network", "create", "edge")
        try:
            app("up", "-d")
            assert finds(app, "web", "db")
            one = app("run", "--rm", "-T", "web", "ping", "-c", "1", "shop").stdout
            assert "1 packets received" in one
            app("down")
            assert "edge" in app.engine("network", "ls").stdout
        finally:
            app("down", code=None)
            app.engine("network", "rm", "edge", code=None)
        watch.check()


def test_a_project_moves_when_its_networks_do(anyone: Person) -> None:
    alone = lasting(APP).replace("networks: {edge: {external: true}}", "networks: {edge: }")
    with project(anyone, alone) as app:
        app("up", "-d")
        app.engine("network", "create", "edge")
        try:
            app.write(lasting(APP))
            app("up", "-d")
            assert app.states() == {"db-1": "running", "web-1": "running"}
            assert finds(app, "web", "db")
            app.write(alone)
            app("up", "-d")
            assert finds(app, "web", "db")
            assert app.plan() == []
        finally:
            app("down", code=None)
            app.engine("network", "rm", "edge", code=None)
