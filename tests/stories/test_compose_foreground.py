"""`pycompose up` in the foreground, Ctrl-C, and `logs`."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.stories.compose import STAYS, Composer, lasting, project
from tests.stories.conftest import Person
from tests.stories.residue import eventually, watching

pytestmark = [pytest.mark.kernel("overlay")]

TEXT = """\
services:
  web:
    image: busybox
    command: [sh, -c, "echo hello; STAYS"]
    depends_on: [db]
  db: {image: busybox, command: [sh, -c, "echo ready; echo oops >&2; STAYS"]}
"""


@contextmanager
def running(app: Composer, *words: str, until: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start `up`; the block begins when its output has had a line."""
    process = app.start(*words)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        seen = b""
        for line in process.stdout:
            seen += line
            if until.encode() in line:
                break
        else:
            raise AssertionError(f"{seen!r} {process.stderr.read()!r}")
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def finish(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    out, err = process.communicate(timeout=60)
    return out.decode(), err.decode()


def test_lines_have_their_containers_names_in_front(anyone: Person) -> None:
    with project(anyone, lasting(TEXT)) as app:
        text = "services:\n  a: {image: busybox, command: echo one}\n"
        text += "  longer: {image: busybox, command: [sh, -c, 'echo two; exit 3']}\n"
        app.write(text)

        done = app("up")

        lines = done.stdout.splitlines()
        assert lines.pop(0) == "Attaching to a-1, longer-1"
        assert sorted(lines) == [
            "a-1       | one",
            "a-1 exited with code 0",
            "longer-1  | two",
            "longer-1 exited with code 3",
        ]
        assert lines.index("longer-1  | two") < lines.index("longer-1 exited with code 3")
        again = app("up", "--no-log-prefix", "--no-attach", "longer")
        assert "one" in again.stdout.splitlines()
        assert "two" not in again.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_in_order(anyone: Person, number: int) -> None:
    with watching() as watch, project(anyone, lasting(TEXT)) as app:
        with running(app, "up", until="hello") as process:
            os.kill(process.pid, number)
            out, err = finish(process)

        assert process.returncode == 0
        assert "Gracefully Stopping... press Ctrl+C again to force" in err
        stops = [
            line.split()[1] for line in err.splitlines() if "Stopping" in line and "app" in line
        ]
        assert stops == ["app-web-1", "app-db-1"]
        assert {"web-1 exited with code 0", "db-1 exited with code 0"} <= set(out.splitlines())
        assert app.states() == {"web-1": "exited", "db-1": "exited"}
        app("down")
        watch.check()


def test_the_second_signal_kills(anyone: Person) -> None:
    text = "services:\n  deaf: {image: busybox, command: [sh, -c, 'echo up; trap : TERM INT;"
    text += " while :; do sleep 1000; done'], stop_grace_period: 10m}\n"
    with project(anyone, text) as app:
        with running(app, "up", until="up") as process:
            os.kill(process.pid, signal.SIGINT)
            assert process.stderr is not None
            for line in process.stderr:
                if b"Stopping" in line and b"app-deaf-1" in line:
                    break
            os.kill(process.pid, signal.SIGINT)
            finish(process)

        assert process.returncode == 130
        assert app.containers()["app-deaf-1"]["ExitCode"] == 137


def test_a_signal_while_containers_are_made_cancels(anyone: Person) -> None:
    text = lasting(TEXT).replace(
        "depends_on: [db]", "depends_on: {db: {condition: service_healthy}}"
    )
    text = text.replace("  db: {", "  db: {healthcheck: {test: 'false', interval: 10m}, ")
    with project(anyone, text) as app:
        with running(app, "up", until="ready") as process:
            os.kill(process.pid, signal.SIGINT)
            _, err = finish(process)

        assert process.returncode == 130
        assert err.count("press Ctrl+C again to force") == 1
        assert "Error" not in err
        assert app.states() == {"db-1": "exited", "web-1": "created"}


def test_what_already_runs_is_joined_without_its_old_lines(anyone: Person) -> None:
    with project(anyone, lasting(TEXT)) as app:
        app("up", "-d")
        assert eventually(lambda: "hello" in app("logs", "web").stdout)
        app.write(lasting(TEXT).replace("STAYS", STAYS))

        process = app.start("up")
        assert process.stdout is not None
        assert process.stdout.readline() == b"Attaching to db-1, web-1\n"
        app.engine("exec", "app-web-1", "sh", "-c", "echo later >/proc/1/fd/1")
        assert process.stdout.readline() == b"web-1  | later\n"
        os.kill(process.pid, signal.SIGINT)
        finish(process)
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--abort-on-container-exit"], 3),
        (["--abort-on-container-failure"], 3),
        (["--exit-code-from", "job"], 3),
        (["--exit-code-from", "web"], 0),
    ],
)
def test_up_may_end_with_a_container_and_its_code(
    anyone: Person, words: list[str], code: int
) -> None:
    text = lasting(TEXT) + "  job: {image: busybox, command: [sh, -c, 'sleep 0.3; exit 3']}\n"
    with project(anyone, text) as app:
        done = app("up", *words, code=code)

        assert "job-1 exited with code 3" in done.stdout
        assert "running" not in app.states().values()


def test_a_crash_is_told_and_followed(anyone: Person) -> None:
    text = "services:\n  a:\n    image: busybox\n    restart: 'on-failure:2'\n"
    text += "    command: [sh, -c, 'echo try; exit 4']\n"
    with project(anyone, text) as app:
        lines = app("up").stdout.splitlines()

        assert lines.count("a-1  | try") == 3
        assert lines.count("a-1 exited with code 4 (restarting)") == 2
        assert lines[-1] == "a-1 exited with code 4"


