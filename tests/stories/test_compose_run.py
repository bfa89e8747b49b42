"""`pycompose exec`, `run`, and the commands that act on or look at what there is."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios

import pytest

from tests.stories.compose import SHOP, STAYS, Composer, lasting, project, started
from tests.stories.conftest import Done, Person
from tests.stories.residue import eventually, watching

pytestmark = [pytest.mark.kernel("overlay")]

TASKS = """\
services:
  task:
    image: busybox
    command: [sh, -c, "echo default"]
    environment: {COLOUR: red}
    depends_on: {db: {condition: service_healthy}}
    restart: always
    container_name: fixed
    ports: ["127.0.0.1::80"]
    secrets: [pw]
    volumes: ["data:/data", "/scratch"]
  db:
    image: busybox
    command: [sh, -c, "STAYS"]
    healthcheck: {test: "true", interval: 100ms}
  tool: {image: busybox, profiles: [tools], entrypoint: [echo, tool]}
secrets: {pw: {file: ./pw}}
volumes: {data: }
"""


def fed(app: Composer, text: str, *words: str) -> Done:
    """Run `pycompose` with something on its standard input."""
    process = app.start(*words, stdin=subprocess.PIPE)
    out, err = process.communicate(text.encode(), timeout=60)
    return Done(process.returncode, out.decode(), err.decode())


def test_run_is_a_new_container_beside_those_of_up(anyone: Person) -> None:
    with watching() as watch, project(anyone, lasting(TASKS), {"pw": "hush\n"}) as app:
        done = app("run", "task", "sh", "-c", "cat /run/secrets/pw; echo $COLOUR; exit 7", code=7)

        assert done.stdout == "hush\nred\n"
        rows = app.containers()
        assert rows["app-db-1"]["Health"] == "healthy", "what it needs runs and is healthy"
        (name,) = set(rows) - {"app-db-1"}
        assert re.fullmatch("app-task-run-[0-9a-f]{12}", name)
        labels = app.inspect(name.removeprefix("app-"))["Config"]["Labels"]
        assert labels["com.docker.compose.oneoff"] == "True"
        slug = labels["com.docker.compose.slug"]
        assert len(slug) == 64
        assert slug.startswith(name[-12:])
        assert rows[name]["ExitCode"] == 7
        assert rows[name]["State"] == "exited", "no restart policy"
        assert rows[name]["Publishers"] == []

        app("down", "-v", "--remove-orphans")
        assert app.containers() == {}
        watch.check()


def test_run_takes_options_like_docker_compose(anyone: Person) -> None:
    with project(anyone, lasting(TASKS), {"pw": "hush\n"}) as app:
        words = ["run", "--rm", "--no-deps", "-T"]
        done = app(
            *words, "-e", "COLOUR=blue", "-e", "MORE=1", "-u", "1000", "-w", "/data",
            "--name", "mine", "-l", "a=b",
            "task", "sh", "-c", "echo $COLOUR $MORE; id -u; pwd; hostname",
        )  # fmt: skip
        assert done.stdout.splitlines()[:3] == ["blue 1", "1000", "/data"]
        assert app(*words, "--entrypoint", "echo one", "task", "two").stdout == "one two\n"
        assert app(*words, "task").stdout == "default\n"
        assert fed(app, "piped\n", *words, "task", "cat").stdout == "piped\n"
        assert app(*words, "tool").stdout == "tool\n", "naming a service switches its profile on"
        assert app(*words, "task", "no-such-program", code=127).stdout == ""
        assert app(*words, "task", "/etc", code=126).stdout == ""
        assert app.containers() == {}
        assert [
            each for each in app.engine("volume", "ls", "-q").stdout.split() if len(each) == 64
        ] == [], "the volumes without a name went with --rm"


def test_run_in_the_background_with_a_port(anyone: Person) -> None:
    with project(anyone, lasting(TASKS), {"pw": ""}) as app:
        id = app("run", "-d", "--no-deps", "-P", "task", "httpd", "-f", "-p", "80").stdout.strip()

        assert re.fullmatch("[0-9a-f]{64}", id)
        (row,) = (row for row in app.containers().values() if id.startswith(row["ID"]))
        (published,) = row["Publishers"]
        address = (published["URL"], published["PublishedPort"])

        def answers() -> bool:
            with socket.create_connection(address) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return client.recv(8) == b"HTTP/1.1"

        assert eventually(answers)
        assert app("ps").stdout.count("\n") == 1, "without -a no such containers"


def test_a_signal_reaches_a_program_that_runs(anyone: Person) -> None:
    with project(anyone, lasting(TASKS), {"pw": ""}) as app:
        program = "trap 'echo got; exit 5' TERM; echo up; while :; do sleep 1000 & wait; done"
        process = app.start("run", "--rm", "--no-deps", "-T", "task", "sh", "-c", program)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)

        assert (process.returncode, out) == (5, b"got\n")
        assert app.containers() == {}


def test_run_waits_until_nobody_wants_it_to(anyone: Person) -> None:
    text = lasting(TASKS).replace('test: "true"', 'test: "false", retries: 1000')
    with project(anyone, text, {"pw": ""}) as app:
        for words in (["run", "--rm", "task"], ["up", "-d"]):
            process = app.start(*words)
            assert process.stderr is not None
            for line in process.stderr:
                if line.endswith(b"app-db-1  Waiting\n"):
                    break
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)

            assert process.returncode == 130, words
            assert b"Error" not in err, "nothing is wrong with what is waited for"
        assert app.states()["db-1"] == "running", "what was begun stays"


def test_run_in_the_background_leaves_nothing_with_rm(anyone: Person) -> None:
    with project(anyone, lasting(TASKS), {"pw": ""}) as app:
        id = app("run", "-d", "--rm", "--no-deps", "task", "sh", "-c", STAYS).stdout.strip()
        assert [row["State"] for row in app.containers().values()] == ["running"]
        app.engine("stop", id)
        assert eventually(lambda: app.containers() == {})


def test_run_mounts_and_reads_what_the_project_means(anyone: Person) -> None:
    files = {"pw": "", ".env": "FROM_FILE=dotenv\n", "more": "EXTRA=1\n", "here/x": "there\n"}
    with project(anyone, lasting(TASKS), files) as app:
        words = ["run", "--rm", "--no-deps"]
        done = app(
            *words, "-v", "data:/else", "-v", "./here:/here:ro", "-e", "FROM_FILE",
            "--env-from-file", "more", "task",
            "sh", "-c", "echo $FROM_FILE $EXTRA; cat /here/x; echo kept >/else/k",
        )  # fmt: skip
        assert done.stdout == "dotenv 1\nthere\n"
        assert app(*words, "task", "cat", "/data/k").stdout == "kept\n", "the project's own volume"
        assert "`--pull` is" in app(*words, "--pull", "now", "task", code=2).stderr


def test_down_takes_containers_of_run_with_orphans_alone(anyone: Person) -> None:
    with project(anyone, lasting(TASKS), {"pw": ""}) as app:
        app("run", "--no-deps", "--name", "left", "task")
        told = app("down")
        assert set(app.containers()) == {"left"}, told.stderr
        app("down", "--remove-orphans", "-v")
        assert app.containers() == {}


class Terminal:
    """A terminal with a program at its other end."""

    def __init__(self, app: Composer, *words: str, rows: int = 31, columns: int = 97) -> None:
        self.fd, theirs = pty.openpty()
        self.size(rows, columns)
        self.process = app.start(*words, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.seen = b""

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def until(self, text: bytes) -> None:
        """Read until something was shown; reading on behind it."""
        while text not in self.seen:
            assert select.select([self.fd], [], [], 60)[0], self.seen
            try:
                self.seen += os.read(self.fd, 1 << 16)
            except OSError:  # EIO: nobody is at the other end
                raise AssertionError(self.seen) from None
        self.seen = self.seen.partition(text)[2]

    def end(self) -> int:
        try:
            return self.process.wait(60)
        finally:
            os.close(self.fd)


SHELL = "trap 'echo caught; exit 6' INT; echo ready; while :; do stty size; sleep 0.1; done"


def test_a_terminal_reaches_the_program_of_run(anyone: Person) -> None:
    with project(anyone, lasting(TASKS), {"pw": ""}) as app:
        terminal = Terminal(app, "run", "--rm", "--no-deps", "task", "sh", "-c", SHELL)
        terminal.until(b"ready\r\n")
        terminal.until(b"31 97\r\n")
        terminal.size(40, 120)
        os.killpg(terminal.process.pid, signal.SIGWINCH)
        terminal.until(b"40 120\r\n")
        terminal.type(b"\x03")
        terminal.until(b"caught")

        assert terminal.end() == 6
        assert app.containers() == {}
        without = Terminal(app, "run", "-T", "--rm", "--no-deps", "task", "sh", "-c", "tty; exit 4")
        without.until(b"not a tty")
        assert without.end() == 4


def test_a_terminal_reaches_the_program_of_exec(anyone: Person) -> None:
    text = lasting('services: {a: {image: busybox, command: [sh, -c, "STAYS"]}}\n')
    with project(anyone, text) as app:
        app("up", "-d")
        terminal = Terminal(app, "exec", "a", "sh", "-c", SHELL)
        terminal.until(b"ready\r\n")
        terminal.until(b"31 97\r\n")
        terminal.type(b"\x03")
        terminal.until(b"caught")
        assert terminal.end() == 6
        without = Terminal(app, "exec", "-T", "a", "sh", "-c", "tty; exit 4")
        without.until(b"not a tty")
        assert without.end() == 4


def test_exec_falls_back_to_a_container_of_run(anyone: Person) -> None:
    text = lasting('services: {a: {image: busybox, command: [sh, -c, "STAYS"]}}\n')
    with project(anyone, text) as app:
        id = app("run", "-d", "a").stdout.strip()
        assert app("exec", "a", "hostname").stdout.strip() == id[:12]
        app("up", "-d")
        assert app("exec", "a", "hostname").stdout.strip() == app.id("a-1")[:12]


def test_run_waits_for_what_it_needs_and_fails_with_it(anyone: Person) -> None:
    text = lasting(TASKS).replace('test: "true"', 'test: "false", retries: 1')
    with project(anyone, text, {"pw": ""}) as app:
        failed = app("run", "--rm", "task", code=1)

        assert "container app-db-1 is unhealthy" in failed.stderr
        assert set(app.containers()) == {"app-db-1"}


def test_exec_runs_a_program_beside_the_first(anyone: Person) -> None:
    text = lasting('services: {a: {image: busybox, scale: 2, command: [sh, -c, "STAYS"]}}\n')
    with project(anyone, text) as app:
        not_there = app("exec", "a", "true", code=1)
        assert 'service "a" is not running' in not_there.stderr
        app("up", "-d")

        assert app("exec", "a", "sh", "-c", "echo out; exit 3", code=3).stdout == "out\n"
        hosts = [app("exec", "--index", str(n), "a", "hostname").stdout.strip() for n in (1, 2)]
        assert hosts == [app.id(f"a-{n}")[:12] for n in (1, 2)]
        assert app("exec", "a", "hostname").stdout.strip() == hosts[0]
        done = app("exec", "-T", "-e", "X=1", "-u", "5:6", "-w", "/tmp", "a",
                   "sh", "-c", "echo $X; id -u; id -g; pwd")  # fmt: skip
        assert done.stdout.split() == ["1", "5", "6", "/tmp"]
        assert fed(app, "piped\n", "exec", "-T", "a", "cat").stdout == "piped\n"
        assert app("exec", "a", "no-such-program", code=127).stdout == ""
        assert app("exec", "a", "/etc", code=126).stdout == ""
        assert "`/nosuch`" in app("exec", "-w", "/nosuch", "a", "pwd", code=126).stderr
        assert "find user nosuch" in app("exec", "-u", "nosuch", "a", "id", code=126).stderr
        app("exec", "-d", "a", "touch", "/there")
        assert eventually(lambda: app("exec", "a", "ls", "/there", code=None).code == 0)
        assert "no such service: b" in app("exec", "b", "true", code=2).stderr


def test_stop_start_restart_rm(anyone: Person) -> None:
    with project(anyone, lasting(SHOP)) as app:
        app("up", "-d")
        before = started(app, "web-1")

        done = app("restart", "web")
        assert done.stderr.splitlines() == [
            " Container app-web-1  Restarting",
            " Container app-web-1  Started",
        ]
        assert started(app, "web-1") > before
        app("stop", "web")
        assert app.states() == {"db-1": "running", "job-1": "exited", "web-1": "exited"}
        app("start", "--wait")
        assert app.states()["web-1"] == "running"
        assert app.containers()["app-web-1"]["ExitCode"] == 0

        done = app("stop")
        stops = [line.split()[1] for line in done.stderr.splitlines() if "Stopping" in line]
        assert stops == ["app-web-1", "app-db-1"], "dependants first"
        app("rm", "-f", "web")
        assert set(app.states()) == {"db-1", "job-1"}
        nobody = app("start", "web", code=1)
        assert 'service "web" has no container to start' in nobody.stderr
        gone = app("rm", "-f", "-s")
        assert gone.stdout == "Going to remove app-db-1, app-job-1\n"
        assert app.states() == {}
        assert "No stopped containers" in app("rm", "-f").stderr


def test_rm_asks(anyone: Person) -> None:
    with project(anyone, "services: {a: {image: busybox, command: 'true'}}\n") as app:
        app("up")

        done = fed(app, "n\n", "rm")
        assert done.stdout == "Going to remove app-a-1\n"
        assert set(app.states()) == {"a-1"}
        fed(app, "y\n", "rm")
        assert app.states() == {}


def test_kill_and_wait_and_scale(anyone: Person) -> None:
    text = lasting('services: {a: {image: busybox, command: [sh, -c, "STAYS"]}}\n')
    with project(anyone, text) as app:
        app("up", "-d")
        waiting = app.start("wait", "a")
        app("kill", "-s", "TERM", "a")
        out, _ = waiting.communicate(timeout=60)

        assert waiting.returncode == 0
        assert re.fullmatch(rb'container "[0-9a-f]{64}" exited with status code 0\n', out)
        app("up", "-d")
        app("kill")
        assert app.containers()["app-a-1"]["ExitCode"] == 137
        assert app("wait", "a", code=137).stdout.endswith("137\n")
        app("scale", "a=3")
        assert app.states() == {"a-1": "running", "a-2": "running", "a-3": "running"}
        assert "is not SERVICE=NUMBER" in app("scale", "a=x", code=2).stderr


def test_looking_at_a_project_with_its_name_alone(anyone: Person) -> None:
    text = lasting(
        "services:\n  web:\n    image: busybox\n    command: [sh, -c, 'exec httpd -f -p 80']\n"
        "    ports: ['127.0.0.1:0:80', '53/udp']\n    stop_signal: KILL\n"
        "  done: {image: busybox, command: [sh, -c, 'exit 4']}\n"
        "    \n"
    )
    with project(anyone, text.replace("127.0.0.1:0:80", "127.0.0.1::80")) as app:
        app("up", "-d")
        assert eventually(lambda: app.states()["done-1"] == "exited")
        (app.folder / "compose.yaml").rename(app.folder / "away")
        try:
            named = ("-p", "app")
            assert app(*named, "ps", "--services").stdout == "web\n"
            assert app(*named, "ps", "-a", "--services").stdout == "done\nweb\n"
            assert app(*named, "ps", "-q").stdout.count("\n") == 1
            assert "app-done-1" in app(*named, "ps", "--status", "exited").stdout
            assert app(*named, "ps", "-a", "--format", "{{.Name}}").stdout.split() == [
                "app-done-1", "app-web-1",
            ]  # fmt: skip
            heading = app(*named, "ps").stdout.splitlines()[0].split()
            assert heading == ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]
            assert re.fullmatch(r"127\.0\.0\.1:\d+\n", app(*named, "port", "web", "80").stdout)
            assert "0.0.0.0:" in app(*named, "port", "--protocol", "udp", "web", "53").stdout
            missing = app(*named, "port", "web", "81", code=1)
            assert "no port 81/tcp for container app-web-1" in missing.stderr
            assert "httpd -f -p 80" in app(*named, "top").stdout
            assert "busybox" in app(*named, "images").stdout
            (row,) = json.loads(app("ls", "-a", "--filter", "name=app", "--format", "json").stdout)
            assert row["Name"] == "app"
            assert row["Status"] == "exited(1), running(1)"
            assert "no such service: x" in app(*named, "ps", "x", code=2).stderr
            app(*named, "stop")
            app(*named, "down")
            assert app(*named, "ps", "-aq").stdout == ""
            app("ps", code=2)
        finally:
            (app.folder / "away").rename(app.folder / "compose.yaml")


def test_a_dry_run_changes_nothing(anyone: Person) -> None:
    with project(anyone, lasting(SHOP)) as app:
        told = app("--dry-run", "up", "-d").stdout
        assert "create app-web-1: it is missing" in told
        assert app.containers() == {}
        app("up", "-d")
        for words in (["down"], ["stop"], ["restart"], ["kill"], ["rm", "-sf"]):
            assert "app-web-1" in app("--dry-run", *words).stdout
            assert app("--dry-run", *words).stdout == app(*words, "--dry-run").stdout
        told = app("exec", "--dry-run", "web", "touch", "/made").stdout
        assert told == "exec in app-web-1: touch /made\n"
        app("--dry-run", "exec", "web", "touch", "/made")
        app("exec", "web", "test", "!", "-e", "/made")
        assert app.states()["web-1"] == "running"


def test_two_runs_at_once_do_not_meet(anyone: Person) -> None:
    text = f"services: {{a: {{image: busybox, command: [sh, -c, {json.dumps(STAYS)}]}}}}\n"
    with project(anyone, text) as app:
        words = ("run", "--rm", "-T", "a", "sh", "-c", "sleep 0.3; hostname")
        for _ in range(5):  # each time both want to make the network
            both = [app.start(*words), app.start(*words)]
            (one, one_said), (two, two_said) = (each.communicate(timeout=60) for each in both)

            assert [each.returncode for each in both] == [0, 0], one_said + two_said
            assert one != two
            app("down")
