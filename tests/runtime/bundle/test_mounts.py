"""The file systems of a container: what is mounted where, with which options, and never outside."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.bundle.conftest import Bundle

pytestmark = pytest.mark.root


@pytest.fixture
def data(bundle: Bundle) -> Path:
    """A directory of the host with a file in it."""
    place = bundle.folder / "data"
    place.mkdir()
    (place / "file").write_text("of the host\n")
    return place


@pytest.fixture
def outside(bundle: Bundle) -> Path:
    """A directory of the host in which nothing may ever appear."""
    place = bundle.folder / "outside"
    place.mkdir()
    return place


def options(bundle: Bundle, place: str) -> set[str]:
    """Return the options of the topmost mount at a place."""
    lines = bundle.run("cat /proc/self/mountinfo").splitlines()
    (*_, line) = [each.split() for each in lines if each.split()[4] == place]
    return set(line[5].split(",")) | set(line[line.index("-") + 3].split(","))


def test_a_read_only_root_with_writable_mounts(bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = True
    bundle.mount("/tmp", "tmpfs", "tmpfs")
    out = bundle.run("touch /a 2>&1; touch /etc/a 2>&1; touch /tmp/a && echo written")

    assert out.count("Read-only file system") == 2
    assert out.endswith("written\n")


def test_a_root_at_an_absolute_path_and_through_a_link(bundle: Bundle) -> None:
    bundle.config["root"]["path"] = str(bundle.rootfs)
    assert bundle.run("echo absolute") == "absolute\n"

    (bundle.folder / "link").symlink_to("rootfs")
    bundle.config["root"]["path"] = "link"
    assert bundle.run("echo link") == "link\n"


def test_nothing_of_the_host_is_there(bundle: Bundle) -> None:
    out = bundle.run("ls -d /../../.. /*; cat /proc/self/mountinfo")

    assert set(out.split("\n/proc\n")[0].split()) >= {"/bin", "/dev", "/etc"}
    assert not any(f" - {kind} cgroup" in out for kind in ("cgroup", "cgroup2"))
    assert len([line for line in out.splitlines() if " - " in line]) == 5


def test_masked_paths(bundle: Bundle) -> None:
    (bundle.rootfs / "secret").mkdir()
    (bundle.rootfs / "secret" / "file").write_text("x")
    (bundle.rootfs / "other").mkdir()
    bundle.linux["maskedPaths"] = [
        "/proc/interrupts",
        "/proc/keys",
        "/secret",
        "/other",
        "/nowhere/x",
    ]
    bundle.process["user"]["uid"] = 0
    out = bundle.run(
        "cat /proc/keys | wc -c; cat /proc/interrupts | wc -c; ls -A /secret /other | wc -c;"
        " touch /secret/a 2>&1; chmod 777 /proc/keys 2>&1; :"
    )

    lines = out.splitlines()
    assert lines[:2] == ["0", "0"], out
    assert out.count("Read-only file system") == 2
    assert (bundle.rootfs / "secret" / "file").exists()


def test_masked_files_where_dev_is_the_hosts(bundle: Bundle) -> None:
    bundle.mounts[1:3] = [{"destination": "/dev", "type": "bind", "source": "/dev"}]
    bundle.mounts[1]["options"] = ["rbind", "rslave"]
    bundle.linux["maskedPaths"] = ["/proc/keys"]

    assert bundle.run("cat /proc/keys | wc -c") == "0\n"


def test_read_only_paths(bundle: Bundle) -> None:
    bundle.linux["readonlyPaths"] = ["/proc/sys", "/etc", "/nowhere"]
    out = bundle.run("echo 1 > /proc/sys/net/ipv4/ip_forward; touch /etc/a 2>&1; touch /tmp/a; :")

    assert "Read-only file system" in out
    assert not (bundle.rootfs / "etc" / "a").exists()
    assert (bundle.rootfs / "tmp" / "a").exists()
    assert {"ro", "nosuid"} - options(bundle, "/proc/sys") == {"nosuid"}


def test_what_dev_holds(bundle: Bundle) -> None:
    """config-linux.md, "Default Devices" and "Dev symbolic links"."""
    out = bundle.run(
        "cd /dev; stat -c '%n %F %t:%T %a' *; ls -l | sed -n 's/.* \\(.* -> .*\\)/\\1/p'"
    )
    lines = out.splitlines()

    for name, number in {
        "null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"
    }.items():  # fmt: skip
        assert f"{name} character special file {number} 666" in lines
    links = {"fd": "/proc/self/fd", "ptmx": "pts/ptmx"} | {
        name: f"/proc/self/fd/{number}" for number, name in enumerate(("stdin", "stdout", "stderr"))
    }
    assert {f"{name} -> {text}" for name, text in links.items()} <= set(lines)
    assert bundle.run("echo x > /dev/null; head -c 2 /dev/zero | wc -c; ls /dev/fd/0") == (
        "2\n/dev/fd/0\n"
    )


def test_devices_of_the_config(bundle: Bundle) -> None:
    bundle.linux["devices"] = [
        {
            "path": "/dev/sub/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640,
            "uid": 5, "gid": 6,
        },
        {"path": "/pipe", "type": "p", "fileMode": 0o600},
        {"path": "/dev/block", "type": "b", "major": 7, "minor": 200},
    ]  # fmt: skip
    out = bundle.run("stat -c '%n %F %t:%T %a %u:%g' /dev/sub/fuse /pipe /dev/block")

    assert out.splitlines() == [
        "/dev/sub/fuse character special file a:e5 640 5:6",
        "/pipe fifo 0:0 600 0:0",
        "/dev/block block special file 7:c8 666 0:0",
    ]


def test_a_node_that_is_there_must_be_the_one(bundle: Bundle) -> None:
    node = bundle.rootfs / "node"
    os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    device: dict[str, Any] = {"path": "/node", "type": "c", "major": 1, "minor": 3}
    bundle.linux["devices"] = [device]
    assert bundle.run("echo fits") == "fits\n"

    device["minor"] = 5
    assert "`/node` of the container is something else already" in bundle.run_fails()
    assert os.stat(node).st_rdev == os.makedev(1, 3)


def test_binds_of_a_directory_and_of_a_file(bundle: Bundle, data: Path) -> None:
    bundle.mount("/made/here", "bind", str(data), "bind")
    bundle.mount("/etc/one", "bind", str(data / "file"), "bind")
    bundle.mount("/relative", "bind", "data", "rbind")
    out = bundle.run("cat /made/here/file /etc/one /relative/file; echo new > /made/here/new")

    assert out == "of the host\n" * 3
    assert (data / "new").read_text() == "new\n"
    assert stat.S_ISREG((bundle.rootfs / "etc" / "one").stat().st_mode)


def test_a_bind_without_a_type_and_one_without_the_option(bundle: Bundle, data: Path) -> None:
    bundle.mounts.append({"destination": "/a", "source": str(data), "options": ["bind"]})
    bundle.mounts.append({"destination": "/b", "source": str(data), "type": "bind"})

    assert bundle.run("cat /a/file /b/file") == "of the host\n" * 2


def test_a_read_only_bind(bundle: Bundle, data: Path) -> None:
    bundle.mount("/a", "bind", str(data), "bind", "ro", "nosuid", "noexec")
    out = bundle.run("touch /a/x 2>&1; cat /a/file")

    assert "Read-only file system" in out
    assert out.endswith("of the host\n")
    assert {"ro", "nosuid", "noexec"} <= options(bundle, "/a")
    (data / "x").touch()  # the host's own is not


def test_recursive_options_reach_the_mounts_beneath(bundle: Bundle, data: Path) -> None:
    bundle.mount("/a", "bind", str(data), "bind")
    (data / "sub").mkdir()
    bundle.mount("/a/sub", "tmpfs", "tmpfs")
    bundle.mount("/a", "none", "", "remount", "bind", "rro")
    out = bundle.run("touch /a/x 2>&1; touch /a/sub/x 2>&1; :")

    assert out.count("Read-only file system") == 2


@pytest.mark.parametrize("missing", ["", "/nowhere", "data/nothing"])
def test_a_source_that_is_missing_is_named(bundle: Bundle, data: Path, missing: str) -> None:
    bundle.mount("/a", "bind", missing or "/nowhere/at/all", "bind")
    complaint = bundle.run_fails()

    assert "cannot be bound: No such file or directory" in complaint
    assert (missing or "/nowhere/at/all") in complaint


@pytest.mark.parametrize("words", ["remount ro", "remount bind ro"])
def test_a_remount_changes_what_is_there(bundle: Bundle, words: str) -> None:
    bundle.mount("/tmp", "tmpfs", "tmpfs", "size=64k")
    bundle.mount("/tmp", "tmpfs", "tmpfs", *words.split())
    out = bundle.run("touch /tmp/a 2>&1; grep -c ' /tmp ' /proc/self/mountinfo")

    assert out.splitlines()[-2:] == ["touch: /tmp/a: Read-only file system", "1"]


def test_a_remount_changes_the_file_system_too(bundle: Bundle) -> None:
    bundle.mount("/tmp", "tmpfs", "tmpfs", "size=64k")
    bundle.mount("/tmp", "tmpfs", "tmpfs", "remount", "size=128k", "nosuid")

    assert {"size=128k", "nosuid"} <= options(bundle, "/tmp")


@pytest.mark.parametrize(
    ("words", "there", "absent"),
    [
        ("", "rw relatime", "ro nosuid nodev noexec"),
        ("defaults", "rw relatime", "ro nosuid"),
        ("nosuid nodev noexec ro", "ro nosuid nodev noexec", "rw"),
        ("ro rw nosuid suid", "rw", "nosuid"),
        ("noatime", "noatime", "relatime"),
        ("strictatime", "rw", "relatime noatime"),
        ("nodiratime", "nodiratime relatime", ""),
        ("nosymfollow", "nosymfollow", ""),
        ("size=64k mode=700", "size=64k mode=700", ""),
        ("sync dirsync", "sync", ""),
        ("loud silent iversion noiversion acl noacl", "rw", ""),
    ],
)
def test_options_of_a_tmpfs(bundle: Bundle, words: str, there: str, absent: str) -> None:
    bundle.mount("/tmp", "tmpfs", "tmpfs", *words.split())
    found = options(bundle, "/tmp")
    if "strictatime" not in words:
        found -= {"rw"} if "ro" in found else set()  # the file system itself is always rw

    assert set(there.split()) <= found
    assert not set(absent.split()) & found


@pytest.mark.parametrize("word", ["private", "rprivate", "shared", "rslave", "unbindable"])
def test_propagation_of_a_mount(bundle: Bundle, data: Path, word: str) -> None:
    bundle.mount("/a", "bind", str(data), "bind", word)
    lines = bundle.run("cat /proc/self/mountinfo").splitlines()
    (fields,) = [line.split() for line in lines if line.split()[4] == "/a"]
    extra = " ".join(fields[6 : fields.index("-")])

    assert ("shared:" in extra) == (word == "shared")
    assert ("unbindable" in extra) == (word == "unbindable")


@pytest.mark.parametrize("word", ["private", "rslave", "shared", "rshared", "unbindable"])
def test_propagation_of_the_root(bundle: Bundle, word: str) -> None:
    bundle.linux["rootfsPropagation"] = word
    lines = bundle.run("cat /proc/self/mountinfo").splitlines()
    extra = next(line for line in lines if line.split()[4] == "/").split(" - ")[0]

    assert ("shared:" in extra) == word.endswith("shared")
    assert ("unbindable" in extra) == (word == "unbindable")


def test_no_mount_reaches_the_host(bundle: Bundle, data: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text().count("\n")
    bundle.mount("/a", "bind", str(data), "rbind", "rshared")
    bundle.mount("/a/b", "tmpfs", "tmpfs")
    bundle.create("sleep 1000")

    assert bundle.on_mounts() == []
    assert Path("/proc/self/mountinfo").read_text().count("\n") <= before


def test_an_unknown_option_is_for_the_file_system_to_refuse(bundle: Bundle) -> None:
    bundle.mount("/tmp", "tmpfs", "tmpfs", "frobnicate=7")

    assert "frobnicate" in bundle.run_fails()


def test_an_unknown_file_system(bundle: Bundle) -> None:
    bundle.mount("/tmp", "frobnicatefs", "x")

    assert "frobnicatefs" in bundle.run_fails()


def fill(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text("text\n")
    os.chown(folder / "sub" / "file", 5, 6)
    os.chmod(folder / "sub" / "file", 0o4751)
    os.chmod(folder / "sub", 0o2700)
    (folder / "link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe", 0o640)


@pytest.mark.parametrize("words", ["tmpcopyup", "tmpcopyup ro", "ro tmpcopyup size=1m"])
def test_a_tmpfs_that_starts_with_what_was_there(bundle: Bundle, words: str) -> None:
    fill(bundle.rootfs / "tmp")
    bundle.mount("/tmp", "tmpfs", "tmpfs", *words.split())
    out = bundle.run(
        "cd /tmp; cat sub/file; readlink link; stat -c '%F %a %u:%g' sub/file sub pipe;"
        " (echo new > sub/file) 2>&1; :"
    )

    assert out.splitlines()[:5] == [
        "text",
        "/etc/passwd",
        "regular file 4751 5:6",
        "directory 2700 0:0",
        "fifo 640 0:0",
    ]
    assert ("Read-only file system" in out) == ("ro" in words.split())
    assert (bundle.rootfs / "tmp" / "sub" / "file").read_text() == "text\n"


def test_a_tmpfs_has_the_mode_of_the_directory_it_hides(bundle: Bundle) -> None:
    """As runc and crun have it, unless there is none yet: then it is everybody's."""
    os.chmod(bundle.rootfs / "tmp", 0o2711)
    for place in ("/tmp", "/run/new"):
        bundle.mount(place, "tmpfs", "tmpfs")
    out = bundle.run("stat -c %a /tmp /run/new")

    assert out.split() == ["2711", "1777"]


