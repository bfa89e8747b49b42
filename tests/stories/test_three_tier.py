"""examples/three-tier as a newcomer runs it: a real database behind a real server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import urllib.request
from typing import Any

import pytest

from tests.stories.compose import Composer
from tests.stories.conftest import TREE, Person
from tests.stories.residue import eventually, watching

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.kernel("overlay")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def page(port: int) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return json.load(answer)


def crash(app: Composer, name: str) -> None:
    """Kill a container's first program as the kernel would; a user may only ask it to end."""
    if os.geteuid() == 0:
        os.kill(int(app.inspect(name)["State"]["Pid"]), signal.SIGKILL)
    else:
        app("exec", name.partition("-")[0], "sh", "-c", "kill -TERM 1")
    assert eventually(lambda: app.inspect(name)["RestartCount"] == 1, seconds=30)


def test_pages_come_from_the_database_and_data_survives(anyone_with_debian: Person) -> None:
    person = anyone_with_debian
    folder = person.folder / "three-tier"
    shutil.copytree(TREE / "examples/three-tier", folder)
    port = free_port()
    app = Composer(person, folder, {"PORT": str(port)})
    with watching() as watch:
        try:
            app("up", "--build", "--wait", timeout_seconds=900)
            first = [page(port) for _ in range(4)]
            states = app.states()
            ids = {name: row["ID"] for name, row in app.containers().items()}
            app("up", "-d")
            same = {name: row["ID"] for name, row in app.containers().items()}
            begun = app.plan()
            outside = app(
                "exec", "db", "sh", "-c", "awk '$2 == 0' /proc/net/route | wc -l", code=None
            ).stdout
            from_proxy = app("exec", "proxy", "getent", "hosts", "db", code=None).stdout
            app("down")
            app("up", "--wait")
            after = page(port)
            crash(app, "app-1")
            came_back = eventually(
                lambda: app.containers()["three-tier-app-1"]["Health"] == "healthy", seconds=60
            )
            last = page(port)
            password = app("exec", "app", "cat", "/run/secrets/database-password").stdout
            app("down", "--volumes")
        finally:
            app("down", "--volumes", "-t", "0", code=None)
        watch.check()

    assert states == {
        "app-1": "running", "app-2": "running", "db-1": "running", "migrate-1": "exited",
        "proxy-1": "running",
    }  # fmt: skip
    assert [each["greeting"] for each in first] == ["hello from the database"] * 4
    assert [each["visit"] for each in first] == [1, 2, 3, 4]
    assert len({each["served_by"] for each in first}) == 2, "two replicas take turns"
    assert (same, begun) == (ids, [])
    assert outside.strip() == "0", "the back network leads nowhere: no default route"
    assert from_proxy == "", "and the proxy does not know the database"
    assert last["visit"] > after["visit"]
    assert after["visit"] == 5
    assert came_back, "what ends by itself is started again"
    assert password == (folder / "database-password.txt").read_text()
    assert app.containers() == {}
    assert "three-tier_data" not in app.engine("volume", "ls", "-q").stdout
