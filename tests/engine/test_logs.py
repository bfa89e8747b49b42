"""Logs: cut into lines as they come, read from either end, followed without loss."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildkit_py.engine import logs
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