def test_a_dev_that_is_read_only_is_filled_first(bundle: Bundle) -> None:
    bundle.mounts[1]["options"].append("ro")
    out = bundle.run("ls /dev | grep -c null; touch /dev/a 2>&1; echo > /dev/null && echo writable")

    assert out.splitlines() == ["1", "touch: /dev/a: Read-only file system", "writable"]


def test_mounts_come_in_their_order(bundle: Bundle, data: Path) -> None:
    bundle.mount("/tmp", "tmpfs", "tmpfs")
    bundle.mount("/tmp/a", "bind", str(data), "bind")
    assert bundle.run("cat /tmp/a/file") == "of the host\n"

    bundle.mounts[-2:] = reversed(bundle.mounts[-2:])
    assert bundle.run("ls /tmp") == ""


def test_a_relative_destination_starts_at_the_root(bundle: Bundle, data: Path) -> None:
    bundle.process["cwd"] = "/tmp"
    bundle.mount("made", "bind", str(data), "bind")

    assert bundle.run("cat /made/file") == "of the host\n"


@pytest.mark.parametrize(
    ("link", "destination", "inside"),
    [
        ("{outside}", "/link/sub", "{outside}/sub"),
        ("{outside}", "/link", "{outside}"),
        ("../../../../../../..{outside}", "/link/sub", "{outside}/sub"),
        ("/run", "/link/sub", "/run/sub"),
        ("/", "/link/link/../sub", "/sub"),
    ],
)
def test_links_stay_beneath_the_root(
    bundle: Bundle, data: Path, outside: Path, link: str, destination: str, inside: str
) -> None:
    """CVE-2021-30465, CVE-2024-45310."""
    (bundle.rootfs / "link").symlink_to(link.format(outside=outside))
    bundle.mount(destination, "bind", str(data), "bind")
    out = bundle.run(f"cat {inside.format(outside=outside)}/file")

    assert out == "of the host\n"
    assert os.listdir(outside) == []


