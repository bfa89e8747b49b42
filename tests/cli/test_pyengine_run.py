"""`pyengine run` on the real kernel: as root, and as an unprivileged user."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from buildkit_py.oci.image import CONFIG, LAYER, MANIFEST, Descriptor, ImageConfig, Manifest
from buildkit_py.oci.platform import machine_platform
from tests.cli.conftest import MODULE, Engine, eventually, processes_with
from tests.registry.samples import Sample, digest_of
from tests.registry.servers import docker_registry, push
from tests.rootless import RootlessUser

READY = b"ready\n"


def wait_for_line(process: subprocess.Popen[bytes], line: bytes = READY) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == line


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 7"), 7),
        # The kernel keeps even SIGKILL of its own from a first process.
        (("sh", "-c", "kill -9 $$; exit 3"), 3),
        (("sh", "-c", "sh -c 'kill -9 $$'; exit $?"), 137),
        (("nosuch",), 127),
        (("/no/such",), 127),
        (("/etc",), 126),
    ],
)
@pytest.mark.root
def test_the_exit_code_is_the_programs(root: Engine, words: tuple[str, ...], code: int) -> None:
    done = root("run", "--network", "none", "busybox", *words, code=code)

    assert (done.stderr != "") == (code > 100)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--wrong", "busybox"), "unknown option"),
        (("busybox:never-made", "true"), "127.0.0.1:1"),
        (("-u", "nobody-here", "busybox", "true"), "unable to find user"),
        (("-w", "relative", "busybox", "true"), "absolute path"),
        (("-w", "/bin/busybox", "busybox", "true"), "not a directory"),
        (("-w", "/" + "long" * 100, "busybox", "true"), "name too long"),
        (("-h", "long" * 100, "busybox", "true"), "sethostname"),
        (("-v", "/proc/x/y:/y", "busybox", "true"), "cannot make"),
        (("-v", "/dev/null/x:/y", "busybox", "true"), "cannot make"),
        (("-v", "/tmp:/proc/self", "busybox", "true"), "nothing can be mounted on"),
        (("--add-host", "x:nonsense", "busybox", "true"), "--add-host"),
        (("-v", "/tmp:/y", "--tmpfs", "/y", "busybox", "true"), "duplicate mount point"),
        (("--entrypoint", "", "busybox"), "no command"),
        (("--network=none", "-p", "80", "busybox", "true"), "published"),
    ],
)
@pytest.mark.root
def test_what_prevents_the_start_is_125(root: Engine, argv: tuple[str, ...], words: str) -> None:
    # A name without a registry would be looked for on the network.
    argv = tuple(word.replace("busybox:never", "127.0.0.1:1/never") for word in argv)

    done = root("run", *argv, code=125)

    assert done.stdout == ""
    assert "error[" in done.stderr
    assert words in done.stderr
    assert "bug" not in done.stderr
    assert root.left == []


def test_streams_are_apart_and_standard_input_is_only_with_i(engine: Engine) -> None:
    script = "cat; echo out; echo err >&2"

    without = engine("run", "busybox", "sh", "-c", script, stdin=b"typed\n")
    with_i = engine("run", "-i", "busybox", "sh", "-c", script, stdin=b"typed\n")

    assert (without.stdout, without.stderr) == ("out\n", "err\n")
    assert (with_i.stdout, with_i.stderr) == ("typed\nout\n", "err\n")


@pytest.mark.root
def test_much_goes_through_whole(root: Engine) -> None:
    data = os.urandom(1 << 20) * 5

    process = subprocess.run(
        root.command(["run", "-i", "--network", "none", "busybox", "cat"]),
        env=root.environment,
        input=data,
        capture_output=True,
        timeout=120,
    )

    assert process.stdout == data


@pytest.mark.root
def test_a_reader_that_goes_away_ends_the_writer(root: Engine) -> None:
    process = root.start("run", "--network", "none", "busybox", "yes")
    wait_for_line(process, b"y\n")
    assert process.stdout is not None
    process.stdout.close()

    assert process.wait(60) == 1


def test_the_environment(engine: Engine, tmp_path: Path) -> None:
    engine("import", "-c", "ENV A=image B=image C=image", "-", "vars", stdin=_tar(engine))

    done = engine(
        "run", "-e", "A=given", "-e", "MINE", "-e", "B", "-h", "box", "vars",
        "sh", "-c", "env", env={"MINE": "m"},
    )  # fmt: skip

    env = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert (env["A"], env.get("B"), env["C"], env["MINE"]) == ("given", None, "image", "m")
    assert (env["HOSTNAME"], env["HOME"]) == ("box", "/root")
    assert "TERM" not in env
    assert not any(name.startswith(("PYTHON", "BUILDKIT", "XDG")) for name in env)


def _tar(engine: Engine) -> bytes:
    """The root file system of the store's busybox, as its one layer has it."""
    index = json.loads((engine.root / "content/index.json").read_text())
    name = "docker.io/library/busybox:latest"
    entry = next(
        each
        for each in index["manifests"]
        if each["annotations"].get("io.containerd.image.name") == name
    )
    blobs = engine.root / "content/blobs"
    manifest = json.loads((blobs / entry["digest"].replace(":", "/")).read_bytes())
    layer: str = manifest["layers"][0]["digest"]
    return (blobs / layer.replace(":", "/")).read_bytes()


