"""`pycompose logs`, and how lines of several containers are printed: also by `up`.

A line has its container's name in front, without the project's, in a colour of its own.
"""

from __future__ import annotations

import sys
import threading

from buildkit_py.cli.compose_common import containers, looking, named
from buildkit_py.cli.paint import is_coloured
from buildkit_py.cli.reader import BadOption, Command, Option, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from buildkit_py.cli.reader import Value
    from buildkit_py.engine.containers import Known

LOGS = Command(
    "pycompose logs",
    "Print what the project's containers wrote",
    (
        Option("-f --follow", "flag", "Go on with what comes"),
        Option("--index", "text", "Of which of a service's containers", metavar="NUMBER"),
        Option("--no-color", "flag", "Print without colours"),
        Option("--no-log-prefix", "flag", "Without the containers' names"),
        Option("--since", "text", "Only lines from then on: a time, or how long ago",
               metavar="TIME"),
        Option("-n --tail", "text", "Only so many of each one's last lines", metavar="LINES"),
        Option("-t --timestamps", "flag", "Print the time of each line"),
        Option("--until", "text", "Only lines before then: a time, or how long ago",
               metavar="TIME"),
    ),
    arguments="[SERVICE...]",
)  # fmt: skip

COLOURS = ("36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1")
"""docker compose's cycle: cyan, yellow, green, magenta, blue, then the same in bold."""


class Printer:
    """Prints whole lines of several containers, from several threads.

    width: of the longest name; names that come later may be longer
    """

    def __init__(
        self, names: Iterable[str], *, prefix: bool = True, colour: bool = True,
        timestamps: bool = False,
    ) -> None:  # fmt: skip
        self.prefix = prefix
        self.timestamps = timestamps
        known = list(names)
        self.width = max((len(name) for name in known), default=0)
        is_painted = colour and is_coloured(sys.stdout)
        self._colours: dict[str, str] | None = {} if is_painted else None
        self._lock = threading.Lock()
        for name in known:
            self._colour(name)

    def _colour(self, name: str) -> str:
        if self._colours is None:
            return ""
        return self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])

    def head(self, name: str) -> str:
        """Return what is in front of a container's lines."""
        if not self.prefix:
            return ""
        text = f"{name:<{self.width}}  | "
        colour = self._colour(name)
        return f"\x1b[{colour}m{text}\x1b[0m" if colour else text

    def line(self, name: str, text: str, time: str = "", stream: str = "stdout") -> None:
        """Print a line of a container, which needs no newline, to the stream that it is from."""
        stamp = f"{time} " if self.timestamps and time else ""
        data = f"{self.head(name)}{stamp}{text.rstrip(chr(10))}\n"
        out = sys.stderr.buffer if stream == "stderr" else sys.stdout.buffer
        with self._lock:
            out.write(data.encode("utf-8", "surrogateescape"))
            out.flush()

    def say(self, text: str) -> None:
        """Print a line of our own."""
        with self._lock:
            sys.stdout.buffer.write(f"{text}\n".encode("utf-8", "surrogateescape"))
            sys.stdout.buffer.flush()


def short_name(known: Known) -> str:
    """Return a container's name without its project's."""
    from buildkit_py.compose.request import LABEL

    project = known.spec.labels.get(f"{LABEL}project", "")
    return known.spec.name.removeprefix(f"{project}-")


def run_logs(given: dict[str, Value], argv: Sequence[str]) -> int:
    values, names = read(LOGS, argv)
    text = str(values["tail"] or "all")
    if text != "all" and not (text.isascii() and text.isdigit()):
        raise BadOption(f"`--tail` takes a whole number or `all`, not `{text}`")
    tail = None if text == "all" else int(text)
    begin, end = _moment(values, "since"), _moment(values, "until")
    from buildkit_py.compose.lines import whole

    engine = looking()
    found = containers(engine, named(given), names, oneoff=True)
    found = _of_index(found, values)
    printer = Printer(
        [short_name(known) for known in found],
        prefix=not values["no_log_prefix"], colour=not values["no_color"],
        timestamps=bool(values["timestamps"]),
    )  # fmt: skip

    def lines(known: Known, go_on: bool) -> Iterator[tuple[str, str, str]]:
        for text, time, stream in whole(engine.logs(known, tail=tail, go_on=go_on)):
            if (not begin or time >= begin) and (not end or time < end):
                yield text, time, stream

    if values["follow"]:
        _follow(found, printer, lines)
        return 0
    import heapq

    def rows(at: int, known: Known) -> Iterator[tuple[str, int, int, str, str, str]]:
        for number, (text, time, stream) in enumerate(lines(known, False)):
            yield time, at, number, short_name(known), text, stream

    # Those of all containers in the order in which they were written; none is kept.
    for time, _, _, name, text, stream in heapq.merge(*map(rows, range(len(found)), found)):
        printer.line(name, text, time, stream)
    return 0


def _of_index(found: Sequence[Known], values: dict[str, Value]) -> list[Known]:
    from buildkit_py.compose.observe import is_oneoff, number_of

    text = values["index"]
    if text is None or text == "0":
        return list(found)
    if not str(text).isdigit():
        raise BadOption(f"`--index` takes a whole number, not `{text}`")
    return [known for known in found if number_of(known) == int(str(text)) and not is_oneoff(known)]


def _follow(
    found: Sequence[Known],
    printer: Printer,
    lines: Callable[[Known, bool], Iterator[tuple[str, str, str]]],
) -> None:
    """Print what comes until all of these containers have ended."""
    import queue

    from buildkit_py.core.threads import start_thread

    ends: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def show(known: Known) -> None:
        try:
            for text, time, stream in lines(known, True):
                printer.line(short_name(known), text, time, stream)
        except BaseException as error:
            ends.put(error)
        else:
            ends.put(None)

    def begin(known: Known) -> None:
        start_thread(lambda: show(known), f"logs-{known.spec.name}")

    for known in found:
        begin(known)
    for _ in found:
        error = ends.get()
        if error is not None:
            raise error  # nobody reads any more, say: the others are not waited for


def _moment(values: dict[str, Value], name: str) -> str:
    """Return the time that an option gives, as logs have it, "" where it is not given."""
    text = values[name]
    if text is None:
        return ""
    from buildkit_py.cli.moments import read_moment

    found = read_moment(str(text))
    if found is None:
        raise BadOption(
            f"`--{name} {text}` is no time: `2026-01-02T15:04:05`, seconds since 1970, or `10m`"
        )
    return found


COMMANDS = {"logs": (LOGS, run_logs)}
