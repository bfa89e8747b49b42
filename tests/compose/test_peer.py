"""The same projects to docker compose, where it is installed: equal JSON but for known differences.

Versions differ: what `fixtures/compose` marks with `differs` is left out for the older one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.compose.conftest import FIXTURES
from tests.compose.test_fixtures import CASES, OURS, command_line, read

pytestmark = [pytest.mark.peer("docker-compose"), pytest.mark.slow]


def comparable(value: Any) -> Any:
    """Leave out what 2.26 prints and 5.5 does not: what is true unless it is said to be false."""
    if isinstance(value, dict):
        silent = ("create_host_path", "required")
        return {k: comparable(v) for k, v in value.items() if k not in silent or v is not True}
    return [comparable(each) for each in value] if isinstance(value, list) else value


def version() -> str:
    shown = subprocess.run(["docker-compose", "version", "--short"], capture_output=True, text=True)
    found = re.match(r"\d+\.\d+", shown.stdout.strip().removeprefix("v"))
    return found[0] if found else ""


def test_docker_compose_agrees(tmp_path: Path) -> None:
    here = version()
    disagreed = []
    compared = 0
    for name in CASES:
        expected = read(name)
        flags = [word for word in expected.get("args", ()) if word.startswith("--no-")]
        if flags or "note" in expected or expected.get("differs") == here:
            continue
        folder = tmp_path / name
        shutil.copytree(FIXTURES / name, folder, ignore=shutil.ignore_patterns(*OURS))
        done = subprocess.run(
            ["docker-compose", *command_line(expected.get("args", []), "json")],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={
                "PATH": os.environ["PATH"],
                "HOME": "/root",
                "PWD": str(folder),
                **expected.get("environment", {}),
            },
        )
        compared += 1
        text = done.stdout.replace(str(tmp_path), "/projects")
        found = json.loads(text) if done.returncode == 0 else None
        if comparable(found) != comparable(expected.get("config")):
            disagreed.append(name)

    assert disagreed == []
    assert compared > 250
