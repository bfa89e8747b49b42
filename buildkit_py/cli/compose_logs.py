"""`pycompose logs`, and how lines of several containers are printed: also by `up`.

A line has its container's name in front, without the project's, in a colour of its own.
"""

from __future__ import annotations

import queue
import sys
import threading

from buildkit_py.cli.compose_common import containers, looking, named
from buildkit_py.cli.paint import is_coloured
from buildkit_py.cli.reader import BadOption, Command, Option, read
from buildkit_py.core.threads import start_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from buildkit_py.cli.reader import Value
    from buildkit_py.engine.client import Group
    from buildkit_py.engine.connection import Connection
    from buildkit_py.engine.containers import Known
    from buildkit_py.engine.logs import Line

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
    about = named(given)
    found = _of_index(containers(engine, about, names, oneoff=True), values)
    printer = Printer(
        [short_name(known) for known in found],
        prefix=not values["no_log_prefix"], colour=not values["no_color"],
        timestamps=bool(values["timestamps"]),
    )  # fmt: skip

    def chosen(lines: Iterator[Line]) -> Iterator[tuple[str, str, str]]:
        for text, time, stream in whole(lines):
            if (not begin or time >= begin) and (not end or time < end):
                yield text, time, stream

    if values["follow"]:
        from buildkit_py.compose.observe import supervisor_of

        group = engine.project(about.name)
        group.supervisor = supervisor_of(found, about.name)

        def look() -> list[Known]:
            return _of_index(containers(engine, about, names, oneoff=True), values)

        _Following(group, look, printer, chosen, tail).to_the_end()
        return 0
    import heapq

    def rows(at: int, known: Known) -> Iterator[tuple[str, int, int, str, str, str]]:
        for number, (text, time, stream) in enumerate(chosen(engine.logs(known, tail=tail))):
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


class _Following:
    """Prints what containers write, also those that start later, until all of them have ended.

    look: returns the containers that are wanted, as they are now
    chosen: gives those lines of a log that are wanted, with their time and stream
    """

    def __init__(
        self,
        group: Group,
        look: Callable[[], list[Known]],
        printer: Printer,
        chosen: Callable[[Iterator[Line]], Iterator[tuple[str, str, str]]],
        tail: int | None,
    ) -> None:
        self.group = group
        self.look = look
        self.printer = printer
        self.chosen = chosen
        self.tail = tail
        self._places: dict[str, int] = {}
        """How far logs were read whose containers ended, by id."""
        self._read: set[str] = set()
        """Ids of those whose logs are being read."""
        self._news: queue.SimpleQueue[tuple[str, str] | BaseException] = queue.SimpleQueue()
        """What became of a container's log, and its id; and what went wrong."""

    def to_the_end(self) -> None:
        events = self.group.events()
        if events is not None:
            events.receive()  # from here on no start is missed
            start_thread(lambda: self._hear(events), "events")
        for known in self.look():
            self._begin(known, self.tail)
        while self._read:
            news = self._news.get()
            if isinstance(news, BaseException):
                raise news  # nobody reads any more, say: the others are not waited for
            what, id = news
            if what == "read":
                self._read.discard(id)
            if id in self._read:
                continue
            for known in self.look():
                # One that started may have ended already; one that was read may run again.
                if known.spec.id == id and (known.running or what == "started"):
                    self._begin(known, None)

    def _hear(self, events: Connection) -> None:
        try:
            for answer in events.answers():
                event = answer.get("event", {})
                if event.get("event") == "start":
                    self._news.put(("started", event["id"]))
        except BaseException as error:
            self._news.put(error)

    def _begin(self, known: Known, tail: int | None) -> None:
        self._read.add(known.spec.id)
        start_thread(lambda: self._show(known, tail), f"logs-{known.spec.name}")

    def _show(self, known: Known, tail: int | None) -> None:
        engine, id = self.group.engine, known.spec.id
        try:
            lines = engine.logs(known, tail=tail, go_on=True, start=self._places.get(id, 0))
            for text, time, stream in self.chosen(lines):
                self.printer.line(short_name(known), text, time, stream)
            self._places[id] = engine.log_size(known)
        except BaseException as error:
            self._news.put(error)
        else:
            self._news.put(("read", id))


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