def test_the_image_says_what_runs_where_and_as_whom(engine: Engine) -> None:
    engine(
        "import", "-c", 'ENTRYPOINT ["sh", "-c"]', "-c", 'CMD ["pwd; id -u; id -g; ls -d /vol"]',
        "-c", "WORKDIR /made/here", "-c", "USER 12:34", "-c", "VOLUME /vol", "-", "says",
        stdin=_tar(engine),
    )  # fmt: skip

    assert engine("run", "says").stdout == "/made/here\n12\n34\n/vol\n"
    assert engine("run", "-u", "0", "-w", "/other", "says", "pwd; id -u").stdout == "/other\n0\n"
    assert engine("run", "--entrypoint", "id", "says", "-g").stdout == "34\n"
    assert engine.left == []


@pytest.mark.root
def test_a_user_is_looked_up_in_the_image(root: Engine) -> None:
    done = root("run", "-u", "daemon:disk", "--network", "none", "busybox", "id", code=None)

    passwd = root("run", "--network", "none", "busybox", "cat", "/etc/passwd").stdout
    if "daemon:" in passwd:
        assert "(daemon)" in done.stdout
    else:
        assert "unable to find user daemon" in done.stderr


def test_what_a_container_writes_is_gone_and_the_image_stays(engine: Engine) -> None:
    engine("run", "busybox", "sh", "-c", "echo x >/new; rm -r /bin/busybox /etc; mkdir /d")

    assert engine("run", "busybox", "sh", "-c", "ls -d /etc; ls /new", code=1).stdout == "/etc\n"
    assert engine.left == []


def test_directories_of_the_host_writable_and_read_only(engine: Engine) -> None:
    (engine.folder / "in").mkdir(exist_ok=True)
    (engine.folder / "in/file").write_text("host\n")
    if not engine.is_root:
        os.chmod(engine.folder / "in", 0o777)

    read = engine(
        "run", "-v", "./in:/in:ro", "busybox", "sh", "-c", "cat /in/file; echo x >/in/file",
        code=1,
    )  # fmt: skip
    engine("run", "-v", f"{engine.folder}/in:/in", "-v", "./made:/made", "busybox", "sh", "-c",
           "echo new >/in/new; echo deep >/made/deep")  # fmt: skip

    assert (read.stdout, read.stderr.count("Read-only file system")) == ("host\n", 1)
    assert (engine.folder / "in/new").read_text() == "new\n"
    assert (engine.folder / "made/deep").read_text() == "deep\n"


def test_a_named_volume_begins_as_the_image_is_and_stays(engine: Engine) -> None:
    first = engine("run", "-v", "etc:/etc", "busybox", "sh", "-c", "ls /etc; echo mine >/etc/mine")
    again = engine("run", "-v", "etc:/data:ro", "busybox", "cat", "/data/mine")
    empty = engine("run", "-v", "none:/etc:nocopy", "busybox", "sh", "-c", "ls /etc")

    assert "passwd" in first.stdout.split()
    assert again.stdout == "mine\n"
    assert "passwd" not in empty.stdout.split()
    assert sorted(path.name for path in (engine.root / "volumes").iterdir()) == ["etc", "none"]


@pytest.mark.root
def test_an_anonymous_volume_is_filled_and_gone_afterwards(root: Engine) -> None:
    script = "ls /bin | wc -l; touch /bin/new && echo written"

    done = root("run", "--read-only", "-v", "/bin", "--network", "none", "busybox", "sh", "-c",
                script)  # fmt: skip

    assert int(done.stdout.split()[0]) > 100
    assert done.stdout.endswith("written\n")
    assert root.left == []


