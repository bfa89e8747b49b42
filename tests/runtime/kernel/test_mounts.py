"""Overlays that vanish with their descriptor, on the real kernel."""

from __future__ import annotations

import pytest

from tests.runtime.conftest import Inside

pytestmark = pytest.mark.root


def test_layers_are_seen_topmost_first_and_changes_go_up(inside: Inside) -> None:
    out = inside("""
        from buildkit_py.runtime.kernel import mounts, paths
        for name in ("top", "low", "up", "work"):
            os.mkdir(f"{box.folder}/{name}")
        for name in ("top", "low"):
            with open(f"{box.folder}/{name}/both", "w") as file:
                file.write(name)
        open(f"{box.folder}/low/only", "w").close()
        top, low, up, work = (f"{box.folder}/{name}" for name in ("top", "low", "up", "work"))
        for volatile in (True, True):
            fd = mounts.overlay([top, low], up, work, volatile=volatile)
            file = paths.open_beneath(fd, "both", os.O_RDONLY)
            print(os.read(file, 10).decode(), sorted(os.listdir(os.open(".", 0, dir_fd=fd))))
            paths.make_directories_beneath(fd, "new/dir", 0o755, 0, 0)
            os.close(fd)
        print(os.listdir(up))
        try:
            mounts.overlay([top, low], up, work)
        except HostError as error:
            print(error.hint)
    """)

    lines = out.splitlines()
    assert lines[0] == "top ['both', 'only']"
    assert lines[1] == "top ['both', 'new', 'only']"
    assert lines[2] == "['new']"
    assert "volatile" in lines[3], "an unsynced upper directory must not be trusted silently"


def test_without_an_upper_directory_nothing_can_be_written(inside: Inside) -> None:
    out = inside("""
        from buildkit_py.runtime.kernel import mounts
        release = tuple(int(part) for part in os.uname().release.split(".")[:2])
        # Before Linux 6.7 all of their names must fit into one page.
        count = 300 if release >= (6, 7) else 200
        for number in range(count):
            os.makedirs(f"{box.folder}/{number}/dir{number}")
        layers = [f"{box.folder}/{number}" for number in range(count)]
        for some in (layers, layers[:2], layers[:1]):
            fd = mounts.overlay(some, None, None)
            print(len(os.listdir(os.open(".", 0, dir_fd=fd))) == len(some))
            try:
                os.mkdir("x", dir_fd=fd)
            except OSError as error:
                print(error.strerror)
            os.close(fd)
    """)

    assert out.splitlines() == ["True", "Read-only file system"] * 3


def test_old_kernels_get_the_same_through_mount(inside: Inside) -> None:
    out = inside("""
        from buildkit_py.runtime.kernel import mounts
        for name in ("a:b", "c,d", "up", "work"):
            os.makedirs(f"{box.folder}/{name}/{name}")
        names = [f"{box.folder}/{name}" for name in ("a:b", "c,d", "up", "work")]
        fds = [os.open(name, os.O_PATH) for name in names]
        words = [f"/proc/self/fd/{fd}" for fd in fds]
        before = len(open("/proc/self/mountinfo").readlines()), os.listdir("/tmp")
        fd = mounts._overlay_by_mount(words[:2], [("upperdir", words[2]), ("workdir", words[3])])
        print(sorted(os.listdir(os.open(".", 0, dir_fd=fd))))
        os.close(fd)
        print((len(open("/proc/self/mountinfo").readlines()), os.listdir("/tmp")) == before)
    """)

    assert out.splitlines() == ["['a:b', 'c,d', 'up']", "True"]


def test_a_refusal_names_the_fault(inside: Inside) -> None:
    out = inside("""
        from buildkit_py.runtime.kernel import mounts
        for lower, upper in ((["/nosuch"], None), ([box.image, "/etc/passwd"], None),
                             ([box.image], "/proc")):
            try:
                mounts.overlay(lower, upper, upper)
            except HostError as error:
                print(error.message)
    """)

    lines = out.splitlines()
    assert lines[0] == "open_tree `/nosuch`: No such file or directory"
    assert lines[1] == "open `/etc/passwd`: Not a directory"
    assert lines[2].startswith("fs")
