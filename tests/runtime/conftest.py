"""Running lines of Python inside of a prepared process: as root, or as the unprivileged user."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rootless import TREE, RootlessUser

Inside = Callable[[str], str]

NOBODY = 65534

PROLOGUE = """\
import os, sys, time, signal, threading, stat, json
from tests.runtime.box import *
from buildkit_py.runtime.spec import *
from buildkit_py.core.errors import *
with prepare({folder!r}) as box:
    sh, run = box.sh, box.run
"""


def program(folder: str, lines: str) -> str:
    """Return the program that runs `lines` with a `box`."""
    return PROLOGUE.format(folder=folder) + textwrap.indent(textwrap.dedent(lines), "    ")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory on a disk: an overlay's upper directory must not be on another overlay."""
    with tempfile.TemporaryDirectory(prefix="buildkit-py-test-", dir="/var/tmp") as path:
        yield Path(path)


@pytest.fixture
def inside(folder: Path) -> Inside:
    """Run lines as root and return what they print; a failure shows their traceback."""

    def call(lines: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program(str(folder), lines)],
            env={**os.environ, "PYTHONPATH": str(TREE)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout

    return call


@pytest.fixture
def inside_rootless(rootless_user: RootlessUser) -> Inside:
    """Run lines as the unprivileged user and return what they print."""

    def call(lines: str) -> str:
        place = rootless_user.folder / "home"
        command = [rootless_user.python, "-c", program(str(place), lines)]
        return rootless_user.run(command, timeout_seconds=60).stdout

    return call


@pytest.fixture
def inside_single(rootless_user: RootlessUser) -> Iterator[Inside]:
    """Run lines as `nobody`, who has one id and no subordinate ones. Needs root."""
    with tempfile.TemporaryDirectory(prefix="buildkit-py-test-", dir="/var/tmp") as place:
        os.chown(place, NOBODY, NOBODY)

        def call(lines: str) -> str:
            become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
            done = subprocess.run(
                [*become, rootless_user.python, "-c", program(place, lines)],
                env=rootless_user.environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=60,
            )
            assert done.returncode == 0, f"{done.stdout}{done.stderr}"
            return done.stdout

        yield call