@pytest.mark.root
def test_a_volume_of_a_hostile_image_is_not_the_hosts(root: Engine) -> None:
    base = io.BytesIO(_tar(root))
    with tarfile.open(fileobj=base, mode="r") as archive:
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as made:
            for member in archive:
                made.addfile(member, archive.extractfile(member) if member.isreg() else None)
            link = tarfile.TarInfo("vol")
            link.type, link.linkname = tarfile.SYMTYPE, "../../../../../../etc"
            made.addfile(link)
    root("import", "-c", "VOLUME /vol", "-c", "WORKDIR /vol/made", "-", "hostile",
         stdin=plain.getvalue())  # fmt: skip

    done = root("run", "--network", "none", "hostile", "sh", "-c", "ls /vol/ /etc; cat /etc/passwd")

    assert Path("/etc/passwd").read_text() not in done.stdout
    assert not Path("/etc/made").exists()


@pytest.mark.root
def test_a_read_only_root_with_a_tmpfs(root: Engine) -> None:
    done = root(
        "run", "--read-only", "--tmpfs", "/t:size=1m", "--network", "none", "busybox", "sh", "-c",
        "touch /x; df /t | tail -1; touch /t/x && echo written",
    )  # fmt: skip

    assert "Read-only file system" in done.stderr
    assert done.stdout.split()[1] == "1024"
    assert done.stdout.endswith("written\n")


@pytest.mark.root
def test_limits(root: Engine) -> None:
    done = root(
        "run", "--ulimit", "nofile=50:60", "--shm-size", "1m", "--pids-limit", "5",
        "--network", "none", "busybox", "sh", "-c",
        "ulimit -n; df /dev/shm | tail -1; for i in 1 2 3 4 5 6; do sleep 1 & done; wait",
        code=2,
    )  # fmt: skip

    assert done.stdout.split()[0] == "50"
    assert done.stdout.split()[2] == "1024"
    assert "can't fork" in done.stderr


@pytest.mark.root
def test_the_memory_limit_is_told(root: Engine) -> None:
    done = root(
        "run", "-m", "30m", "--network", "none", "busybox", "sh", "-c", "tail /dev/zero; exit $?",
        code=137,
    )  # fmt: skip

    assert "the memory limit was reached" in done.stderr


def test_networks(engine: Engine) -> None:
    links = "ls /sys/class/net"

    default = engine("run", "--add-host", "db:10.1.2.3", "-h", "box", "busybox", "sh", "-c",
                     f"{links}; cat /etc/hosts")  # fmt: skip
    none = engine("run", "--network", "none", "busybox", "sh", "-c", links)
    host = engine("run", "--network", "host", "busybox", "sh", "-c", f"{links}; hostname")

    assert default.stdout.split()[:2] == ["eth0", "lo"]
    assert "10.1.2.3\tdb\n" in default.stdout
    assert "\tbox\n" in default.stdout
    assert none.stdout.split() == ["lo"]
    assert set(os.listdir("/sys/class/net")) <= set(host.stdout.split())
    assert host.stdout.split()[-1] == os.uname().nodename


def test_a_published_port_is_answered_and_given_back(engine: Engine) -> None:
    port = _free_port()
    script = "mkdir /w; echo hello >/w/index.html; echo ready; exec httpd -f -p 80 -h /w"

    server = engine.start("run", "-p", f"127.0.0.1:{port}:80", "busybox", "sh", "-c", script)
    wait_for_line(server)
    taken = engine("run", "-p", f"127.0.0.1:{port}:80", "busybox", "true", code=125)

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return bool(answer.read() == b"hello\n")
        except OSError:
            return False

    assert eventually(answers)
    assert "port is already allocated" in taken.stderr
    server.kill()
    server.wait(30)
    assert eventually(lambda: not _is_open(port))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1"])
@pytest.mark.root
def test_signals_reach_the_program_which_decides(root: Engine, name: str) -> None:
    script = f"trap 'echo got; exit 5' {name}; echo ready; while :; do sleep 0.1; done"
    process = root.start("run", "--network", "none", "busybox", "sh", "-c", script)
    wait_for_line(process)

    process.send_signal(getattr(signal, f"SIG{name}"))

    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (5, b"got\n")


