"""`pycompose build`: images of services, some at once, and what keeps them from being built."""

from __future__ import annotations

import re
import signal

import pytest

from tests.stories.compose import project
from tests.stories.conftest import Person
from tests.stories.residue import watching

pytestmark = [pytest.mark.kernel("overlay")]

INLINE = """\
services:
  task:
    privileged: true
    build:
      context: .
      dockerfile_inline: |
        FROM busybox
        COPY . /here
        %STEP%
"""
MEET = "i=0; until [ -e /meet/{theirs} ]; do i=$((i+1)); [ $i -lt 300 ]; sleep 0.05; done"


def announced(stderr: str) -> list[str]:
    """Return the names of steps in the order in which they were announced first."""
    return list(dict.fromkeys(re.findall(r"^#\d+ (\[.*)$", stderr, re.M)))


def test_a_dockerfile_inside_the_project_is_built_and_remembered(anyone: Person) -> None:
    files = {"note": "hello\n", "skipped": "", ".dockerignore": "skipped\ncompose.yaml\n"}
    with project(anyone, INLINE.replace("%STEP%", "RUN ls /here"), files) as app:
        first = app("build")

        assert "[task 3/3] RUN ls /here" in announced(first.stderr)
        assert [line.split()[-1] for line in re.findall(r"^#\d+ \d+\.\d+ .*$", first.stderr, re.M)
                ] == ["note"]  # fmt: skip
        app("build")  # files as young as the first build are no proof: this one keeps the record
        again = app("build")
        assert announced(again.stderr) == [], "nothing is looked at twice"
        assert "Image app-task  Built" in again.stderr
        app.write(INLINE.replace("%STEP%", "RUN echo another"), files)
        changed = app("build")
        assert "[task 3/3] RUN echo another" in announced(changed.stderr)


def test_a_failed_build_names_place_and_service(anyone: Person) -> None:
    with project(anyone, INLINE.replace("%STEP%", "RUN exit 3")) as app:
        failed = app("build", code=1)

        assert "--> services.task.build.dockerfile_inline:3:1" in failed.stderr
        assert "ended with exit code 3" in failed.stderr
        assert "in the build of service `task`" in failed.stderr
        assert " Image app-task  Error" in failed.stderr


def test_what_cannot_run_can_be_built_and_what_cannot_be_built_is_named(anyone: Person) -> None:
    with project(anyone, INLINE.replace("%STEP%", "RUN true")) as app:
        app("build")
        assert "`privileged` is not carried out yet" in app("up", "-d", code=2).stderr
        app.write(INLINE.replace("context: .", "context: .\n      additional_contexts: [a=..]"))
        refused = app("build", code=2)
        assert "`additional_contexts` is not carried out yet" in refused.stderr
        assert "privileged" not in refused.stderr


KEYS = """\
services:
  one:
    image: mine:1
    build:
      context: one
      dockerfile: sub/File
      target: last
      args: {GIVEN: g, FROM_ENV: }
      labels: {a: b}
      tags: [mine:other]
      extra_hosts: [far=10.1.2.3]
      network: none
      shm_size: 32m
      ulimits: {nofile: {soft: 70, hard: 80}}
"""
FILE = """\
FROM busybox AS last
ARG GIVEN FROM_ENV
RUN echo said=$GIVEN,$FROM_ENV,$(grep -c 10.1.2.3 /etc/hosts),$(ulimit -n) && ls /sys/class/net
RUN df -k /dev/shm | tail -n 1
FROM nothing-of-this-name
"""


def test_keys_of_build(anyone: Person) -> None:
    with project(anyone, KEYS, {"one/sub/File": FILE}) as app:
        app.environment["FROM_ENV"] = "e"
        done = app("build", "--no-cache")

        assert "said=g,e,1,70" in done.stderr
        assert "eth0" not in done.stderr
        assert re.search(r" 32768 ", done.stderr)
        names = app.engine("images").stdout
        assert re.search(r"^mine +1 ", names, re.M), names
        assert re.search(r"^mine +other ", names, re.M), names
        assert app("build", "--no-cache", "--build-arg", "GIVEN=x").stderr.count("said=x,e") >= 1


def test_builds_of_several_services_run_at_once(person: Person) -> None:
    """Each waits for a line of the other: one after the other they would never end."""
    text = (
        "services:\n"
        "  a: {build: {context: a}}\n"
        "  b: {build: {context: b}}\n"
        "  c: {build: {context: a, target: more}}\n"
    )
    step = "FROM busybox AS base\nRUN --mount=type=cache,id=%ID%,target=/meet touch /meet/%ME% && "
    files = {}
    for mine, theirs in (("a", "b"), ("b", "a")):
        waits = MEET.format(theirs=theirs)
        text_of_one = step.replace("%ID%", person.folder.name).replace("%ME%", mine) + waits
        files[f"{mine}/Dockerfile"] = f"{text_of_one}\nFROM base AS more\nRUN echo more\n"
    with project(person, text, files) as app:
        done = app("build")

        ended = [line.split()[1] for line in done.stderr.splitlines() if line.endswith("  Built")]
        assert sorted(ended) == ["app-a", "app-b", "app-c"]
        assert ended.index("app-a") < ended.index("app-c"), "they share steps"
        numbers = re.findall(r"^#(\d+) \[(?:a|b|c) ", done.stderr, re.M)
        assert len(set(numbers)) == len(announced(done.stderr)), "each step has a number"


def test_an_image_that_another_service_builds_is_waited_for(person: Person) -> None:
    text = "services:\n  a: {build: {context: a}}\n  z: {image: its-base, build: {context: z}}\n"
    files = {
        "a/Dockerfile": "FROM its-base\nRUN cat /base\n",
        "z/Dockerfile": "FROM busybox\nRUN echo from-z >/base\n",
    }
    with project(person, text, files) as app:
        assert "from-z" in app("build").stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_builds_and_leaves_nothing(
    anyone: Person, number: signal.Signals
) -> None:
    lasting = "FROM busybox\nRUN echo begun; sleep 1000\n"
    files = {"a/Dockerfile": lasting, "b/Dockerfile": lasting.replace("1000", "1001")}
    with (
        watching() as watch,
        project(anyone, "services: {a: {build: a}, b: {build: b}}\n", files) as app,
    ):
        process = app.start("--progress", "plain", "build")
        assert process.stderr is not None
        begun = 0
        while begun < 2:
            line = process.stderr.readline()
            assert line, "it ended"
            begun += line.endswith(b" begun\n")
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)

        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
        assert rest.count(b"CANCELED") == 2, rest
        watch.check()


def test_a_failure_ends_the_other_builds(person: Person) -> None:
    files = {
        "a/Dockerfile": "FROM busybox\nRUN sleep 1000\n",
        "b/Dockerfile": "FROM busybox\nRUN exit 9\n",
    }
    with project(person, "services: {a: {build: a}, b: {build: b}}\n", files) as app:
        failed = app("build", code=1, timeout_seconds=60)

        assert "in the build of service `b`" in failed.stderr
        assert "Image app-a  Built" not in failed.stderr
