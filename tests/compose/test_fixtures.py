"""Some 300 small projects, each with what docker compose makes of it.

`expected.json` has the command line, the environment, and the project as docker compose 5.5
prints it (`config`); a case without it is rejected by docker, and `error.txt` is what we say. The
key `differs` names an older docker compose that answers differently, `note` says why an answer is
ours and not docker's. Cases with a `config.yaml` are compared as text, too.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from buildkit_py.cli import compose_config, pycompose
from buildkit_py.compose.discover import World
from tests.compose.conftest import FIXTURES, Memory
from tests.conftest import Golden

CASES = sorted(path.name for path in FIXTURES.iterdir())
OURS = ("expected.json", "error.txt", "config.yaml")
GLOBAL = {"-f": 1, "-p": 1, "--profile": 1, "--env-file": 1, "--project-directory": 1}


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / name / "expected.json").read_text())
    return found


def memory(name: str) -> Memory:
    """Return a fixture's files, at the place that the recorded answers name."""
    folder = FIXTURES / name
    return Memory(
        {
            f"/projects/{name}/{path.relative_to(folder)}": path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name not in OURS
        }
    )


def command_line(arguments: list[str], form: str) -> list[str]:
    """Put `config` behind the options that stand before it."""
    before: list[str] = []
    after: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word in GLOBAL:
            before += [word, next(rest)]
        else:
            (before if word == "--all-resources" else after).append(word)
    return [*before, "config", "--format", form, *after]


def run(name: str, monkeypatch: pytest.MonkeyPatch, form: str = "json") -> tuple[int, str, str]:
    """Run a case as a person would; return exit code, output and errors."""
    expected = read(name)
    environment: Mapping[str, str] = {"HOME": "/root", **expected.get("environment", {})}
    here = World(memory(name), environment, f"/projects/{name}", environment["HOME"])
    monkeypatch.setattr(compose_config, "world", lambda: here)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = pycompose.main(command_line(expected.get("args", []), form))
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("name", CASES)
def test_a_project_is_what_docker_makes_of_it(
    name: str, monkeypatch: pytest.MonkeyPatch, golden: Golden
) -> None:
    expected = read(name)

    code, out, err = run(name, monkeypatch)

    if "config" in expected:
        assert (code, json.loads(out or "null")) == (0, expected["config"]), err
    else:
        assert (code, out) == (2, "")
        golden(FIXTURES / name / "error.txt", err)


@pytest.mark.parametrize("name", [n for n in CASES if (FIXTURES / n / "config.yaml").exists()])
def test_yaml_is_printed_as_docker_prints_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run(name, monkeypatch, "yaml")

    assert code == 0, err
    assert out == Path(FIXTURES / name / "config.yaml").read_text()


def test_every_case_says_something() -> None:
    silent = [
        name
        for name in CASES
        if "config" not in read(name) and not (FIXTURES / name / "error.txt").exists()
    ]

    assert silent == []
    assert len(CASES) > 300
