"""`pyengine`'s command lines, and `import`, `images`, `rmi`, `pull` as programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildkit_py.cli.engine_run import RUN, make_request
from buildkit_py.cli.pyengine import COMMANDS, LATER, main
from buildkit_py.cli.reader import read
from buildkit_py.core.errors import InputError
from buildkit_py.engine.request import RunRequest
from buildkit_py.runtime.network.publish import Port
from buildkit_py.runtime.spec import Limits, Tmpfs
from tests.cli.conftest import Engine
from tests.registry.samples import image
from tests.registry.servers import docker_registry, push


def request_of(*argv: str) -> RunRequest:
    return make_request(*read(RUN, argv))


def test_options_end_at_the_image() -> None:
    request = request_of("-it", "--rm", "busybox", "ls", "-l", "--rm", "-e")

    assert (request.image, request.command) == ("busybox", ("ls", "-l", "--rm", "-e"))
    assert (request.interactive, request.terminal) == (True, True)


def test_what_docker_run_understands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINE", "m")
    monkeypatch.delenv("GONE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env").write_text("FILE=1\n")

    request = request_of(
        "-eMINE", "-e", "GONE", "--env=A=b=c", "--env-file", "env", "-v", "./x:/x:ro",
        "--tmpfs=/t:size=1m", "-w/w", "-u", "1:2", "--net=none", "-p", "127.0.0.1:80:8080/udp",
        "--name", "n", "-h", "box", "--entrypoint", "", "--add-host", "db:10.0.0.1",
        "--read-only", "-m64m", "--memory-swap=-1", "--cpus=1.5", "--pids-limit=-1",
        "--shm-size=1g", "--ulimit", "nofile=1:2", "-l", "a=b", "--pull=never", "i",
    )  # fmt: skip

    assert request.env == ("FILE=1", "MINE=m", "GONE", "A=b=c")
    assert [(v.source, v.read_only) for v in request.volumes] == [(str(tmp_path / "x"), True)]
    assert request.tmpfs == (Tmpfs("/t", 1 << 20, allowed=()),)
    assert (request.workdir, request.user, request.network) == ("/w", "1:2", "none")
    assert request.ports == (Port(8080, 80, "127.0.0.1", "udp", 80),)
    assert (request.name, request.hostname, request.entrypoint) == ("n", "box", "")
    assert request.hosts == (("db", "10.0.0.1"),)
    assert request.limits == Limits(memory_bytes=64 << 20, swap_bytes=-1, cpus=1.5)
    assert (request.shm_bytes, request.rlimits) == (1 << 30, {"nofile": (1, 2)})
    assert (request.read_only, request.labels, request.pull) == (True, {"a": "b"}, "never")


@pytest.mark.parametrize(
    "argv",
    [
        ("--network=mine",), ("--pull=perhaps",), ("-m", "x"), ("--cpus", "-1"), ("--cpus=nan",),
        ("--pids-limit=x",), ("--shm-size=",  "-1"), ("--env-file", "/nowhere/at/all"),
        ("-v", "x"), ("-p", "x"), ("--platform", "a/b/c/d"), ("--ulimit", "x=1"),
    ],
)  # fmt: skip
def test_bad_values_are_named(argv: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="`"):
        request_of(*argv, "busybox")


@pytest.mark.parametrize("option", sorted(RUN.unsupported))
def test_no_option_of_docker_is_ignored(option: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", option, "busybox"]) == 125
    assert f"`{option}` is not supported yet" in capfd.readouterr().err


@pytest.mark.parametrize("name", LATER)
def test_commands_to_come_say_so(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([name]) == 2
    assert f"`pyengine {name}` is not supported yet" in capfd.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0

    out = capfd.readouterr().out
    assert f"Usage: pyengine {name} [OPTIONS]" in out
    # A group lists its commands, and each of those has its own help.
    assert "--root DIR" in out or "Commands:" in out


def test_help_version_and_unknown_commands(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["--help"]) == main(["--version"]) == 0
    out = capfd.readouterr().out
    assert out.count("Commands:") == 2
    assert "pyengine 0." in out

    assert main(["imgaes"]) == main(["--wrong", "images"]) == 2
    assert "did you mean `images`?" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("argv", "code"),
    [(("run",), 125), (("rmi",), 1), (("pull",), 2), (("import",), 2), (("images", "a", "b"), 2)],
)
def test_wrong_arguments_show_the_usage(
    argv: tuple[str, ...], code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == code
    assert f"usage: pyengine {argv[0]} [OPTIONS]" in capfd.readouterr().err


def test_root_is_taken_before_and_after_the_command(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")

    assert main(["--root", one, "images", "-q"]) == main(["images", f"--root={two}", "-q"]) == 0

    assert capfd.readouterr().out == ""
    assert (tmp_path / "one/content").is_dir()
    assert (tmp_path / "two/content").is_dir()


def test_an_image_lives_from_import_to_rmi(engine: Engine, busybox_tar: Path) -> None:
    id = engine("import", "-m", "by hand", busybox_tar, "mine:1").stdout.strip()
    engine("run", "mine:1", "true")

    lines = engine("images", "--no-trunc", "mine").stdout.splitlines()
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert lines[1].split()[:3] == ["mine", "1", id]
    short = engine("images", "-q", "mine").stdout.strip()
    assert id == f"sha256:{short}{id[19:]}"
    row = json.loads(engine("images", "--format", "json", "mine:1").stdout)
    assert (row["Repository"], row["Tag"], row["ID"]) == ("mine", "1", short)
    form = "table {{.Repository}}:{{.Tag}}\\t{{json .ID}}"
    assert engine("images", "--format", form, "mine").stdout.split("\n")[1] == (
        f'mine:1           "{short}"'
    )

    removed = engine("rmi", "mine:1").stdout.splitlines()

    assert removed[:2] == ["Untagged: mine:1", f"Deleted: {id}"]
    assert engine("images", "-q", "mine").stdout == ""
    assert "`mine:1`" in engine("rmi", "mine:1", code=1).stderr


def test_import_reads_standard_input(engine: Engine, busybox_tar: Path) -> None:
    done = engine("import", "-", "piped", stdin=busybox_tar.read_bytes())

    assert done.stdout.startswith("sha256:")
    assert engine("images", "--format", "{{.Repository}}", "piped").stdout == "piped\n"


def test_rmi_goes_on_after_an_unknown_image(engine: Engine, busybox_tar: Path) -> None:
    engine("import", busybox_tar, "gone")

    done = engine("rmi", "nobody", "gone", code=1)

    assert "Untagged: gone:latest" in done.stdout
    assert "no image `nobody`" in done.stderr


@pytest.mark.peer("docker-registry")
def test_pull_takes_an_image_from_a_registry(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sample = image(b"content")
    argv = ["pull", "--root", str(tmp_path / "root"), "--platform", "linux/amd64"]
    with docker_registry(tmp_path) as address:
        push(address, "some/thing", "1", sample)

        assert main([*argv, f"{address}/some/thing:1"]) == 0
        first = capfd.readouterr().out.splitlines()
        assert main([*argv, f"{address}/some/thing:1"]) == 0
        second = capfd.readouterr().out.splitlines()
        assert main([*argv, "-q", f"{address}/some/thing:1"]) == 0
        third = capfd.readouterr().out
        assert main([*argv, f"{address}/some/thing:2"]) == 4

    assert first[0] == f"1: Pulling from {address}/some/thing"
    assert first[-2] == f"Status: Downloaded newer image for {address}/some/thing:1"
    assert first[-3].startswith("Digest: sha256:")
    assert second[-2] == f"Status: Image is up to date for {address}/some/thing:1"
    assert third == first[-1] + "\n" == f"{address}/some/thing:1\n"


def test_a_request_reads_no_size_as_none() -> None:
    with pytest.raises(InputError, match="invalid size"):
        request_of("-m", "-5", "busybox")
