"""What is committed is enough: `./quickstart` in a user's own clone, twice.

Root, and a checkout that the user may not write to: test_quickstart.py.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.stories.conftest import TREE, Person

pytestmark = [pytest.mark.rootless, pytest.mark.slow, pytest.mark.network]


def checkout(person: Person) -> Path:
    """Return a copy of what is committed, as a newcomer's `git clone` would give it.

    Its path has a blank, which the first line of a script cannot name.
    """
    path = person.folder / "check out"
    path.mkdir(mode=0o755)
    archive = subprocess.run(
        ["git", "-C", str(TREE), "archive", "HEAD"], check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(path)], input=archive, check=True)
    if person.account is not None and os.geteuid() == 0:
        owner = f"{person.account.uid}:{person.account.gid}"
        subprocess.run(["chown", "-R", owner, str(path)], check=True)
    return path


def test_quickstart_twice(user: Person) -> None:
    path = checkout(user)
    environment = {
        "BUILDKIT_PY_ROOT": str(user.folder / "root"),
        "HOME": str(user.account.home if user.account else user.folder),
        # Nothing of the checkout that these tests run from may be found.
        "PYTHONPATH": "",
    }

    first = user.run(["./quickstart"], cwd=path, env=environment, timeout_seconds=600)
    again = user.run(["./quickstart"], cwd=path, env=environment, timeout_seconds=600)

    assert first.stdout.startswith("hello from buildkit_py\n")
    assert "== installing buildkit_py into" in first.stderr
    assert first.stderr.rstrip().splitlines()[-1].startswith("== it works")
    assert again.stdout == first.stdout
    assert "installing" not in again.stderr
    assert len(again.stderr.splitlines()) < 30
