"""What we offer to CI names options that exist, and the files that we would find ourselves."""

from __future__ import annotations

import re
from typing import Any

import pytest

from buildkit_py.cli.lint import LINT
from buildkit_py.cli.lint_files import is_dockerfile
from tests.house.sources import TREE


def load(name: str) -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((TREE / name).read_text())


@pytest.mark.parametrize(
    "name",
    ["Dockerfile", "dockerfile", "Containerfile", "a.dockerfile", "a.Dockerfile", "Dockerfile.a",
     "Dockerfile-a", "Dockerfile_a", "Containerfile.a", "dockerfile.py", "Dockerfile.tmpl",
     "Dockerfile.dockerignore", "Dockerfiles", "MyDockerfile", "Dockerfile.md"],
)  # fmt: skip
def test_the_hook_takes_the_files_that_a_walk_finds(name: str) -> None:
    (hook,) = load(".pre-commit-hooks.yaml")

    for path in (name, f"a/b/{name}"):
        taken = re.search(hook["files"], path) and not re.search(hook["exclude"], path)
        assert bool(taken) == is_dockerfile(name)


def test_hook_and_action_call_what_exists() -> None:
    (hook,) = load(".pre-commit-hooks.yaml")
    action = load("action.yml")
    script = action["runs"]["steps"][-1]["run"]

    assert hook["entry"].split() == LINT.name.split()
    assert 'pybuild" lint' in script
    known = {name for option in LINT.options for name in option.names}
    assert set(re.findall(r"--[a-z-]+", script)) <= known
    assert "${{" not in script
