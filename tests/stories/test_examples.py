"""The examples and our own Dockerfile, built and run, as root and without rights."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildkit_py import __version__
from tests.stories.conftest import TREE, Done, Person

pytestmark = [pytest.mark.slow, pytest.mark.network]


def pyengine(person: Person, *words: str, code: int | None = 0) -> Done:
    return person.run(engine(person, *words), code=code)


def engine(person: Person, *words: str) -> list[str]:
    python = person.arguments()[0]
    return [python, "-m", "buildkit_py.cli.pyengine", "--root", str(person.root), *words]


def copied(person: Person, name: str) -> Path:
    """Return a person's own copy of an example."""
    copy = person.folder / name
    shutil.copytree(TREE / "examples" / name, copy)
    return copy


def test_hello(anyone: Person) -> None:
    context = copied(anyone, "hello")

    anyone.pybuild("-t", "hello", context)
    told = pyengine(anyone, "run", "--rm", "hello").stdout
    again = anyone.pybuild("-t", "hello", context)

    assert told.startswith("hello from buildkit_py\nuser root, process 1, ")
    assert again.ran == []


def test_c_multistage(anyone_with_debian: Person) -> None:
    anyone = anyone_with_debian
    context = copied(anyone, "c-multistage")

    made = anyone.image(anyone.pybuild("-t", "primes", context, timeout_seconds=900))
    told = pyengine(anyone, "run", "--rm", "primes").stdout
    fewer = pyengine(anyone, "run", "--rm", "primes", "10").stdout
    (context / "primes.c").write_text((context / "primes.c").read_text() + "/* changed */\n")
    again = anyone.pybuild("-t", "primes", context)

    assert told.split()[:4] == ["2", "3", "5", "7"]
    assert fewer.split() == ["2", "3", "5", "7"]
    assert [set(layer.entries) for layer in made.new] == [{"primes"}]
    # The compiler is not installed again, and the same program comes out.
    assert not any("apt-get" in step for step in again.ran)
    assert anyone.image(again).manifest == made.manifest


@contextlib.contextmanager
def served(person: Person, *words: str) -> Iterator[None]:
    """Run a service in the foreground, and end it as Ctrl-C does."""
    with subprocess.Popen(
        person.command(engine(person, "run", "--rm", *words)),
        env=person.whole_environment(),
        cwd=person.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as service:
        try:
            yield
        finally:
            service.send_signal(signal.SIGTERM)
            out, _ = service.communicate(timeout=60)
            print(out)


def fetch(address: str, *, seconds: float = 60) -> str:
    """Return what a service answers; it may still be starting."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://{address}", timeout=5) as answer:
                return str(answer.read().decode())
        except (OSError, urllib.error.URLError):
            assert time.monotonic() < end, f"nothing answers at {address}"
            time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_flask(anyone_with_debian: Person) -> None:
    anyone = anyone_with_debian
    context = copied(anyone, "flask")
    port = free_port()

    made = anyone.image(anyone.pybuild("-t", "flask", context, timeout_seconds=900))
    with served(anyone, "-p", f"127.0.0.1:{port}:8000", "flask"):
        page = fetch(f"127.0.0.1:{port}/")
        health = fetch(f"127.0.0.1:{port}/health")

    assert "hello" in page.lower()
    assert health
    assert made.config["config"]["User"] == "app"
    assert made.config["config"]["ExposedPorts"] == {"8000/tcp": {}}
    assert made.config["config"]["Healthcheck"]["Retries"] == 5


def test_our_own_image(anyone_with_debian: Person) -> None:
    """An image of buildkit_py, built by buildkit_py, in which buildkit_py builds."""
    anyone = anyone_with_debian
    context = anyone.folder / "checkout"
    context.mkdir(mode=0o755)
    archive = subprocess.run(
        ["git", "-C", str(TREE), "archive", "HEAD"], check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(context)], input=archive, check=True)

    anyone.pybuild("-t", "buildkit-py", context, timeout_seconds=900)
    told = pyengine(anyone, "run", "--rm", "buildkit-py", "--version").stdout

    assert told == f"pybuild {__version__}\n"
    assert os.listdir(anyone.root / "tmp") == []
