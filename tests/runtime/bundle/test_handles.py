"""What a command line asks for besides: descriptors of processes, a root that is moved, cgroups."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.bundle.conftest import Bundle

pytestmark = pytest.mark.root


@pytest.fixture
def waiting(bundle: Bundle) -> Iterator[socket.socket]:
    """A socket `give` in the bundle's folder at which somebody waits for a descriptor."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as handle:
        handle.bind(str(bundle.folder / "give"))
        handle.listen()
        handle.settimeout(10)
        yield handle


def given(handle: socket.socket) -> tuple[bytes, int]:
    peer, _ = handle.accept()
    with peer:
        data, (fd,), _, _ = socket.recv_fds(peer, 64, 1)
    return data, fd


def pid_of(pidfd: int) -> int:
    lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))


def test_a_descriptor_of_the_first_process(bundle: Bundle, waiting: socket.socket) -> None:
    bundle.create("sleep 60", "--pidfd-socket", str(bundle.folder / "give"))
    name, pidfd = given(waiting)

    assert (name, pid_of(pidfd)) == (b"standard", bundle.state()["pid"])
    bundle.ok("start", bundle.id)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)


def test_a_descriptor_of_a_further_program(bundle: Bundle, waiting: socket.socket) -> None:
    bundle.create("sleep 60")
    bundle.ok("start", bundle.id)
    words = ("--detach", "--pidfd-socket", str(bundle.folder / "give"), "--pid-file")
    file = bundle.folder / "pid"
    quiet = {"capture_output": False, "stdout": -3, "stderr": -3}
    bundle.ok("exec", *words, str(file), bundle.id, "sleep", "60", **quiet)
    name, pidfd = given(waiting)

    assert (name, pid_of(pidfd)) == (b"setns", int(file.read_text()))
    os.close(pidfd)


def test_nobody_at_the_socket_leaves_no_container(bundle: Bundle) -> None:
    error = bundle.fails(*bundle.made("create", "--pidfd-socket", "/nowhere"))

    assert "pidfd socket `/nowhere`: No such file" in error
    assert bundle.is_gone()


LOOK = "ls /bin/busybox; ls -d /../../.. ; cat /proc/self/mountinfo; touch /made"


@pytest.mark.parametrize("users", [False, True])
def test_a_root_that_is_moved_over_the_machines(bundle: Bundle, users: bool) -> None:
    if users:
        bundle.linux["namespaces"].append({"type": "user"})
        bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = [
            {"containerID": 0, "hostID": 0, "size": 65536}
        ]
    out = bundle.run(LOOK, "--no-pivot")

    assert (bundle.rootfs / "made").exists()
    places = [line.split()[4] for line in out.splitlines() if " - " in line]
    assert {"/", "/proc", "/dev", "/sys"} <= set(places)
    assert not [place for place in places if place.startswith("/var")]
    assert places.count("/proc") == places.count("/sys") == 1
    assert bundle.run("cat /proc/1/comm", "--no-pivot") == "cat\n"


def test_a_moved_root_that_is_read_only(bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = True

    assert "Read-only" in bundle.run("! touch /a 2>&1", "--no-pivot")


@pytest.fixture
def beneath(bundle: Bundle) -> list[Path]:
    """Cgroups `inner` beneath those of a running container."""
    bundle.create("sleep 60")
    bundle.ok("start", bundle.id)
    made = [Path(place) / "inner" for place in bundle.cgroups()]
    for place in made:
        place.mkdir()
        for name in ("cpuset.cpus", "cpuset.mems"):  # empty ones of v1 take no process
            if (place / name).exists():
                (place / name).write_text((place.parent / name).read_text())
    return made


def own(bundle: Bundle, *words: str) -> list[str]:
    text = bundle.ok("exec", *words, bundle.id, "cat", "/proc/self/cgroup")
    return [line for line in text.splitlines() if line.endswith("/inner")]


def test_a_cgroup_beneath_in_all_hierarchies(bundle: Bundle, beneath: list[Path]) -> None:
    assert len(own(bundle, "--cgroup", "inner")) == len(beneath)
    assert len(own(bundle, "--cgroup", "/inner")) == len(beneath)


@pytest.mark.skipif(not Path("/sys/fs/cgroup/pids").exists(), reason="cgroup v1 only")
def test_a_cgroup_beneath_by_controller(bundle: Bundle, beneath: list[Path]) -> None:
    (line,) = own(bundle, "--cgroup", "pids:inner")
    assert ":pids:" in line

    assert len(own(bundle, "--cgroup", "pids,memory:/inner")) == 2
    assert len(own(bundle, "--cgroup", "pids:inner", "--cgroup", "memory:inner")) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nosuch",), "No such file or directory"),
        (("pids:nosuch",), ""),
        (("nosuch:inner",), "the container has no such hierarchy"),
        (("a", "b"), "beside another names no controller"),
        ((":inner",), "is empty, or there twice"),
        (("pids:inner", "pids:inner"), "is empty, or there twice"),
        (("inner/../..",), "`..` components are not allowed"),
    ],
)
def test_what_is_no_cgroup_beneath(
    bundle: Bundle, beneath: list[Path], words: tuple[str, ...], said: str
) -> None:
    given = [word for each in words for word in ("--cgroup", each)]

    assert said in bundle.fails("exec", *given, bundle.id, "true")
