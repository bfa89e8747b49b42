"""`pycompose` as a program: options, `config` and its lists, `version`, what is not there yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from buildkit_py import __version__

FILE = """\
services:
  web:
    image: nginx:$TAG
    depends_on: [db]
    volumes: ['data:/d', {type: image, source: other, target: /o}]
    profiles: [front]
    labels: {a: "${UNSET:-x$$y}"}
  db: {build: ., networks: [back]}
networks: {back: }
volumes: {data: }
"""
FRONT = ["--profile", "front"]


class Done:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/compose.yaml").write_text(FILE)
    (tmp_path / "app/.env").write_text("TAG=1\n")
    return tmp_path / "app"


def run(folder: Path, *words: str, stdin: str = "", **environment: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "buildkit_py.cli.pycompose", *words],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/root",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **environment,
        },
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_config_prints_yaml_or_json(folder: Path) -> None:
    as_yaml = run(folder, *FRONT, "config")
    as_json = run(folder, *FRONT, "config", "--format=json")

    assert (as_yaml.code, as_yaml.err) == (0, "")
    assert as_yaml.out.startswith("name: app\nservices:\n  db:\n    build:\n")
    assert json.loads(as_json.out)["services"]["web"]["image"] == "nginx:1"
    assert "a: x$$y\n" in as_yaml.out


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--services", "db\nweb\n"),
        ("--volumes", "data\n"),
        ("--networks", "back\ndefault\n"),
        ("--profiles", "front\n"),
        ("--images", "app-db\nnginx:1\nother\n"),
        ("--models", ""),
        ("-q", ""),
    ],
)
def test_config_lists(folder: Path, option: str, expected: str) -> None:
    done = run(folder, *FRONT, "config", option)

    assert (done.code, done.out, done.err) == (0, expected, "")


def test_config_shows_variables_environment_and_hashes(folder: Path) -> None:
    variables = run(folder, "config", "--variables")
    as_json = run(folder, "config", "--variables", "--format", "json")
    environment = run(folder, "config", "--environment", X="1")
    hashes = run(folder, *FRONT, "config", "--hash", "db,web")

    assert variables.out == (
        "NAME    REQUIRED   DEFAULT VALUE   ALTERNATE VALUE\n"
        "TAG     false\n"
        "UNSET   false      x$$y\n"
    )
    assert json.loads(as_json.out)["UNSET"]["DefaultValue"] == "x$$y"
    assert {"TAG=1", "X=1", "COMPOSE_PROJECT_NAME=app"} <= set(environment.out.splitlines())
    assert [len(line.split()[1]) for line in hashes.out.splitlines()] == [64, 64]


def test_config_without_interpolation_shows_variables(folder: Path) -> None:
    done = run(folder, "config", "--no-interpolate")

    assert "image: nginx:$TAG\n" in done.out
    assert "a: ${UNSET:-x$$y}\n" in done.out


def test_config_writes_to_a_file(folder: Path) -> None:
    done = run(folder, "config", "-o", "out.yaml")
    failed = run(folder, "config", "-o", "no/out.yaml")

    assert (done.out, (folder / "out.yaml").read_text()[:10]) == ("", "name: app\n")
    assert (failed.code, "cannot write `no/out.yaml`" in failed.err) == (3, True)


def test_files_options_and_standard_input(folder: Path) -> None:
    named = run(folder.parent, "-f", "app/compose.yaml", "-p", "mine", "config", "--volumes")
    piped = run(folder, "-f", "-", "config", "--services", stdin="services: {x: {image: b}}")
    elsewhere = run(folder, "--project-directory", "..", "-f", "compose.yaml", "config", "db")

    assert (named.code, named.err) == (
        0,
        "warning: the `TAG` variable is not set, defaulting to a blank string\n",
    ) or named.err == ""
    assert piped.out == "x\n"
    assert f"context: {folder.parent}\n" in elsewhere.out


def test_a_folder_reached_by_a_link_keeps_its_name(folder: Path) -> None:
    link = folder.parent / "linked"
    link.symlink_to(folder)

    done = run(link, "config", PWD=str(link))

    assert done.out.startswith("name: linked\n")
    assert done.err == (
        "warning: the project is loaded through a symbolic link; its name is `linked`\n"
    )


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["config", "--format", "xml"], 2, "`--format` is `yaml` or `json`, not `xml`"),
        (["config", "--resolve-image-digests"], 2, "is not supported yet"),
        (["config", "--nonsense"], 2, "unknown option `--nonsense`"),
        (["config", "nothere"], 2, "no such service: nothere"),
        (["--progress", "loud", "config"], 2, "`--progress` is one of auto, tty, plain"),
        (["--parallel", "x", "config"], 2, "`--parallel` takes a whole number"),
        (["watch"], 2, "`pycompose watch` is not supported yet"),
        (["configs"], 2, "did you mean `config`?"),
        (["-f", "no.yaml", "config"], 2, "cannot read `no.yaml`"),
        (["-f", "/dev/zero", "config"], 2, "`/dev/zero` is larger than 16 MiB"),
    ],
)
def test_mistakes_are_told(folder: Path, words: list[str], code: int, text: str) -> None:
    done = run(folder, *words)

    assert (done.code, done.out) == (code, "")
    assert text in done.err


def test_version_and_help(folder: Path) -> None:
    assert run(folder, "version").out == f"pycompose version {__version__}\n"
    assert run(folder, "version", "--short").out == f"{__version__}\n"
    assert json.loads(run(folder, "version", "-f", "json").out) == {"version": __version__}
    assert run(folder, "--version").out == f"pycompose version {__version__}\n"
    for words in (["--help"], ["help"], []):
        assert run(folder, *words).out.startswith("Usage: pycompose [OPTIONS] COMMAND")
    assert "--no-interpolate" in run(folder, "config", "--help").out


HEAVY = """
    argparse asyncio ctypes dataclasses datetime inspect jsonschema lark logging pathlib rich
    sqlite3 ssl subprocess tempfile typer typing yaml yaml.constructor
