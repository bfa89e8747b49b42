"""Progress as BuildKit's plain lines, as JSON, and on a terminal."""

from __future__ import annotations

import io
import json

import pytest

from buildkit_py.cli.progress import Live, Plain, RawJson
from buildkit_py.core.events import (
    Sink,
    StepEnded,
    StepOutput,
    StepStarted,
    StepStatus,
    Warned,
)

EVENTS = (
    StepStarted(1, "[1/3] FROM docker.io/library/busybox:latest"),
    StepEnded(1, cached=True),
    StepStarted(2, "[2/3] RUN make"),
    StepOutput(2, b"one\ntw", 1, 0.1),
    StepOutput(2, b"o\nhalf", 1, 0.25),
    StepEnded(2, seconds=1.26),
    StepStarted(3, "[3/3] RUN false"),
    StepStatus(3, "sha256:abc", 5, 10),
    StepEnded(3, error="exit code: 1"),
    Warned("warning: something"),
)


def show(make: type[Plain] | type[RawJson] | type[Live]) -> str:
    stream = io.StringIO()
    sink: Sink = make(stream)
    for event in EVENTS:
        sink.emit(event)
    return stream.getvalue()


def test_plain_lines_are_those_of_buildkit() -> None:
    assert show(Plain) == (
        "#1 [1/3] FROM docker.io/library/busybox:latest\n"
        "#1 CACHED\n"
        "\n"
        "#2 [2/3] RUN make\n"
        "#2 0.100 one\n"
        "#2 0.250 two\n"
        "#2 0.000 half\n"
        "#2 DONE 1.3s\n"
        "\n"
        "#3 [3/3] RUN false\n"
        "#3 sha256:abc 5/10\n"
        "#3 ERROR: exit code: 1\n"
        "\n"
        "warning: something\n"
    ).replace("#2 0.000 half", "#2 1.260 half")


def test_a_step_is_named_again_after_another_one_spoke() -> None:
    stream = io.StringIO()
    plain = Plain(stream)
    for event in (
        StepStarted(1, "one"),
        StepStarted(2, "two"),
        StepOutput(1, b"line\n", 1, 0.5),
        StepEnded(2, seconds=0.1),
    ):
        plain.emit(event)

    assert stream.getvalue() == (
        "#1 one\n\n#2 two\n\n#1 one\n#1 0.500 line\n\n#2 two\n#2 DONE 0.1s\n"
    )


def test_what_could_command_a_terminal_is_not_passed_on() -> None:
    stream = io.StringIO()
    plain = Plain(stream)
    plain.emit(StepStarted(1, "x"))
    plain.emit(StepOutput(1, b"10%\r20%\r\nbell\x07\n", 1, 0.5))

    assert stream.getvalue() == "#1 x\n#1 0.500 20%\n#1 0.500 bell�\n"


HOSTILE = b"\x1b]0;title\x07\x1b[2J\x1b[6n\x1bPq\x1b\\\\\xc2\x9b2J"


@pytest.mark.parametrize("make", [Plain, Live])
def test_no_part_of_a_step_commands_a_terminal(make: type[Plain] | type[Live]) -> None:
    stream = io.StringIO()
    sink: Sink = make(stream)
    text = HOSTILE.decode()
    sink.emit(StepStarted(1, f"[1/2] RUN {text}"))
    sink.emit(StepOutput(1, b"out " + HOSTILE + b"\nrest" + HOSTILE, 1, 0.5))
    sink.emit(StepStatus(1, text, 5, 10))
    sink.emit(StepEnded(1, error=f"failed {text}"))

    shown = stream.getvalue()
    assert "failed" in shown or make is Live
    for command in ("\x1b]", "\x1b[2J", "\x1b[6n", "\x1bP", "\x1b\\", "\x9b", "\x07"):
        assert command not in shown


def test_a_program_s_colours_stay_and_end_with_their_line() -> None:
    stream = io.StringIO()
    plain = Plain(stream)
    plain.emit(StepStarted(1, "x"))
    plain.emit(StepOutput(1, b"\x1b[1;31mred\x1b[2K\n", 1, 0.5))

    assert stream.getvalue() == "#1 x\n#1 0.500 \x1b[1;31mred�[2K\x1b[0m\n"


def test_json_lines_hold_vertexes_logs_and_statuses() -> None:
    lines = [json.loads(line) for line in show(RawJson).splitlines()]

    assert [next(iter(line)) for line in lines] == (
        ["vertexes"] * 3 + ["logs"] * 2 + ["vertexes"] * 2 + ["statuses", "vertexes", "warnings"]
    )
    assert lines[1]["vertexes"][0]["cached"] is True
    assert lines[8]["vertexes"][0]["error"] == "exit code: 1"


def test_a_terminal_keeps_finished_steps_and_the_failing_one_s_output() -> None:
    text = show(Live)

    assert "CACHED" in text
    assert "[2/3] RUN make  1.3s" in text
    assert "[3/3] RUN false  ERROR" in text


def test_a_long_name_is_cut_and_its_end_is_not() -> None:
    stream = io.StringIO()
    live = Live(stream)
    live.emit(StepStarted(1, "[1/1] RUN " + "x" * 200))
    live.emit(StepEnded(1, seconds=2.5))

    last = stream.getvalue().splitlines()[-1]
    assert "x…  2.5s" in last
