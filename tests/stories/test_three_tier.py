"""examples/three-tier as a newcomer runs it: a real database behind a real server."""

from __future__ import annotations

import json
import shutil
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
            again = app("up", "-d")
            app("down")
            app("up", "--wait")
            after = page(port)
            app("exec", "app", "sh", "-c", "kill -TERM 1")
            came_back = eventually(lambda: app.inspect("app-1")["RestartCount"] == 1, seconds=30)
            password = app("exec", "app", "cat", "/run/secrets/database-password").stdout
        finally:
            app("logs", code=None)
            app("down", "--volumes", "-t", "5", code=None)
        watch.check()

    assert states == {
        "app-1": "running", "app-2": "running", "db-1": "running", "migrate-1": "exited",
        "proxy-1": "running",
    }  # fmt: skip
    assert [each["greeting"] for each in first] == ["hello from the database"] * 4
    assert [each["visit"] for each in first] == [1, 2, 3, 4]
    assert len({each["served_by"] for each in first}) == 2, "two replicas take turns"
    assert (again.stdout, again.stderr) == ("", "")
    assert after["visit"] == 5
    assert came_back, "what ends by itself is started again"
    assert password == (folder / "database-password.txt").read_text()
    assert app.containers() == {}
    assert "three-tier_data" not in app.engine("volume", "ls", "-q").stdout
