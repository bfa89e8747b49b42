"""`pybuild parse` shows how Dockerfiles are read."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.cli.parse import run

TREE = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a good and a bad Dockerfile, made the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good").write_text(
        "# syntax=docker/dockerfile:1\nFROM alpine\nRUN --network=none <<EOF\nmake\nEOF\n"
        'ONBUILD CMD ["a"]\n'
    )
    (tmp_path / "bad").write_text("FROM alpine\nRUM make\n")
    return tmp_path


def test_a_tree_for_people(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["good"])

    assert (code, capsys.readouterr()) == (
        0,
        (
            """\
good
  # syntax=docker/dockerfile:1
  2: FROM
    'alpine'
  3-5: RUN
    --network=none
    '<<EOF'
    <<EOF: 1 line
  6: ONBUILD
    6: CMD (JSON)
      'a'
""",
            "",
        ),
    )


def test_json_for_programs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["good", "bad", "missing", "--format", "json"])

    out, err = capsys.readouterr()
    good, bad, missing = map(json.loads, out.splitlines())
    assert (code, err) == (2, "")
    assert good["directives"] == {"syntax": "docker/dockerfile:1"}
    assert good["instructions"][1] == {
        "instruction": "run",
        "flags": ["--network=none"],
        "args": ["<<EOF"],
        "json": False,
        "heredocs": [{"name": "EOF", "content": "make\n", "expand": True, "chomp": False, "fd": 0}],
        "start_line": 3,
        "end_line": 5,
        "original": "RUN --network=none <<EOF",
    }
    assert good["instructions"][2]["args"] == ['CMD ["a"]']
    assert good["instructions"][2]["trigger"]["json"] is True
    assert bad == {
        "path": "bad",
        "ok": False,
        "error": {
            "code": "dockerfile/unknown-instruction",
            "message": "unknown instruction `RUM`",
            "line": 2,
            "column": 1,
        },
        "escape": "\\",
        "directives": {},
        "instructions": [],
    }
    assert missing["error"]["code"] == "dockerfile/unreadable"


def test_a_complaint_goes_to_stderr(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["bad"])

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("error[dockerfile/unknown-instruction]: unknown instruction `RUM`\n")


def test_standard_input_is_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"FROM a\n")))

    code = run(["-", "--format=json"])

    record = json.loads(capsys.readouterr().out)
    assert (code, record["path"], record["ok"]) == (0, "-", True)


def test_an_endless_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["/dev/zero", "--format=json"])

    assert code == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "dockerfile/too-large"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "no file is named"),
        (["--forma", "json", "x"], "unknown option `--forma`"),
        (["--format", "xml", "x"], "`--format` is `json` or `tree`, not `xml`"),
    ],
)
def test_a_wrong_command_line_is_refused(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(argv)

    assert code == 2
    assert said in capsys.readouterr().err


def test_help_names_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert "--format" in capsys.readouterr().out


def test_a_reader_that_goes_away_gets_no_traceback(here: Path) -> None:
    (here / "long").write_text("FROM busybox\n" + "ENV A=1\n" * 20_000)
    command = [sys.executable, "-m", "buildkit_py", "parse", "--format", "json"]

    for name in ("good", "long"):
        reader, writer = os.pipe()
        os.close(reader)
        environment = {**os.environ, "PYTHONPATH": str(TREE)}
        done = subprocess.run(
            [*command, name], stdout=writer, stderr=subprocess.PIPE, env=environment, check=False
        )
        os.close(writer)

        assert (done.returncode, done.stderr) == (141, b"")
