"""The first command of README, on a checkout that nobody has touched."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.rootless import PATH, TREE, RootlessUser

FILES = (
    "pyproject.toml", "hatch_build.py", "README.md", "quickstart", ".ci", "buildkit_py", "grammars",
    "fixtures",
)  # fmt: skip


def checkout(folder: Path) -> Path:
    """Copy what quickstart needs of the tree, without what other runs left in it."""
    tree = folder / "checkout"
    tree.mkdir()
    for name in (*FILES, "examples"):
        source = TREE / name
        if source.is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tree / name, ignore=skip, symlinks=True)
        else:
            shutil.copy2(source, tree / name)
    return tree


def greets(stdout: str) -> bool:
    first, second = stdout.splitlines()
    return first == "hello from buildkit_py" and second.startswith("user root, process 1, ")


@pytest.mark.root
@pytest.mark.network
@pytest.mark.slow
def test_root_gets_from_a_checkout_to_a_running_container_and_again(tmp_path: Path) -> None:
    tree = checkout(tmp_path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env = {**kept, "BUILDKIT_PY_ROOT": str(tmp_path / "root")}

    runs = [
        subprocess.run([tree / "quickstart"], env=env, capture_output=True, text=True, check=False)
        for _ in range(2)
    ]

    for done in runs:
        assert done.returncode == 0, done.stderr
        assert greets(done.stdout)
    assert "== installing buildkit_py into" in runs[0].stderr
    assert "== installing" not in runs[1].stderr
    assert "making" not in runs[1].stderr
    assert runs[1].stderr.count("CACHED") == 4


@pytest.mark.rootless
@pytest.mark.network
@pytest.mark.slow
def test_a_user_needs_no_right_to_write_into_the_checkout(
    rootless_user: RootlessUser, tmp_path: Path
) -> None:
    tree = rootless_user.folder / "theirs"
    tree.mkdir()
    tree = checkout(tree)
    if os.geteuid() != 0:
        subprocess.run(["chmod", "-R", "a-w", str(tree)], check=True)

    # Of the tests' environment only what leads to the network comes along.
    certificates = {name: value for name, value in os.environ.items() if "CERT" in name}
    done = rootless_user.run(
        [str(tree / "quickstart")],
        env={**certificates, "PYTHONPATH": "", "PATH": PATH},
        timeout_seconds=600,
    )

    assert greets(done.stdout)
    assert f"into {rootless_user.home}/.cache/" in done.stderr
    if os.geteuid() != 0:
        subprocess.run(["chmod", "-R", "u+w", str(tree)], check=True)
