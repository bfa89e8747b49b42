"""The engine as a library, in a process of its own: as root, and as an unprivileged user."""

from __future__ import annotations

import json
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cli.conftest import (  # the same users, stores and images
    MODULE,
    Engine,
    busybox_tar,
    engine,
    eventually,
    processes_with,
    root,
    root_store,
    rootless,
)

__all__ = ["busybox_tar", "engine", "root", "root_store", "rootless"]

Library = Callable[[str], Any]

PROLOGUE = """\
import json, os, signal, socket, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from buildkit_py.core.dirs import run_dir, state_root
place = state_root(), run_dir()
from buildkit_py.runtime.userns import enter
host = enter()
from buildkit_py.core.errors import BuildkitError
from buildkit_py.engine.client import Engine
from buildkit_py.engine.containers import *
from buildkit_py.oci.platform import machine_platform
from buildkit_py.runtime.network.publish import parse
from buildkit_py.runtime.spec import *

def request(name, *command, **fields):
    fields.setdefault("command", command or ("sleep", "600"))
    fields.setdefault("networks", (NetworkUse("shop_default", (name,)),))
    return ContainerRequest(
        "busybox", machine_platform(os.uname().machine), name=f"shop-{name}-1",
        labels={"com.docker.compose.project": "shop"}, **fields)

def ask(project, spec, *command, seconds=15):
    "Run a further program; return its exit code and what it wrote."
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    connection = project.execute(spec.id, command, (null, write, write))
    os.close(write), os.close(null)
    with connection, open(read, errors="replace") as file:
        text = file.read()
        return list(connection.answers())[-1]["code"], text

def tell(value):
    print(json.dumps(value))

with Engine.open(*place, host=host) as engine, engine.project("shop") as project:
    def make(name, *command, **fields):
        spec = project.create(request(name, *command, **fields))
        project.start(spec.id)
        return spec

    project.ensure_network("shop_default")
"""


@pytest.fixture
def library(engine: Engine) -> Iterator[Library]:
    """Run lines with a `project` and return the last thing that they told; all is removed after."""
    command = engine.command([])
    assert tuple(command[-2:]) == MODULE

    def call(lines: str) -> Any:
        script = PROLOGUE + textwrap.indent(textwrap.dedent(lines), "    ")
        done = subprocess.run(
            [*command[:-2], "-c", script],
            env=engine.environment,
            cwd=engine.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])

    yield call
    ids = engine("ps", "-aq").stdout.split()
    if ids:
        engine("rm", "-fv", *ids)
    networks = engine("network", "ls", "-q").stdout.split()
    if networks:
        engine("network", "rm", *networks)
    assert eventually(lambda: processes_with(str(engine.root)) == [])
