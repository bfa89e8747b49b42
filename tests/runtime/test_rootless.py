"""The same containers without root: with subordinate ids, and with a single one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.runtime.userns import first_free_id, mapping, subordinate_ids
from tests.rootless import TREE
from tests.runtime.conftest import NOBODY, Inside, program


def test_subordinate_ids_are_found_by_name_and_by_number(tmp_path: Path) -> None:
    table = f"{tmp_path}/subuid"
    with open(table, "w") as file:
        file.write("ann:100000:65536\n7:300000:10\nbob:1:1\n\n# x\nann:bad:5\nann:5\nann:9:0\n")

    assert subordinate_ids(table, "ann", 7) == [(100000, 65536), (300000, 10)]
    assert subordinate_ids(table, "eve", 9) == []
    assert subordinate_ids("/nonexistent", "ann", 7) == []
    assert mapping(7, [(100000, 65536), (300000, 10)]) == [
        (0, 7, 1),
        (1, 100000, 65536),
        (65537, 300000, 10),
    ]


def test_ids_that_we_propose_are_nobodys(tmp_path: Path) -> None:
    uids, gids = tmp_path / "subuid", tmp_path / "subgid"
    uids.write_text("ann:100000:65536\nbob:500:10\n")
    gids.write_text("ann:165536:65536\nno line\n")

    assert first_free_id(str(uids)) == 165536
    assert first_free_id(str(uids), str(gids)) == 231072
    assert first_free_id("/nonexistent") == 100000


@pytest.mark.rootless
def test_a_container_has_the_same_face(inside_rootless: Inside) -> None:
    out = inside_rootless("""
        print(box.host.rootless, box.host.ids, box.host.overlay)
        print(*run("id").out.split(), *run("id", account=Account(1000, 50, (50, 7))).out.split())
        print(*run("grep", "-E", "CapEff|CapBnd|NoNew|Seccomp:", "/proc/self/status").out.split())
        print(sh("ls /dev; ps | wc -l; ls -A /proc/acpi /sys/firmware | wc -l").out.split())
        print(sh("touch /etc/mine; rm /etc/hosts").exit.code, box.layer())
        print(sh("chmod 0 /dev/null; echo x >/dev/null && head -c 2 /dev/zero | wc -c").out)
    """)

    lines = out.splitlines()
    assert lines[0] == "True range userxattr"
    assert lines[1].startswith("uid=0 gid=0 uid=1000 gid=50 groups=7,50")
    assert lines[2] == (
        "CapEff: 00000000a80425fb CapBnd: 00000000a80425fb NoNewPrivs: 0 Seccomp: 2"
    )
    assert lines[3].startswith("['fd', 'full', 'mqueue', 'null', 'ptmx', 'pts', 'random', 'shm'")
    assert lines[4] == "1 ['etc', 'etc/mine']"
    assert lines[5:7] == ["chmod: /dev/null: Read-only file system", "2"]


@pytest.mark.rootless
def test_removing_and_moving_what_lower_layers_hold(inside_rootless: Inside) -> None:
    """Without `userxattr` this would end in EIO, long after the mount went well."""
    out = inside_rootless("""
        os.makedirs(f"{box.image}/data/inner")
        open(f"{box.image}/data/inner/file", "w").close()
        os.makedirs(f"{box.image}/other/inner")
        end = sh('''
            set -e
            rm -r /data && mkdir /data && touch /data/new
            mv /other /moved
            chown 1234:4321 /data/new && stat -c %u:%g /data/new
            ls /data /moved
        ''')
        print(end.exit.code, end.out.split())
    """)

    assert out.strip() == "0 ['1234:4321', '/data:', 'new', '/moved:', 'inner']"


@pytest.mark.rootless
def test_the_hosts_network_and_terminals_work_too(inside_rootless: Inside) -> None:
    out = inside_rootless("""
        print(sh("ls /sys/class/net | wc -l; touch /sys/x", network="host").exit.code)
        null = os.open("/dev/null", os.O_RDWR)
        container = box.container("tty", terminal=True)
        with box.zygote.create(container, stdin=null, stdout=null, stderr=null) as process:
            process.start()
            print(os.read(process.terminal, 100).decode().strip(), process.wait().code)
        print(box.host.cgroup, sh("true", limits=Limits(pids=5)).warnings)
    """)

    lines = out.splitlines()
    assert lines[0] == "1"
    assert lines[1] == "/dev/pts/0 0"
    if lines[2].startswith("None"):
        assert "the number of processes cannot be limited here" in lines[2]


@pytest.mark.rootless
def test_nothing_is_left(inside_rootless: Inside) -> None:
    out = inside_rootless("""
        def fds():
            return len(os.listdir("/proc/self/fd"))
        run("true")
        before = fds(), len(open("/proc/self/mountinfo").readlines())
        for _ in range(20):
            run("true")
        print((fds(), len(open("/proc/self/mountinfo").readlines())) == before)
    """)

    assert out.strip() == "True"


@pytest.mark.root
@pytest.mark.rootless
def test_a_single_id_is_enough_for_root_and_says_what_it_cannot(inside_single: Inside) -> None:
    out = inside_single("""
        print(box.host.ids, box.host.set_groups, box.host.terminal_group)
        print(any("subordinate ids" in text for text in box.host.notices))
        print(*run("id").out.split())
        print(sh("touch /x && ls /dev/pts && chown 5 /x").out.strip())
        try:
            run("id", account=Account(1000, 1000, (1000,)))
        except HostError as error:
            print(error.message)
            print(error.hint)
        null = os.open("/dev/null", os.O_RDWR)
        container = box.container("tty", terminal=True)
        with box.zygote.create(container, stdin=null, stdout=null, stderr=null) as process:
            process.start()
            print(os.read(process.terminal, 100).decode().strip(), process.wait().code)
    """)

    lines = out.splitlines()
    assert lines[0] == "single False None"
    assert lines[1] == "True"
    assert lines[2].startswith("uid=0 gid=0")
    assert "Invalid argument" in out
    assert "the container cannot run as 1000:1000: Invalid argument" in out
    assert "newuidmap" in out
    assert lines[-1] == "/dev/pts/0 0"


@pytest.mark.root
def test_root_of_a_user_namespace_works_as_rootless(folder: Path) -> None:
    """As inside of a container that has a user namespace: root already, but not of the machine."""
    lines = "print(box.host.rootless, box.host.ids, sh('id -u; echo hi').out.split())"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", program(str(folder), lines)],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        capture_output=True,
        text=True,
    )

    assert done.stdout == "True single ['0', 'hi']\n", done.stderr


REFUSED = """
import os
from buildkit_py.core.errors import HostError
from buildkit_py.runtime import userns
from buildkit_py.runtime.kernel import seccomp
rule = seccomp.Rule(("unshare",), seccomp.ERRNO | 1)
profile = seccomp.Profile(seccomp.ALLOW, (rule,))
seccomp.load(seccomp.compile_profile(profile, os.uname().machine))
os.setgroups([])
os.setresuid({uid}, {uid}, {uid})
try:
    userns.enter()
except HostError as error:
    print(error.exit_code, error.message, "|", error.hint)
"""


@pytest.mark.root
@pytest.mark.parametrize("uid", [0, NOBODY])
def test_a_refusal_says_what_to_do(uid: int) -> None:
    """A filter that forbids namespaces, as docker's containers have it."""
    done = subprocess.run(
        [sys.executable, "-c", REFUSED.format(uid=uid)],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        capture_output=True,
        text=True,
    )

    assert done.stdout.startswith("3 namespaces are refused here: unshare"), done.stderr
    assert "--security-opt seccomp=unconfined" in done.stdout
