"""A Dockerfile by somebody hostile: what it may not do, and that nothing hangs."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import tarfile
import threading

import pytest

from buildkit_py.core.data import replace
from buildkit_py.store.store import Store
from tests.stories.conftest import Person

pytestmark = [pytest.mark.kernel("overlay")]


def until(process: subprocess.Popen[bytes], text: bytes) -> None:
    """Read what a build writes until a line holds `text`."""
    assert process.stderr is not None
    while text not in (line := process.stderr.readline()):
        assert line, f"it ended without writing {text!r}"


@pytest.mark.parametrize(
    ("flag", "name"),
    [("--security=insecure", "security.insecure"), ("--network=host", "network.host")],
)
def test_a_dockerfile_cannot_give_itself_more_than_the_sandbox(
    anyone: Person, flag: str, name: str
) -> None:
    context = anyone.context(f"FROM busybox\nRUN {flag} touch /ran\n")

    refused = anyone.pybuild(context, code=2)

    assert "error[build/not-allowed]" in refused.stderr
    assert f"--allow {name}" in refused.stderr
    assert not refused.ran

    allowed = anyone.pybuild("--allow", name, context)

    assert allowed.ran[-1].endswith("touch /ran")


def test_a_step_with_one_locked_cache_twice_does_not_wait_for_itself(anyone: Person) -> None:
    both = " ".join(f"--mount=type=cache,id=twice,sharing=locked,target=/{at}" for at in "ab")

    made = anyone.build(f"FROM busybox\nRUN {both} touch /a/x && echo seen=$(ls /b)\n")

    assert made.done.said("seen") == "x"


def test_steps_that_lock_the_same_caches_in_another_order_do_not_wait_for_each_other(
    anyone: Person,
) -> None:
    def step(first: str, second: str) -> str:
        mounts = [
            f"--mount=type=cache,id={each},sharing=locked,target=/{each}"
            for each in (first, second)
        ]
        return f"RUN {' '.join(mounts)} sleep 0.1\n"

    anyone.build(
        f"FROM busybox AS one\n{step('a', 'b') * 5}"
        f"FROM busybox AS two\n{step('b', 'a') * 5}"
        "FROM busybox\nCOPY --from=one /bin/sh /1\nCOPY --from=two /bin/sh /2\n"
    )


def test_waiting_for_a_locked_cache_ends_with_ctrl_c(person: Person) -> None:
    mount = "--mount=type=cache,id=held,sharing=locked,target=/c"
    context = person.context(f"FROM busybox\nRUN {mount} echo going; sleep 600\n", name="holder")
    waiting = person.context(f"FROM busybox\nRUN {mount} true\n", name="waiter")
    with person.start(person.arguments("--no-cache", context)) as holder:
        until(holder, b"going")
        with person.start(person.arguments("--no-cache", waiting)) as waiter:
            until(waiter, b"] RUN")

            waiter.send_signal(signal.SIGINT)

            assert waiter.wait(10) == 130
        holder.send_signal(signal.SIGINT)
        assert holder.wait(10) == 130


def test_what_a_cache_mount_cannot_do_yet_is_said(person: Person) -> None:
    context = person.context(
        "FROM busybox AS seed\nFROM busybox\n"
        "RUN --mount=type=cache,from=seed,source=etc,target=/c true\n"
    )

    assert "error[build/unsupported-mount]" in person.pybuild(context, code=2).stderr


LONG = "n" * 300
LOOP = "RUN ln -s /b /a && ln -s /a /b\n"


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (f"WORKDIR /{LONG}", "file name too long"),
        (f"COPY f /{LONG}", "file name too long"),
        (f"RUN --mount=type=cache,target=/{LONG} true", "file name too long"),
        (f"{LOOP}WORKDIR /a/x", "too many levels of symbolic links"),
        (f"{LOOP}COPY f /a/x", "too many levels of symbolic links"),
        ("WORKDIR /bin/sh/x", "not a directory"),
        ("RUN --mount=type=bind,source=f,target=/etc true", "not a directory"),
        ("RUN --mount=type=cache,target=/etc/hosts true", "not a directory"),
        ('COPY ["f", "/x\\u0000y"]', "zero byte"),
        ("RUN echo a\0b", "zero byte"),
        ("COPY <<a\0b /x/\nhi\na\0b", "zero byte"),
    ],
)
def test_a_path_that_cannot_be_is_the_dockerfile_s_fault(
    person: Person, steps: str, reason: str
) -> None:
    context = person.context(f"FROM busybox\n{steps}\n", {"f": "x"})

    done = person.pybuild(context, code=2)

    assert reason in done.error.lower()
    assert " --> Dockerfile:" in done.error


def test_an_owner_beyond_the_subordinate_ids_is_named(user: Person) -> None:
    for step in ("USER 100000\nWORKDIR /x", "RUN --mount=type=cache,target=/x,uid=100000 true"):
        done = user.pybuild(user.context(f"FROM busybox\n{step}\n"), code=3)

        assert "error[build/owner-not-mapped]" in done.stderr


def test_a_tree_too_deep_for_a_layer_is_told(person: Person) -> None:
    context = person.context("FROM busybox\nCOPY . /deep\nRUN true\n")
    here = os.open(context, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    done = person.pybuild("--no-cache", context, code=1)

    assert "error[store/path-too-long]" in done.stderr
    assert person.pybuild(person.context("FROM busybox\nRUN true\n", name="next")).image


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore"])
@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "link out"])
def test_a_file_of_the_context_that_is_none_is_refused(
    person: Person, name: str, kind: str
) -> None:
    context = person.context("FROM busybox\nCOPY . /x\n", name=f"{name}-{kind}")
    (context / name).unlink(missing_ok=True)
    match kind:
        case "fifo":
            os.mkfifo(context / name)
        case "directory":
            (context / name).mkdir()
        case "device":
            (context / name).symlink_to("/dev/zero")
        case _:
            (context / name).symlink_to("/etc/passwd")

    done = person.pybuild(context, code=2, timeout_seconds=20)

    assert f"`{name}` is " in done.error


def test_a_fork_bomb_without_a_cgroup_meets_a_limit(user: Person) -> None:
    """It is the user's alone: a step that asks for less has less, and 30 processes end with it."""
    bomb = "for i in $(seq 30); do (sleep 100 &) ; done; grep processes /proc/self/limits"

    context = user.context(f"FROM busybox\nRUN {bomb}\n")
    made = user.pybuild("--no-cache", context)
    stopped = user.pybuild("--no-cache", "--ulimit=nproc=20", context, code=None)

    assert any(line.split()[2] in ("16384", "unlimited") for line in made.output)
    assert "can't fork" in stopped.stderr


