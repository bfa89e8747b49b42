"""Logs: cut into lines as they come, read from either end, followed without loss."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.engine import logs
from buildkit_py.engine.log_bounds import BadLogOption, LogBounds, parse
from buildkit_py.engine.supervisor.loop import Loop
from buildkit_py.engine.supervisor.output import MOST_LINE_BYTES, Carrier, Log


def carry(folder: Path, *pieces: bytes) -> list[logs.Line]:
    """Write pieces into a pipe that a carrier reads, each on its own, and return the log."""
    loop = Loop()
    path = folder / "log.json"
    path.unlink(missing_ok=True)
    log = Log(str(path), grown=lambda: None, complain=lambda text: None)
    read, write = os.pipe()
    carrier = Carrier(loop, read, "stdout", log)
    for piece in pieces:
        os.write(write, piece)
        carrier._read()
    os.close(write)
    carrier.finish()
    log.close()
    return list(logs.read_log(str(folder)))


@settings(max_examples=200)
@given(pieces=st.lists(st.binary(max_size=40), max_size=8))
def test_nothing_is_lost_and_lines_end_at_newlines(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    lines = carry(tmp_path_factory.mktemp("log"), *(piece for piece in pieces if piece))

    text = "".join(line.text for line in lines)
    assert text == "".join(
        line.decode("utf-8", "replace")
        for line in b"".join(pieces).replace(b"\n", b"\n\0").split(b"\0")
        if line
    ) or b"\0" in b"".join(pieces)
    assert all(line.text.count("\n") <= 1 for line in lines)


def test_a_long_line_is_cut_and_its_parts_have_one_time(tmp_path: Path) -> None:
    lines = carry(tmp_path, b"x" * 40_000, b"y\nnext\n")

    assert [len(line.text) for line in lines] == [MOST_LINE_BYTES, MOST_LINE_BYTES, 7234, 5]
    assert lines[2].text.endswith("xy\n")
    assert lines[0].time == lines[1].time


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 9])
def test_the_last_lines_are_found_from_the_end(tmp_path: Path, count: int) -> None:
    carry(tmp_path, *(b"%d %s\n" % (n, b"x" * 30_000) for n in range(5)))
    every = [line.text for line in logs.read_log(str(tmp_path))]

    last = [line.text for line in logs.read_log(str(tmp_path), tail=count)]

    assert last == (every[-count:] if count else [])


def test_a_torn_last_record_waits_for_the_rest_and_a_spoiled_one_is_skipped(tmp_path: Path) -> None:
    carry(tmp_path, b"one\n")
    with open(tmp_path / "log.json", "ab") as file:
        file.write(b'{"broken"\n{"log":"tw')

    def nudges() -> Iterator[dict[str, Any]]:
        yield {"grown": True}
        with open(tmp_path / "log.json", "ab") as file:
            file.write(b'o\\n","stream":"stderr","time":"t"}\n')
        yield {"grown": True}

    assert [line.text for line in logs.follow(str(tmp_path), nudges())] == ["one\n", "two\n"]


def fill(folder: Path, first: int, count: int, bounds: LogBounds, nudge: Any = None) -> None:
    """Write numbered lines, each with a write of its own."""
    log = Log(
        str(folder / "log.json"), grown=lambda: None, complain=lambda text: None, bounds=bounds
    )
    for number in range(first, first + count):
        log.write("stdout", [(b"%d\n" % number, "t")])
        if nudge is not None:
            nudge()
    log.close()


def numbers(lines: Iterable[logs.Line]) -> list[int]:
    return [int(line.text) for line in lines]


@pytest.mark.parametrize("files", [1, 2, 5])
def test_a_log_stays_below_its_bound_and_the_newest_lines_stay(tmp_path: Path, files: int) -> None:
    fill(tmp_path, 0, 500, LogBounds(400, files))
    fill(tmp_path, 500, 500, LogBounds(400, files))  # as after another start

    sizes = [each.stat().st_size for each in tmp_path.iterdir()]
    assert max(sizes) <= 400
    assert len([size for size in sizes if size]) == files
    there = numbers(logs.read_log(str(tmp_path)))
    assert there == list(range(there[0], 1000))
    assert len(there) > 8 * (files - 1)
    for tail in (0, 1, 7, 12, len(there), 2000):
        assert (
            numbers(logs.read_log(str(tmp_path), tail=tail)) == there[max(len(there) - tail, 0) :]
        )
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} <= {0o640}


def test_one_write_of_many_lines_fills_several_files(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log.json"), grown=lambda: None, complain=lambda text: None,
              bounds=LogBounds(300, 4))  # fmt: skip
    log.write("stdout", [(b"%d\n" % number, "t") for number in range(20)])
    log.close()

    assert max(each.stat().st_size for each in tmp_path.iterdir()) <= 300
    assert numbers(logs.read_log(str(tmp_path)))[-1] == 19


@pytest.mark.parametrize("files", [1, 3])
def test_a_follower_that_keeps_up_loses_nothing_when_the_log_is_turned_over(
    tmp_path: Path, files: int
) -> None:
    bounds = LogBounds(200, files)
    fill(tmp_path, 0, 50, bounds)
    start = logs.log_size(str(tmp_path))

    def nudges() -> Iterator[dict[str, Any]]:
        for first in range(50, 250, 3):  # three lines fit into a file
            yield {"grown": True}
            fill(tmp_path, first, 3, bounds)

    assert numbers(logs.follow(str(tmp_path), nudges(), start=start)) == list(range(50, 251))
    assert logs.log_size(str(tmp_path)) > start


def test_a_follower_that_was_left_behind_goes_on_with_the_oldest_line(tmp_path: Path) -> None:
    fill(tmp_path, 0, 10, LogBounds(200, 2))
    start = logs.log_size(str(tmp_path))
    fill(tmp_path, 10, 500, LogBounds(200, 2))

    found = numbers(logs.follow(str(tmp_path), [], start=start))

    assert found == numbers(logs.read_log(str(tmp_path)))
    assert found[-1] == 509


def test_readers_and_a_writer_at_the_same_time_see_lines_in_order(tmp_path: Path) -> None:
    done = threading.Event()

    def write() -> None:
        fill(tmp_path, 0, 4000, LogBounds(500, 3))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    rounds = 0
    while not done.is_set() or not rounds:
        found = numbers(logs.read_log(str(tmp_path), tail=5))
        assert found == sorted(found)
        rounds += 1
    thread.join()
    assert numbers(logs.read_log(str(tmp_path)))[-1] == 3999


@pytest.mark.parametrize(
    ("driver", "options", "bounds"),
    [
        ("", {}, (20 << 20, 5)),
        ("json-file", {}, (20 << 20, 5)),
        ("json-file", {"max-size": "10m"}, (10_000_000, 1)),
        ("local", {"max-size": "10m"}, (10 << 20, 5)),
        ("json-file", {"max-size": "1.5 KB", "max-file": "3"}, (1500, 3)),
        ("", {"max-size": "77", "max-file": "2"}, (77, 2)),
        ("local", {"max-size": "1GiB"}, (1 << 30, 5)),
    ],
)
def test_options_of_drivers_are_read_as_docker_reads_them(
    driver: str, options: dict[str, str], bounds: tuple[int, int]
) -> None:
    read = parse(driver, options)
    assert (read.bytes, read.files) == bounds


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("syslog", {}), ("json-file", {"tag": "x"}), ("", {"max-size": "-1"}),
        ("", {"max-size": "0"}), ("", {"max-size": "many"}), ("", {"max-size": ""}),
        ("", {"max-size": "."}), ("", {"max-file": "0"}), ("", {"max-file": "two"}),
    ],
)  # fmt: skip
def test_what_no_driver_knows_is_an_error(driver: str, options: dict[str, str]) -> None:
    with pytest.raises(BadLogOption):
        parse(driver, options)


def test_a_log_that_is_a_link_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("")
    (tmp_path / "log.json").symlink_to("target")

    with pytest.raises(OSError, match="symbolic"):
        Log(str(tmp_path / "log.json"), grown=lambda: None, complain=lambda text: None)


def test_a_disk_that_is_full_is_told_once_and_stops_nobody() -> None:
    said: list[str] = []
    log = Log("/dev/full", grown=lambda: None, complain=said.append)

    for _ in range(3):
        log.write("stdout", [(b"x\n", "t")])
    log.close()

    assert said == ["the log cannot be written: No space left on device"]


def test_timers_run_in_their_order_and_cancelled_ones_do_not() -> None:
    loop, seen = Loop(), list[str]()
    loop.later(0.03, loop.stop)
    loop.later(0.02, lambda: seen.append("second"))
    loop.later(0.01, lambda: seen.append("first"))
    loop.later(0.015, lambda: seen.append("never")).cancel()

    thread = threading.Thread(target=loop.run)
    thread.start()
    thread.join(10)

    assert seen == ["first", "second"]