def test_a_terminal_gets_colours_and_an_end_of_the_pipe_ends_up(anyone: Person) -> None:
    with project(anyone, "services: {a: {image: busybox, command: echo hi}}\n") as app:
        near, far = pty.openpty()
        process = app.start("up", stdout=far, stderr=subprocess.DEVNULL)
        assert process.wait(60) == 0
        text = os.read(near, 4096).decode()
        os.close(far)
        os.close(near)

        assert "\x1b[36ma-1  | \x1b[0mhi" in text

        reader, writer = os.pipe()
        os.close(reader)
        process = app.start("up", stdout=writer, stderr=subprocess.DEVNULL)
        os.close(writer)
        assert process.wait(60) == 141


def test_logs_of_several_containers_by_time(anyone: Person) -> None:
    text = "services:\n  a: {image: busybox, command: [sh, -c, 'echo a1; sleep 0.4; echo a2']}\n"
    text += "  b: {image: busybox, command: [sh, -c, 'sleep 0.2; echo b1; sleep 0.4; echo b2']}\n"
    with project(anyone, text) as app:
        app("up")

        lines = app("logs").stdout.splitlines()
        assert lines == ["a-1  | a1", "b-1  | b1", "a-1  | a2", "b-1  | b2"]
        app.write("services: {a: {image: busybox, command: [sh, -c, 'echo o; echo e >&2']}}\n")
        done = app("up", "--remove-orphans")
        assert "a-1  | o" in done.stdout.splitlines()
        assert "a-1  | e" in done.stderr.splitlines()
        assert (app("logs").stdout, app("logs").stderr) == ("a-1  | o\n", "a-1  | e\n")
        app.write(text)
        app("up", "--remove-orphans")
        assert app("logs", "--tail", "1", "--no-log-prefix").stdout.splitlines() == ["a2", "b2"]
        stamped = app("logs", "-t", "--no-log-prefix", "b").stdout.splitlines()
        times = [line.split()[0] for line in stamped]
        assert times == sorted(times)
        assert app("logs", "--no-log-prefix", "--since", times[1]).stdout == "b2\n"
        assert app("logs", "--no-log-prefix", "--until", times[0], "b").stdout == ""
        assert app("logs", "--since", "10m").stdout.count("\n") == 4
        assert app("logs", "-f", "--no-log-prefix", "a").stdout == "a1\na2\n"
        assert "no such service: c" in app("logs", "c", code=2).stderr


def test_ansi_decides_about_colours(anyone: Person) -> None:
    with project(anyone, "services: {a: {image: busybox, command: echo hi}}\n") as app:
        assert "\x1b[36ma-1  | \x1b[0mhi" in app("--ansi", "always", "up").stdout
        assert "\x1b[" not in app("up").stdout
        assert "\x1b[32mRemoved\x1b[0m" in app("--ansi", "always", "down").stderr


def test_a_terminal_gets_a_table(anyone: Person) -> None:
    with project(
        anyone, lasting("services: {a: {image: busybox, command: [sh, -c, STAYS]}}\n")
    ) as app:
        app.environment = {"CI": "", "TERM": "xterm"}
        for words, last in ((("up", "-d"), "Started"), (("down",), "Removed")):
            near, far = pty.openpty()
            process = app.start(*words, stdout=subprocess.DEVNULL, stderr=far)
            os.close(far)
            text = ""
            while piece := _read_terminal(near):
                text += piece
            assert process.wait(60) == 0
            os.close(near)

            head, *rows = text.rpartition("[+] Running ")[2].splitlines()
            assert head.startswith("2/2")
            assert all(last in row or "Created" in row for row in rows)
            assert any("app-a-1" in row and last in row for row in rows)


def _read_terminal(fd: int) -> str:
    """Read what comes; "" when the other side has closed it, which Linux tells with EIO."""
    try:
        return os.read(fd, 4096).decode()
    except OSError:
        return ""


def test_logs_are_followed_into_containers_that_start_later(anyone: Person) -> None:
    text = lasting(
        'services:\n  a: {image: busybox, command: [sh, -c, "echo a; STAYS"]}\n'
        "  b: {image: busybox, command: [sh, -c, echo b]}\n"
    )
    with project(anyone, text) as app:
        app("up", "-d", "a")
        logs = app.start("logs", "-f", "--no-log-prefix")
        assert logs.stdout is not None
        assert logs.stdout.readline() == b"a\n"

        app("up", "-d", "b")
        assert logs.stdout.readline() == b"b\n"
        app("up", "-d", "b")
        assert logs.stdout.readline() == b"b\n"
        app("down")

        rest, _ = logs.communicate(timeout=60)
        assert (rest, logs.returncode) == (b"", 0)


@pytest.mark.parametrize("words", [("down",), ("rm", "-sf"), ("stop",), ("kill",)], ids=" ".join)
def test_who_waits_to_be_restarted_may_be_taken_away(
    anyone: Person, words: tuple[str, ...]
) -> None:
    text = "services: {a: {image: busybox, command: 'false', restart: always}}\n"
    with project(anyone, text) as app:
        up = app.start("up")
        assert up.stdout is not None
        while b"(restarting)" not in up.stdout.readline():
            pass
        # Each wait is twice as long as the one before: this one is met in the middle of it.
        assert eventually(lambda: app.inspect("a-1")["RestartCount"] >= 3)

        app(*words)

        up.communicate(timeout=60)
        assert up.returncode == 0
