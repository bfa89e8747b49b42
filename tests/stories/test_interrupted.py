"""Ctrl-C, SIGTERM and SIGKILL at any moment: nothing is left, and the next build is right."""

from __future__ import annotations

import contextlib
import io
import os
import random
import select
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stories import residue
from tests.stories.conftest import Person
from tests.stories.residue import Watch, eventually

pytestmark = pytest.mark.slow

ENDS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}


@pytest.fixture
def watch() -> Iterator[Watch]:
    with residue.watching() as watch:
        yield watch


class Told:
    """Reads what a build tells until a word comes, and then until its end."""

    def __init__(self, build: subprocess.Popen[bytes]) -> None:
        assert build.stderr is not None
        self.fd = build.stderr.fileno()
        self.text = ""

    def until(self, word: str, *, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while word not in self.text:
            assert select.select([self.fd], [], [], end - time.monotonic())[0], self.text
            data = os.read(self.fd, 65536)
            assert data, self.text
            self.text += data.decode()


def interrupt(person: Person, context: Path, word: str, number: signal.Signals) -> str:
    """Build until a word is told, send a signal, and return what was told."""
    with person.start(person.arguments("--no-cache", "-t", "interrupted", context)) as build:
        told = Told(build)
        told.until(word)
        began = time.monotonic()
        os.kill(build.pid, number)
        _, rest = build.communicate(timeout=30)
    assert build.returncode == ENDS[number], told.text + rest.decode()
    assert time.monotonic() - began < 10
    return told.text + rest.decode()


BEGUN = " begun\n"
"""A line of the step's output; the step's name has more behind the word."""

SLOW = """\
FROM busybox
RUN trap '' INT TERM; (trap '' TERM HUP; sleep 4242) & sleep 4242 & echo begun; wait
"""


@pytest.mark.parametrize("number", ENDS, ids=lambda number: number.name)
def test_a_signal_during_run(anyone: Person, watch: Watch, number: signal.Signals) -> None:
    text = interrupt(anyone, anyone.context(SLOW), BEGUN, number)

    assert text.endswith("\ninterrupted\n" if number == signal.SIGINT else "\nterminated\n")
    assert "Traceback" not in text
    watch.check()
    assert residue.unfinished(anyone.root) == []
    assert "docker.io/library/interrupted:latest" not in anyone.names()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_a_signal_while_a_step_is_set_up(
    anyone: Person, watch: Watch, number: signal.Signals
) -> None:
    """Its name is told, but its container is only being made, or waits for its network."""
    for moment in (0, 0.004, 0.01, 0.02):
        with anyone.start(anyone.arguments("--no-cache", anyone.context(SLOW))) as build:
            told = Told(build)
            told.until("RUN trap")
            time.sleep(moment)
            os.kill(build.pid, number)
            _, rest = build.communicate(timeout=30)
        assert build.returncode == ENDS[number], told.text + rest.decode()
        watch.check()
        assert residue.unfinished(anyone.root) == []


def test_a_signal_while_stages_run_at_once(anyone: Person, watch: Watch) -> None:
    stages = "".join(
        f"FROM busybox AS s{n}\nRUN echo begun{n}; sleep 4242; touch /x{n}\n" for n in range(3)
    )
    copies = "FROM scratch\n" + "".join(f"COPY --from=s{n} /x{n} /\n" for n in range(3))
    context = anyone.context(stages + copies)

    with anyone.start(anyone.arguments("--no-cache", context)) as build:
        told = Told(build)
        for n in range(3):
            told.until(f" begun{n}\n")
        os.kill(build.pid, signal.SIGINT)
        build.communicate(timeout=30)

    assert build.returncode == 130
    watch.check()
    assert residue.unfinished(anyone.root) == []


def test_an_impatient_second_signal(anyone: Person, watch: Watch) -> None:
    """Twice Ctrl-C: the second may cut the clearing up short, but then the next start does it."""
    with anyone.start(anyone.arguments("--no-cache", anyone.context(SLOW))) as build:
        Told(build).until(BEGUN)
        os.kill(build.pid, signal.SIGINT)
        time.sleep(0.005)
        os.kill(build.pid, signal.SIGINT)
        _, rest = build.communicate(timeout=30)

    assert build.returncode in (130, -signal.SIGINT), rest.decode()
    watch.check()
    anyone.build("FROM busybox\nRUN true\n")
    assert residue.unfinished(anyone.root) == []


def test_a_signal_during_copy(anyone: Person, watch: Watch) -> None:
    context = anyone.context("FROM busybox\nCOPY many /many\n")
    (context / "many").mkdir(mode=0o755)
    for n in range(3000):
        (context / f"many/{n}").write_text(f"{n} {anyone.folder}")

    interrupt(anyone, context, "COPY many", signal.SIGINT)

    watch.check()
    assert residue.unfinished(anyone.root) == []
    made = anyone.image(anyone.pybuild(context))
    assert len(made.new[0].entries) == 3001


def test_a_signal_while_a_huge_file_is_read(anyone: Person, watch: Watch) -> None:
    """One file can take minutes: its reader looks up now and then."""
    context = anyone.context("FROM busybox\nRUN echo first\nCOPY huge /huge\n")
    with (context / "huge").open("wb") as huge:
        huge.truncate(16 << 30)

    with anyone.start(anyone.arguments("--no-cache", context)) as build:
        Told(build).until(" first\n")
        time.sleep(0.3)
        began = time.monotonic()
        os.kill(build.pid, signal.SIGINT)
        build.communicate(timeout=30)

    assert build.returncode == 130
    assert time.monotonic() - began < 5
    watch.check()
    assert residue.unfinished(anyone.root) == []


def big_image(person: Person, name: str) -> None:
    """Put an image into the store whose unpacking takes a while."""
    path = person.folder / "big.tar"
    with tarfile.open(path, "w") as tar:
        for n in range(10000):
            member = tarfile.TarInfo(f"d{n % 100}/{n}")
            data = f"{n} {name}".encode()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    path.chmod(0o644)
    python = person.arguments()[0]
    words = ["--root", str(person.root), "import", str(path), name]
    person.run([python, "-m", "buildkit_py.cli.pyengine", *words])


def test_a_signal_while_a_base_is_unpacked(anyone: Person, watch: Watch) -> None:
    big_image(anyone, "big")
    context = anyone.context("FROM big\nCOPY Dockerfile /\n")

    interrupt(anyone, context, "extracting", signal.SIGTERM)

    watch.check()
    assert residue.unfinished(anyone.root) == []
    made = anyone.image(anyone.pybuild(context))
    assert set(made.new[0].entries) == {"Dockerfile"}


KILLED = """\
FROM busybox AS one
COPY some /some
RUN echo %s; cat /some/* | sha256sum > /sum; sleep 0.1
FROM busybox AS two
RUN mkdir /d && seq 2000 | while read n; do echo $n > /d/$n; done; (sleep 4242 &); true
FROM busybox
COPY --from=one /sum /sum
COPY --from=two /d /d
RUN cat /d/* | sort -n | sha256sum > /d-sum
"""
SOME = {f"some/{n}": f"{n}\n" for n in range(200)}


@pytest.mark.parametrize("whom", ["pybuild", "zygote", "both", "all"])
def test_sigkill_at_any_moment(anyone: Person, watch: Watch, whom: str) -> None:
    """Three rounds, each at another moment and of a build that has something new to do."""
    moments = random.Random(f"{whom} {anyone.is_root}")
    zygotes: set[int] = set()
    context = Path()
    for number in range(3):
        context = anyone.context(KILLED % f"{whom} {number} {anyone.folder.name}", SOME)
        with anyone.start(anyone.arguments("-t", "killed", context)) as build:
            eventually(lambda: residue.children(build.pid), seconds=5)
            time.sleep(moments.uniform(0, 0.8))
            zygote = residue.children(build.pid)
            zygotes |= set(zygote)
            everybody = residue.descendants(build.pid)
            targets = {
                "pybuild": [build.pid],
                "zygote": zygote,
                "both": [build.pid, *zygote],
                "all": [build.pid, *everybody],
            }[whom]
            for pid in targets:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            _, told = build.communicate(timeout=60)
        assert build.returncode in (0, 3, -signal.SIGKILL), told.decode()
        assert "Traceback" not in told.decode()
        watch.check()

    made = anyone.image(anyone.pybuild("-t", "killed", context))
    fresh = anyone.build(KILLED % "fresh", SOME)

    assert residue.unfinished(anyone.root) == []
    assert residue.groups_of(zygotes) == []
    for one, two in zip(made.new, fresh.new, strict=True):
        assert {name: entry.size for name, entry in one.entries.items()} == {
            name: entry.size for name, entry in two.entries.items()
        }
    assert [made.new[n].text(name) for n, name in ((0, "sum"), (2, "d-sum"))] == [
        fresh.new[n].text(name) for n, name in ((0, "sum"), (2, "d-sum"))
    ]


def test_an_interrupt_before_anything_has_begun(anyone: Person, watch: Watch) -> None:
    """While Python itself starts and imports, too: nothing is left."""
    context = anyone.context("FROM busybox\nRUN true\n")
    for moment in (0.005, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2):
        with anyone.start(anyone.arguments("--no-cache", context)) as build:
            time.sleep(moment)
            os.kill(build.pid, signal.SIGINT)
            _, told = build.communicate(timeout=30)
        # 1 is Python's own, while it looks for the module to run.
        assert build.returncode in (0, 1, 130, -signal.SIGINT), told.decode()
        watch.check()
    assert residue.unfinished(anyone.root) == []
