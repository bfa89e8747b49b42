"""What README and CONTRIBUTING tell people to type exists."""

from __future__ import annotations

import os
import re
import tomllib

import pytest

from tests.house.sources import TREE

PAGES = [TREE / "README.md", TREE / "CONTRIBUTING.md", *sorted(TREE.glob("examples/*/README.md"))]
SYSTEM = {"cat", "curl", "sudo", "apt-get"}


def commands(text: str) -> list[list[str]]:
    """Return the words of indented lines that begin with a program."""
    lines = [line[4:].partition("  #")[0] for line in text.splitlines() if line[:4] == " " * 4]
    starts = ("./", ".venv/", "fixtures/", "pybuild", "pyengine", "$ ", "sudo ")
    return [line.removeprefix("$ ").split() for line in lines if line.startswith(starts)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TREE)))
def test_commands_exist(page: os.PathLike[str]) -> None:
    with (TREE / "pyproject.toml").open("rb") as file:
        scripts = set(tomllib.load(file)["project"]["scripts"])

    found = commands((TREE / page).read_text())

    assert found
    for words in found:
        program = words[1] if words[0] == "sudo" else words[0]
        if program.startswith(("./", "fixtures/")):
            assert os.access(TREE / program, os.X_OK), program
        elif not program.startswith(".venv/"):
            assert program in scripts | SYSTEM, program


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TREE)))
def test_links_lead_somewhere(page: os.PathLike[str]) -> None:
    for target in re.findall(r"\]\(([^)#]+)", (TREE / page).read_text()):
        if "://" not in target:
            assert (TREE / page).parent.joinpath(target).exists(), target


def test_examples_have_a_page_each() -> None:
    folders = {path.parent for path in TREE.glob("examples/*/Dockerfile")}

    assert [str(each) for each in sorted(folders) if not (each / "README.md").exists()] == []
    assert len(folders) >= 3
