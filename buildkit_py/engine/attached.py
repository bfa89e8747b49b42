"""A container, or a further program in one, with our standard streams: in the foreground."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from buildkit_py.engine.client import Group
from buildkit_py.engine.connection import Connection
from buildkit_py.engine.signals import forwarded
from buildkit_py.engine.terminal import Output, carry_input, raw
from buildkit_py.runtime.process import Exit

STREAM_SECONDS = 2.0
"""How long output is awaited after the end: what a program left running may never close it."""


class _Remote:
    """The program as our signals and our terminal's size see it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def kill(self, number: int = 9) -> None:
        self._connection.send("signal", signal=int(number))

    def fit(self) -> None:
        for fd in (0, 1, 2):
            if os.isatty(fd):
                size = os.get_terminal_size(fd)
                self._connection.send("resize", rows=size.lines, columns=size.columns)
                return


def execute(
    group: Group,
    id: str,
    args: Sequence[str],
    *,
    env: Sequence[str] = (),
    cwd: str = "",
    user: str | None = None,
    terminal: bool = False,
    interactive: bool = False,
    notice: Callable[[str], None] = lambda text: None,
) -> Exit:
    """Run a further program in a container to its end with our standard streams.

    Main thread only. interactive: give it our input. Raises NotRunning and what prevents its start.
    """

    def begin(streams: tuple[int, int, int]) -> Connection:
        return group.execute(id, args, streams, env=env, cwd=cwd, user=user, terminal=terminal)

    return _to_the_end(begin, terminal=terminal, interactive=interactive, notice=notice)


def run(
    group: Group,
    id: str,
    *,
    terminal: bool = False,
    interactive: bool = False,
    notice: Callable[[str], None] = lambda text: None,
    started: Callable[[], None] = lambda: None,
) -> Exit:
    """Run a container that was made, and does not run, to its end with our standard streams.

    Main thread only. What it writes comes to us and not to its log. terminal: as it was made
    started: called when it runs
    Raises what prevents its start, CannotStart for a program that cannot be run.
    """
    return _to_the_end(
        lambda streams: group.run(id, streams),
        terminal=terminal, interactive=interactive, notice=notice, started=started,
    )  # fmt: skip


def _to_the_end(
    begin: Callable[[tuple[int, int, int]], Connection],
    *,
    terminal: bool,
    interactive: bool,
    notice: Callable[[str], None],
    started: Callable[[], None] = lambda: None,
) -> Exit:
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    streams = [nothing, nothing, nothing]
    ours: dict[int, int] = {}
    theirs: list[int] = [nothing]
    wanted = () if terminal else (0, 1, 2) if interactive else (1, 2)
    with ExitStack() as stack:
        for number in wanted:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            ours[number], streams[number] = (writer, reader) if number == 0 else (reader, writer)
            theirs.append(streams[number])
        try:
            connection = begin((streams[0], streams[1], streams[2]))
        except BaseException:
            theirs += ours.values()
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        stack.enter_context(connection)
        remote = _Remote(connection)
        stack.enter_context(forwarded(remote, on_resize=remote.fit))
        outputs = [Output(ours.pop(n), n, f"output-{n}") for n in (1, 2) if n in ours]
        if 0 in ours:
            carry_input(0, ours.pop(0))
        while True:
            answer, fds = connection.receive()
            if fds:
                if interactive and os.isatty(0):
                    stack.enter_context(raw(0))
                remote.fit()
                if interactive:
                    carry_input(0, os.dup(fds[0]))
                outputs.append(Output(fds[0], 1, "terminal"))
            if "started" in answer:
                started()
            if "done" in answer:
                break
        for output in outputs:
            output.join(STREAM_SECONDS)
    for output in outputs:
        if output.error is not None and output.error.errno != errno.EPIPE:
            notice(f"the output is not whole: {output.error.strerror}")
    return Exit(int(answer["code"]), message=str(answer.get("message", "")))
