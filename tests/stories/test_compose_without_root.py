"""What a person without root cannot have, told by `pycompose` and never claimed."""

from __future__ import annotations

import pytest

from tests.stories.compose import lasting, project
from tests.stories.conftest import Person

pytestmark = pytest.mark.rootless

LIMITED = lasting("""\
services:
  web:
    image: busybox
    scale: 2
    mem_limit: 64m
    cpus: 0.5
    pids_limit: 50
    command: [sh, -c, "STAYS"]
  db:
    image: busybox
    deploy: {resources: {limits: {memory: 32m}}}
    command: [sh, -c, "STAYS"]
""")
KINDS = {
    "Memory": "memory cannot be limited",
    "NanoCpus": "processor time cannot be limited",
    "PidsLimit": "the number of processes cannot be limited",
}


def test_up_tells_each_limit_that_is_not_kept_once_and_inspect_does_not_claim_it(
    user: Person,
) -> None:
    with project(user, LIMITED) as compose:
        said = compose("up", "-d").stderr
        web = compose.inspect("web-1")["HostConfig"]
        db = compose.inspect("db-1")["HostConfig"]
        again = compose("up", "-d").stderr

    lost = [("web", kind) for kind in KINDS if not web[kind]]
    lost += [] if db["Memory"] else [("db", "Memory")]
    for service, kind in lost:
        assert said.count(f"notice: service `{service}`: {KINDS[kind]}") == 1, said
    assert said.count("notice: service") == len(lost)
    assert said.count("hint: ") == min(len(lost), 1)
    assert said.index("notice: ") < said.index("Starting")
    assert "notice: " not in again


def test_run_and_create_tell_it_too(user: Person) -> None:
    with project(user, LIMITED) as compose:
        ran = compose("run", "--rm", "db", "true").stderr
        made = compose("create").stderr
        kept = compose.inspect("db-1")["HostConfig"]["Memory"]
        alone = compose.engine("create", "--name", "alone", "--memory", "32m", "busybox").stderr
        compose.engine("rm", "alone")

    if not kept:
        assert ran.count("memory cannot be limited") == 1
        assert made.count("notice: service `db`: memory cannot be limited") == 1
        assert alone.count("notice: memory cannot be limited") == 1