def test_dots_do_not_lead_above_the_root(bundle: Bundle, data: Path, outside: Path) -> None:
    bundle.mount(f"/../../../..{outside}/x", "bind", str(data), "bind")

    assert bundle.run(f"cat {outside}/x/file") == "of the host\n"
    assert os.listdir(outside) == []


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("mounted", [True, False])
def test_a_top_directory_that_leads_outside(
    bundle: Bundle, outside: Path, name: str, mounted: bool
) -> None:
    """CVE-2019-19921, CVE-2026-41579: nodes, links and parameters would be the host's."""
    (bundle.rootfs / name).rmdir()
    (bundle.rootfs / name).symlink_to(outside)
    if not mounted:
        bundle.mounts.clear()
    bundle.linux["maskedPaths"] = ["/proc/keys", "/dev/null"]
    bundle.script("exit 0")
    bundle.call(*bundle.made("run"))

    assert os.listdir(outside) == []


def test_a_link_of_procfs_is_no_way_out(bundle: Bundle, data: Path) -> None:
    bundle.mount("/proc/self/cwd/x", "bind", str(data), "bind")
    assert "error" in bundle.run_fails()

    bundle.mounts[-1]["destination"] = "/proc/1/root/x"
    assert "error" in bundle.run_fails()


def test_a_file_where_a_directory_is_mounted(bundle: Bundle, data: Path) -> None:
    (bundle.rootfs / "place").touch()
    bundle.mount("/place", "bind", str(data), "bind")

    assert "/place" in bundle.run_fails()


