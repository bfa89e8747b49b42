"""The table on a terminal: what is drawn, in which order, and what gives way to what."""

from __future__ import annotations

import io

from buildkit_py.cli.compose_table import Table
from buildkit_py.compose.carry_out import Told


class Clock:
    """A clock that stands until it is moved."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def last_drawn(stream: io.StringIO) -> list[str]:
    """Return the lines that stay on the terminal; 80 columns, no colours."""
    return stream.getvalue().rpartition("\x1b[J")[2].splitlines()


def test_every_resource_has_a_line_with_its_last_word_and_its_time() -> None:
    stream, clock = io.StringIO(), Clock()
    table = Table(stream, clock=clock)
    table.tell(Told("Network", "shop_default", "Creating"))
    clock.seconds = 0.24
    table.tell(Told("Network", "shop_default", "Created", "done"))
    table.tell(Told("Container", "shop-db-1", "Starting"))
    clock.seconds = 1.5
    table.tell(Told("Container", "shop-db-1", "Error", "error"))
    table.tell(Told("Container", "shop-web-1", "Creating"))

    table.close()

    head, *rows = last_drawn(stream)
    assert head == "[+] Running 2/3"
    assert [" ".join(row.split()) for row in rows[:2]] == [
        "✔ Network shop_default Created 0.2s",
        "✘ Container shop-db-1 Error 1.3s",
    ]
    assert rows[2].split()[1:] == ["Container", "shop-web-1", "Creating", "0.0s"]
    assert {len(row) for row in rows} == {79}


def test_what_has_ended_gives_way_when_there_is_no_room() -> None:
    stream = io.StringIO()
    table = Table(stream, clock=Clock())
    for number in range(30):
        table.tell(Told("Container", f"shop-web-{number}", "Starting"))
    for number in range(10, 20):
        table.tell(Told("Container", f"shop-web-{number}", "Started", "done"))

    table.close()

    head, *rows = last_drawn(stream)
    assert head == "[+] Running 10/30"
    assert len(rows) == 22
    shown = {int(row.split()[2].rpartition("-")[2]) for row in rows}
    assert shown >= {*range(10), *range(20, 30)}


def test_lines_of_others_stand_above_and_what_comes_late_is_refused() -> None:
    stream = io.StringIO()
    table = Table(stream, clock=Clock())
    table.tell(Told("Container", "shop-web-1", "Starting"))
    table.say("warning: something")
    table.tell(Told("Container", "shop-web-1", "Started", "done"))
    table.close()
    table.say("warning: late")

    text = stream.getvalue()
    assert text.index("warning: something") < text.rindex("[+] Running")
    assert text.endswith("warning: late\n")
    assert not table.tell(Told("Container", "shop-web-1", "Stopping"))


def test_a_name_cannot_command_the_terminal() -> None:
    stream = io.StringIO()
    table = Table(stream, clock=Clock())
    table.tell(Told("Container", "a\x1b]0;title\x07\nb", "Starting"))
    table.close()

    assert "\x1b]" not in stream.getvalue()
    assert "\x07" not in stream.getvalue()
    assert len(last_drawn(stream)) == 2