@pytest.mark.root
def test_a_context_that_nobody_can_copy_names_the_file(person: Person) -> None:
    dockerfile = person.context("FROM busybox\nCOPY . /x\n") / "Dockerfile"

    done = person.pybuild("-f", dockerfile, "/proc/self", code=2)

    assert "error[build/unreadable-source]: cannot read `" in done.error


def test_links_swapped_during_the_walk_never_lead_out_of_the_context(person: Person) -> None:
    secret = person.folder / "secret"
    secret.mkdir()
    (secret / "f").write_text("TOP SECRET")
    files = {f"d{number}/f": "fine" for number in range(100)}
    context = person.context("FROM busybox\nCOPY . /x\nRUN grep -r TOP /x || echo ok=1\n", files)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for number in range(100):
                folder, aside = context / f"d{number}", context / f".d{number}"
                folder.rename(aside)
                folder.symlink_to(secret)
                folder.unlink()
                aside.rename(folder)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        done = [person.pybuild("--no-cache", context, code=None) for _ in range(5)]
    finally:
        stop.set()
        swapper.join()

    assert {each.code for each in done} <= {0, 2}
    assert not any("TOP SECRET" in line for each in done for line in each.output)


def test_a_deep_context_needs_no_higher_limit_of_open_files(person: Person) -> None:
    """And what the build allows itself, its programs do not get."""
    deep = "/".join(["d"] * 300) + "/file"
    context = person.context("FROM busybox\nCOPY d /d\nRUN echo open=$(ulimit -n)\n", {deep: ""})

    limited = ["sh", "-c", 'ulimit -Sn 200; exec "$@"', "sh"]
    done = person.run([*limited, *person.arguments("--no-cache", context)])

    assert done.said("open") == "200"


def test_a_base_whose_halves_do_not_fit_is_refused(person: Person) -> None:
    with Store.open(str(person.root), overlay="kernel") as store:
        base = store.images.get("docker.io/library/busybox:latest")
        assert base is not None
        manifest = store.images.manifest(base.digest)
        twice = replace(manifest, layers=manifest.layers * 2).to_bytes()
        blob = store.content.put(twice)
        store.images.put(
            "docker.io/library/odd:latest", replace(base, digest=blob.digest, size=blob.size)
        )

    done = person.pybuild(person.context("FROM odd\nRUN true\n"), code=4)

    assert "odd:latest` has 2 layers, but its config names 1" in done.error


def test_a_notice_about_a_hostile_archive_commands_no_terminal(user: Person) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        member = tarfile.TarInfo("c\x1b[2J")
        member.type, member.devmajor, member.devminor = tarfile.CHRTYPE, 1, 3
        tar.addfile(member)
    context = user.context("FROM busybox\nADD *.tar /x/\n", {"\x1b]0;x.tar": data.getvalue()})

    done = user.pybuild("--no-cache", context)

    assert "only root can make device nodes" in done.stderr
    assert "\x1b" not in done.stderr
