"""Imports point down, and each heavy thing has one door."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.sources import TREE, imports, modules


@pytest.mark.slow
def test_imports_point_down() -> None:
    program = Path(sys.executable).parent / "lint-imports"

    done = subprocess.run(
        [program, "--no-cache"], cwd=TREE, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "doors"),
    [
        ("ctypes", ("buildkit_py/runtime/kernel/",)),
        ("lark", ("buildkit_py/dockerfile/",)),
        ("rich", ("buildkit_py/cli/",)),
        ("typer", ("buildkit_py/cli/",)),
        ("sqlite3", ("buildkit_py/store/", "buildkit_py/core/")),
        ("http", ("buildkit_py/registry/web.py", "buildkit_py/build/", "buildkit_py/engine/")),
        ("ssl", ("buildkit_py/registry/",)),
    ],
)
def test_a_heavy_module_has_its_door(name: str, doors: tuple[str, ...]) -> None:
    users = [str(path) for path, module in modules() if name in imports(module)]

    assert [path for path in users if not path.startswith(doors)] == []


def test_nothing_is_imported_that_is_not_declared() -> None:
    with (TREE / "pyproject.toml").open("rb") as file:
        dependencies = tomllib.load(file)["project"]["dependencies"]
    names = {text.split(">")[0] for text in dependencies}
    declared = {"buildkit_py", *(names - {"pyyaml"}), *({"yaml"} if "pyyaml" in names else ())}
    # zstd: whichever of these there is; the first is Python's own from 3.14 on.
    optional = {"compression", "zstandard"}

    foreign = {
        (str(path), name)
        for path, module in modules()
        for name in imports(module) - declared - optional - sys.stdlib_module_names
        # 3.12 renamed the C module of SHA-256; core/digest asks for both.
        if name not in ("_sha2", "_sha256", "_typeshed")
    }

    assert foreign == set()