@pytest.mark.kernel("only-cgroup2")
@pytest.mark.parametrize("own", [True, False])
def test_the_cgroup_of_the_container(bundle: Bundle, own: bool) -> None:
    """Without a cgroup namespace the whole hierarchy is there, as with runc; nobody may write."""
    if not own:
        bundle.without("cgroup")
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev")
    bundle.linux["resources"] = {"pids": {"limit": 77}}
    out = bundle.run(
        "read line < /proc/self/cgroup; cd /sys/fs/cgroup${line#0::};"
        " cat pids.max; read pid < cgroup.procs; echo $pid; mkdir x 2>&1;"
        " if [ -e ../cgroup.procs ]; then echo whole; fi"
    )

    lines = out.splitlines()
    assert lines[:2] == ["77", "1"]
    assert "Read-only file system" in lines[2]
    assert lines[3:] == ([] if own else ["whole"])


@pytest.mark.kernel("cgroup1")
@pytest.mark.parametrize("own", [True, False])
def test_cgroups_of_the_container(bundle: Bundle, own: bool) -> None:
    """With a namespace of its own and without one: never those of others."""
    if not own:
        bundle.without("cgroup")
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev")
    bundle.linux["resources"] = {"pids": {"limit": 77}}
    out = bundle.run(
        "cd /sys/fs/cgroup; cat pids/pids.max; cat memory/cgroup.procs; mkdir pids/x 2>&1; ls;"
        " find . -type d | wc -l"
    )

    lines = out.splitlines()
    assert lines[:3] == ["77", "1", lines[2]]
    assert "Read-only file system" in out
    assert {"pids", "memory", "devices", "freezer", "systemd"} <= set(lines)
    assert int(lines[-1]) < 30


def test_message_queues_and_shared_memory(bundle: Bundle) -> None:
    bundle.mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev")
    bundle.mount("/dev/shm", "tmpfs", "shm", "nosuid", "mode=1777", "size=64k")

    assert bundle.run("stat -c %a /dev/shm; ls -d /dev/mqueue").split() == ["1777", "/dev/mqueue"]
    assert "nosuid" in options(bundle, "/dev/mqueue")