""".split()
"""What `config` of a right file does without."""


def test_config_imports_nothing_heavy(folder: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "from buildkit_py.cli.pycompose import main\n"
        "code = main(['config', '-q'])\n"
        f"print(code, *sorted(set({HEAVY}) & set(sys.modules)))"
    )
    done = subprocess.run(
        # The user's site is left out; the environment's own is needed for PyYAML.
        [sys.executable, "-s", "-c", script, str(Path(__file__).parents[2])],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "0\n", done.stderr


@pytest.mark.parametrize("option", ["--timeout", "--wait-timeout"])
@pytest.mark.parametrize("seconds", ["x", "-3"])
def test_wrong_seconds_are_refused_before_files_are_read(
    tmp_path: Path, option: str, seconds: str
) -> None:
    done = run(tmp_path, "up", "--wait", option, seconds)

    assert done.code == 2
    assert f"`{option}` takes a whole number of seconds, not `{seconds}`" in done.err


@pytest.mark.parametrize("number", ["10001", "9" * 5000])
def test_a_service_has_no_numbers_of_containers_without_bound(folder: Path, number: str) -> None:
    done = run(folder, "plan", "--scale", f"db={number}", BUILDKIT_PY_ROOT=str(folder / "root"))

    assert done.code == 2
    assert "a service has 10000 containers at the most" in done.err


@pytest.mark.parametrize(
    "entry",
    [
        "services: {s: {image: b, env_file: pipe}}",
        "services: {s: {image: b, label_file: pipe}}",
        "services: {s: {extends: {file: pipe, service: t}}}",
        "include: [pipe]",
        "include: [{path: compose.yaml, env_file: pipe}]",
    ],
)
def test_a_named_pipe_is_no_file_of_a_project(tmp_path: Path, entry: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "compose.yaml").write_text("name: app\nservices: {s: {image: b}}\n")
    (tmp_path / "other.yaml").write_text(f"name: app\n{entry}\n")

    done = run(tmp_path, "-f", "other.yaml", "config")

    assert done.code == 2
    assert "`pipe` is not a regular file" in done.err
    assert " --> other.yaml:2:" in done.err


@pytest.mark.parametrize("option", ["-f", "--env-file"])
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(folder: Path, option: str) -> None:
    os.mkfifo(folder / "pipe")

    done = run(folder, option, "pipe", "config")

    assert done.code == 2
    assert "cannot read `pipe`: it is a pipe that nobody writes to" in done.err


@pytest.mark.parametrize("path", ["/dev/stdin", "/dev/fd/0", "-"])
def test_a_file_comes_from_a_pipe_that_is_written_to(tmp_path: Path, path: str) -> None:
    done = run(tmp_path, "-f", path, "config", "--images", stdin="services: {s: {image: one}}")

    assert (done.code, done.out) == (0, "one\n"), done.err


def test_what_a_slow_writer_writes_to_a_named_pipe_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(tmp_path / "pipe", os.O_WRONLY)
    with ThreadPoolExecutor() as pool:
        done = pool.submit(run, tmp_path, "-f", "pipe", "config", "--images")
        for part in ("services: {s: ", "{image: one}}\n"):
            os.write(writer, part.encode())
        os.close(writer)
        found = done.result()
    os.close(reader)

    assert (found.code, found.out) == (0, "one\n"), found.err
