"""`pyengine run -t` at a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Engine


class Terminal:
    """Our side of a terminal at which programs run."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(33, 101)
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def start(self, engine: Engine, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *engine.command(arguments)],
            env=engine.environment,
            cwd=engine.folder,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
        )
        engine.started.append(process)
        return process

    def write(self, data: bytes) -> None:
        os.write(self.master, data)

    def expect(self, text: bytes, *, seconds: float = 60) -> bytes:
        """Read until `text` comes; return what came before it."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{text!r} did not come: {self.seen!r}"
            self.seen += os.read(self.master, 65536)
        before, _, self.seen = self.seen.partition(text)
        return before

    def close(self) -> None:
        for fd in (self.master, self.slave):
            if fd >= 0:
                os.close(fd)
        self.master = self.slave = -1


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_a_shell_at_a_terminal(engine: Engine, terminal: Terminal) -> None:
    before = termios.tcgetattr(terminal.slave)
    script = (
        "trap 'exit 5' INT; stty size; tty; echo $TERM; read line; echo [$line];"
        " while :; do sleep 0.1; done"
    )
    process = terminal.start(engine, "run", "-it", "busybox", "sh", "-c", script)

    terminal.expect(b"33 101\r\n/dev/pts/0\r\nxterm\r\n")
    assert termios.tcgetattr(terminal.slave) != before
    terminal.write(b"typed\r")
    # The container's terminal echoes, ours does not: it comes once.
    assert terminal.expect(b"[typed]\r\n") == b"typed\r\n"
    terminal.write(b"\x03")  # a key for the program, not a signal for us

    assert process.wait(60) == 5
    assert termios.tcgetattr(terminal.slave) == before


@pytest.mark.root
def test_the_window_changes_its_size(root: Engine, terminal: Terminal) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done"
    process = terminal.start(root, "run", "-t", "--network", "none", "busybox", "sh", "-c", script)
    terminal.expect(b"ready")

    terminal.resize(44, 111)

    terminal.expect(b"44 111")
    process.kill()
    process.wait(30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.root
def test_the_terminal_is_restored_when_a_signal_ends_the_run(
    root: Engine, terminal: Terminal, number: signal.Signals
) -> None:
    before = termios.tcgetattr(terminal.slave)
    process = subprocess.Popen(
        root.command(["run", "-it", "--network", "none", "busybox", "sh", "-c",
                      "trap 'exit 9' TERM INT QUIT; echo ready; while :; do sleep 0.1; done"]),
        env=root.environment,
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
        start_new_session=True,
    )  # fmt: skip
    try:
        terminal.expect(b"ready\r\n")
        assert termios.tcgetattr(terminal.slave) != before
        process.send_signal(number)
        assert process.wait(60) == 9
    finally:
        process.kill()
        process.wait(30)

    assert termios.tcgetattr(terminal.slave) == before


@pytest.mark.root
def test_a_terminal_that_is_closed_hangs_up(root: Engine, terminal: Terminal) -> None:
    script = (
        "trap 'echo gone >/out/told; echo bye; exit 9' HUP; echo ready; while :; do sleep 0.1; done"
    )
    process = terminal.start(
        root, "run", "-it", "--network", "none", "-v", "./hangup:/out", "busybox", "sh", "-c",
        script,
    )  # fmt: skip
    terminal.expect(b"ready\r\n")

    terminal.close()

    assert process.wait(60) == 9
    assert (root.folder / "hangup/told").read_text() == "gone\n"
    assert root.left == []


@pytest.mark.root
def test_a_terminal_is_needed_to_give_one(root: Engine) -> None:
    done = root("run", "-it", "busybox", "true", code=1)  # docker's client has 1 here, too

    assert done.stderr == "the input device is not a TTY\n"


@pytest.mark.root
def test_t_without_i_has_a_terminal_but_no_input(root: Engine) -> None:
    done = root("run", "-t", "--network", "none", "busybox", "sh", "-c", "tty; echo err >&2")

    assert (done.stdout, done.stderr) == ("/dev/pts/0\r\nerr\r\n", "")
