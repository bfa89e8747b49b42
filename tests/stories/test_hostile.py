"""A Dockerfile by somebody hostile: what it may not do, and that nothing hangs."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.stories.conftest import Person

pytestmark = [pytest.mark.kernel("overlay")]


def until(process: subprocess.Popen[bytes], text: bytes) -> None:
    """Read what a build writes until a line holds `text`."""
    assert process.stderr is not None
    while text not in (line := process.stderr.readline()):
        assert line, f"it ended without writing {text!r}"


@pytest.mark.parametrize(
    ("flag", "name"),
    [("--security=insecure", "security.insecure"), ("--network=host", "network.host")],
)
def test_a_dockerfile_cannot_give_itself_more_than_the_sandbox(
    anyone: Person, flag: str, name: str
) -> None:
    context = anyone.context(f"FROM busybox\nRUN {flag} touch /ran\n")

    refused = anyone.pybuild(context, code=2)

    assert "error[build/not-allowed]" in refused.stderr
    assert f"--allow {name}" in refused.stderr
    assert not refused.ran

    allowed = anyone.pybuild("--allow", name, context)

    assert allowed.ran[-1].endswith("touch /ran")


def test_a_step_with_one_locked_cache_twice_does_not_wait_for_itself(anyone: Person) -> None:
    both = " ".join(f"--mount=type=cache,id=twice,sharing=locked,target=/{at}" for at in "ab")

    made = anyone.build(f"FROM busybox\nRUN {both} touch /a/x && echo seen=$(ls /b)\n")

    assert made.done.said("seen") == "x"


def test_steps_that_lock_the_same_caches_in_another_order_do_not_wait_for_each_other(
    anyone: Person,
) -> None:
    def step(first: str, second: str) -> str:
        mounts = [
            f"--mount=type=cache,id={each},sharing=locked,target=/{each}"
            for each in (first, second)
        ]
        return f"RUN {' '.join(mounts)} sleep 0.1\n"

    anyone.build(
        f"FROM busybox AS one\n{step('a', 'b') * 5}"
        f"FROM busybox AS two\n{step('b', 'a') * 5}"
        "FROM busybox\nCOPY --from=one /bin/sh /1\nCOPY --from=two /bin/sh /2\n"
    )


def test_waiting_for_a_locked_cache_ends_with_ctrl_c(person: Person) -> None:
    mount = "--mount=type=cache,id=held,sharing=locked,target=/c"
    context = person.context(f"FROM busybox\nRUN {mount} echo going; sleep 600\n", name="holder")
    waiting = person.context(f"FROM busybox\nRUN {mount} true\n", name="waiter")
    with person.start(person.arguments("--no-cache", context)) as holder:
        until(holder, b"going")
        with person.start(person.arguments("--no-cache", waiting)) as waiter:
            until(waiter, b"] RUN")

            waiter.send_signal(signal.SIGINT)

            assert waiter.wait(10) == 130
        holder.send_signal(signal.SIGINT)
        assert holder.wait(10) == 130


def test_what_a_cache_mount_cannot_do_yet_is_said(person: Person) -> None:
    context = person.context(
        "FROM busybox AS seed\nFROM busybox\n"
        "RUN --mount=type=cache,from=seed,source=etc,target=/c true\n"
    )

    assert "error[build/unsupported-mount]" in person.pybuild(context, code=2).stderr