def test_the_third_interrupt_kills_a_program_that_ignores_it(engine: Engine) -> None:
    mark = f"3{os.getpid()}{time.monotonic_ns() % 10**9}"
    script = f"trap '' INT; echo ready; sleep {mark}"
    process = engine.start("run", "busybox", "sh", "-c", script)
    wait_for_line(process)

    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)

    assert process.wait(60) == 137
    assert processes_with(mark) == []
    assert engine.left == []


def test_sigkill_of_pyengine_leaves_nothing(engine: Engine) -> None:
    mark = f"3{os.getpid()}{time.monotonic_ns() % 10**9}"
    process = engine.start("run", "busybox", "sh", "-c", f"echo ready; chown 5 /etc; sleep {mark}")
    wait_for_line(process)

    process.kill()
    process.wait(30)

    assert eventually(lambda: processes_with(mark) == [])
    engine("images")  # the next session sweeps what the dead one left
    assert eventually(lambda: engine.left == [])


@pytest.mark.root
def test_two_containers_of_one_image_at_once(root: Engine) -> None:
    script = "echo ready; read line; echo $line >/mine; cat /mine"
    both = [
        root.start("run", "-i", "--network", "none", "busybox", "sh", "-c", script,
                   stdin=subprocess.PIPE)
        for _ in range(2)
    ]  # fmt: skip
    for process in both:
        wait_for_line(process)

    outs = [process.communicate(str(at).encode() + b"\n", timeout=60)[0]
            for at, process in enumerate(both)]  # fmt: skip

    assert outs == [b"0\n", b"1\n"]
    assert root.left == []


@pytest.mark.root
@pytest.mark.peer("docker-registry")
def test_an_image_that_is_missing_is_pulled_once(
    root: Engine, busybox_tar: Path, tmp_path: Path
) -> None:
    with docker_registry(tmp_path) as address:
        push(address, "some/busybox", "1", _sample(busybox_tar.read_bytes()))
        name = f"{address}/some/busybox:1"
        argv = ("--network", "none", name, "echo", "hello")

        never = root("run", "--pull", "never", *argv, code=125)
        first = root("run", *argv)
        second = root("run", *argv)
        always = root("run", "--pull", "always", *argv)
    gone = root("run", "--pull", "always", *argv, code=125)

    assert f"no image `{name}`" in never.stderr
    assert first.stdout == second.stdout == always.stdout == "hello\n"
    assert first.stderr.startswith(f"Unable to find image '{name}' locally\n1: Pulling from ")
    assert second.stderr == ""
    assert always.stderr.startswith("1: Pulling from ")
    assert "error[registry/" in gone.stderr


def _sample(layer: bytes) -> Sample:
    platform = machine_platform(os.uname().machine)
    blobs = {digest_of(layer): layer}
    config = ImageConfig(platform, diff_ids=(digest_of(layer),)).to_bytes()
    blobs[digest_of(config)] = config
    manifest = Manifest(
        Descriptor(CONFIG, digest_of(config), len(config)),
        (Descriptor(LAYER, digest_of(layer), len(layer)),),
    ).to_bytes()
    return Sample(manifest, MANIFEST, blobs, {digest_of(manifest): (MANIFEST, manifest)})


@pytest.mark.root
@pytest.mark.rootless
def test_a_user_with_one_id_only_is_told_what_that_cannot_do(
    rootless_user: RootlessUser, busybox_tar: Path
) -> None:
    nobody = 65534
    home = Path(tempfile.mkdtemp(prefix="buildkit-py-test-", dir="/var/tmp"))
    os.chown(home, nobody, nobody)
    become = ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups"]
    environment = {
        **rootless_user.environment, "HOME": str(home), "TMPDIR": str(home),
        "XDG_RUNTIME_DIR": str(home), "BUILDKIT_PY_ROOT": str(home / "root"),
    }  # fmt: skip
    program = [*become, rootless_user.python, *MODULE]
    engine = Engine(lambda words: [*program, *words], environment, home / "root", home, False)
    try:
        engine("import", busybox_tar, "busybox")
        ran = engine("run", "--network", "none", "busybox", "sh", "-c", "id -u; touch /new")
        refused = engine("run", "--network", "none", "-u", "5", "busybox", "id", code=125)
        removed = engine("rmi", "busybox")
    finally:
        shutil.rmtree(home)

    assert ran.stdout == "0\n"
    assert "notice: " in ran.stderr
    assert "one id" in refused.stderr
    assert "Untagged: busybox:latest\n" in removed.stdout
