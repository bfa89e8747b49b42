"""What a program finds inside of a container: root's containers, on the real kernel."""

from __future__ import annotations

import pytest

from tests.runtime.conftest import Inside

pytestmark = pytest.mark.root


def test_it_has_dockers_capabilities_and_none_to_inherit(inside: Inside) -> None:
    out = inside("""
        print(sh("grep Cap /proc/self/status").out)
        print(sh("grep Cap /proc/self/status", account=Account(1000, 1000, (1000,))).out)
    """)

    root, user = out.strip().split("\n\n")
    assert root.split() == [
        "CapInh:", "0000000000000000", "CapPrm:", "00000000a80425fb",
        "CapEff:", "00000000a80425fb", "CapBnd:", "00000000a80425fb",
        "CapAmb:", "0000000000000000",
    ]  # fmt: skip
    assert user.split()[1::2] == [
        "0000000000000000", "0000000000000000", "0000000000000000", "00000000a80425fb",
        "0000000000000000",
    ]  # fmt: skip


def test_set_user_id_programs_work_and_a_filter_is_loaded(inside: Inside) -> None:
    out = inside("""
        print(run("grep", "-E", "NoNewPrivs|Seccomp:|SigIgn|SigBlk", "/proc/self/status").out)
    """)

    assert out.split() == [
        "SigBlk:", "0000000000000000", "SigIgn:", "0000000000000000",
        "NoNewPrivs:", "0", "Seccomp:", "2",
    ]  # fmt: skip


def test_every_namespace_is_its_own(inside: Inside) -> None:
    out = inside("""
        kinds = "mnt pid net ipc uts cgroup"
        host = [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds.split()]
        them = sh(f"cd /proc/self/ns; for n in {kinds}; do stat -c %N $n; done").out
        them = [line.split("'")[3] for line in them.splitlines()]
        shared = sh("stat -c %N /proc/self/ns/net", network="host").out.split("'")[3]
        print([a == b for a, b in zip(host, them, strict=True)], shared == host[2])
    """)

    assert out.strip() == "[False, False, False, False, False, False] True"


def test_it_sees_its_own_processes_host_name_and_cgroup_only(inside: Inside) -> None:
    out = inside("""
        print(sh("ps | wc -l; hostname; grep -v ':/$' /proc/self/cgroup; pwd; umask").out)
    """)

    assert out.split() == ["4", "buildkitsandbox", "/", "0022"]


def test_only_three_descriptors_come_in(inside: Inside) -> None:
    out = inside("""
        leaked = os.open("/etc/passwd", os.O_RDONLY)
        os.set_inheritable(leaked, True)
        print(sorted(os.listdir("/proc/self/fd")))
        print(sh("ls /proc/$$/fd; true").lines)
    """)

    assert out.splitlines()[1] == "['0', '1', '2']"


def test_dev_is_small(inside: Inside) -> None:
    out = inside("""
        print(*sh("ls /dev; stat -c '%F %t:%T %a' /dev/null /dev/tty; stat -c %N /dev/ptmx").lines)
    """)

    assert out.strip() == (
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero "
        "character special file 1:3 666 character special file 5:0 666 '/dev/ptmx' -> 'pts/ptmx'"
    )


def test_what_the_kernel_would_tell_is_masked(inside: Inside) -> None:
    out = inside("""
        print(sh('''
            for f in kcore keys timer_list interrupts sched_debug latency_stats; do
                [ -e /proc/$f ] && cat /proc/$f | wc -c
            done
            ls -A /proc/acpi /sys/firmware /proc/scsi 2>/dev/null | grep -v :
            for f in sys/kernel/hostname irq/default_smp_affinity; do
                echo x 2>&1 >/proc/$f
            done
            touch /sys/x; mkdir /sys/fs/cgroup/x
        ''').out)
    """)

    numbers = [line for line in out.splitlines() if line.strip().isdigit()]
    assert len(numbers) >= 3
    assert set(numbers) == {"0"}
    rest = [line for line in out.splitlines() if line and not line.strip().isdigit()]
    assert len(rest) == 4, out
    refusals = ("Read-only", "Permission", "No such file")
    assert all(any(word in line for word in refusals) for line in rest), out


def test_files_of_ours_are_read_only_and_not_in_the_layer(inside: Inside) -> None:
    out = inside("""
        print(sh("cat /etc/hosts; echo x >/etc/hosts; touch /etc/mine; rm /etc/resolv.conf").out)
        print(box.layer())
    """)

    assert "127.0.0.1 localhost\n" in out
    assert "can't create /etc/hosts: Read-only" in out
    assert "busy" in out
    assert out.splitlines()[-1] == "['etc', 'etc/mine']"


def test_places_to_mount_on_never_reach_the_layer(inside: Inside) -> None:
    out = inside("""
        os.mkdir(f"{box.folder}/cache")
        os.mkdir(f"{box.image}/etc")
        os.symlink("../run/nowhere/resolv.conf", f"{box.image}/etc/resolv.conf")
        before = os.stat(f"{box.image}/etc").st_mtime_ns
        mounts = (
            Bind(f"{box.folder}/cache", "/a/b/c", read_only=False),
            Tmpfs("/var/tmp", size_bytes=1 << 20),
        )
        result = sh("touch /a/b/c/kept; touch /var/tmp/x; cat /etc/resolv.conf", mounts=mounts)
        print(result.out.strip(), result.exit.code, box.layer(), os.listdir(f"{box.folder}/cache"))
    """)

    assert out.strip() == "nameserver 192.0.2.1 0 [] ['kept']"


def test_a_tmpfs_has_the_options_it_is_given(inside: Inside) -> None:
    out = inside("""
        mounts = (
            Tmpfs("/a", 65536, 0o700, inodes=50, allowed=()),
            Tmpfs("/b", read_only=True, allowed=("dev", "exec", "suid")),
        )
        print(sh("grep -E ' /[ab] ' /proc/mounts | cut -d ' ' -f 2,4", mounts=mounts).out)
    """)

    a, b = out.split("\n")[:2]
    assert a.startswith("/a rw,nosuid,nodev,noexec,relatime,size=64k,nr_inodes=50,mode=700")
    assert b.startswith("/b ro,relatime")


def test_limits_that_python_has_no_name_for(inside: Inside) -> None:
    out = inside("""
        print(sh("grep 'file locks' /proc/self/limits", rlimits={"locks": (5, 6)}).out)
    """)

    assert out.split() == ["Max", "file", "locks", "5", "6", "locks"]


def test_a_root_that_is_one_directory_is_left_as_it_was(inside: Inside) -> None:
    out = inside("""
        before = os.stat(box.image).st_mtime_ns
        print(sh("cat /etc/hosts; touch /bin/new", root=Directory(box.image)).out.strip())
        print(sorted(os.listdir(box.image)), os.stat(box.image).st_mtime_ns == before)
        print("new" in os.listdir(f"{box.image}/bin"))
    """)

    assert out.splitlines() == ["127.0.0.1 localhost", "['bin'] True", "True"]


def test_exit_codes_are_dockers(inside: Inside) -> None:
    out = inside("""
        os.mkdir(f"{box.image}/dir")
        open(f"{box.image}/plain", "w").close()
        for args in (["true"], ["false"], ["nosuch"], ["/nosuch"], ["/dir"], ["/plain"],
                     ["/plain/x"], [""], ["sh", "-c", "exit 77"],
                     ["sh", "-c", "kill -9 $$; exit 5"]):
            end = run(*args).exit
            print(args[-1], end.code, end.signal, end.message)
    """)

    assert out.splitlines() == [
        "true 0 0 ",
        "false 1 0 ",
        "nosuch 127 0 `nosuch`: executable file not found in $PATH",
        "/nosuch 127 0 `/nosuch`: No such file or directory",
        "/dir 126 0 `/dir`: Permission denied",
        "/plain 126 0 `/plain`: Permission denied",
        "/plain/x 127 0 `/plain/x`: Not a directory",
        " 127 0 ``: executable file not found in $PATH",
        "exit 77 77 0 ",
        "kill -9 $$; exit 5 5 0 ",
    ]


def test_a_killed_container_has_128_and_the_signal(inside: Inside) -> None:
    out = inside("""
        for number in (signal.SIGKILL, signal.SIGTERM):
            null = os.open("/dev/null", os.O_RDWR)
            with box.zygote.create(
                box.container("sh", "-c", "trap 'exit 3' TERM; while true; do sleep 0.01; done"),
                stdin=null, stdout=null, stderr=null,
            ) as process:
                process.start()
                time.sleep(0.2)
                process.kill(number)
                end = process.wait()
                print(end.code, end.signal)
    """)

    assert out.split() == ["137", "9", "3", "0"]


def test_environment_and_working_directory(inside: Inside) -> None:
    out = inside("""
        os.environ["SECRET"] = "host"
        os.makedirs(f"{box.image}/work")
        os.symlink("/work", f"{box.image}/link")
        print(*sh("pwd; env", env=("A=1", "B=x=y", "A=2"), cwd="/link",
                  account=Account(home="/h")).lines)
        for cwd in ("/nosuch", "/bin/sh", "/proc/self/fd/3", "/proc/1/cwd"):
            try:
                print(sh("pwd", cwd=cwd).out)
            except InputError as error:
                print(error.message)
    """)

    lines = out.splitlines()
    words = lines[0].split()
    assert words[0] == "/work"
    assert {"A=2", "B=x=y", "HOME=/h"} <= set(words)
    assert "SECRET" not in out
    assert lines[1] == "working directory `/nosuch`: No such file or directory"
    assert lines[2] == "working directory `/bin/sh`: Not a directory"
    assert "working directory `/proc/self/fd/3`" in lines[3]
    assert "working directory `/proc/1/cwd`: Too many levels of symbolic links" in lines[4]


def test_a_missing_working_directory_is_made_on_request(inside: Inside) -> None:
    out = inside("""
        os.makedirs(f"{box.image}/a")
        os.symlink("/proc/1", f"{box.image}/p")
        for cwd in ("/a/b/c", "/p/cwd/x", "/bin/sh/x"):
            try:
                print(*sh("pwd; stat -c '%a %u' .", cwd=cwd, make_cwd=True,
                          account=Account(uid=5, gid=6)).lines)
            except InputError as error:
                print(error.message)
    """)

    lines = out.splitlines()
    assert lines[0] == "/a/b/c 755 0"
    assert lines[1].startswith("working directory `/p/cwd/x`: ")
    assert lines[2] == "working directory `/bin/sh/x`: Not a directory"


def test_devices_cannot_be_opened_although_nodes_can_be_made(inside: Inside) -> None:
    out = inside("""
        print(sh('''
            mknod /mem c 1 1 && mknod /fuse c 10 229 && mknod /zero c 1 5 && mknod /disk b 254 0
            mknod /console c 5 1
            for d in /mem /fuse /disk /console; do cat $d; done
            head -c 3 /zero | wc -c
        ''').out)
    """)

    lines = out.split("\n")
    assert sum("Operation not permitted" in line for line in lines) == 4, out
    assert "3" in lines


def test_calls_outside_of_dockers_profile_are_refused(inside: Inside) -> None:
    out = inside("""
        print(sh("mount -t tmpfs x /bin; unshare -m true; unshare -U true; umount /proc").out)
    """)

    assert out.count("Operation not permitted") + out.count("permission denied") == 4, out


def test_rlimits_umask_and_read_only_root(inside: Inside) -> None:
    out = inside("""
        result = sh("ulimit -n; umask; touch /x; touch /dev/shm/y && echo shm",
                    rlimits={"nofile": (64, 64)}, umask=0o077, read_only=True)
        print(result.out)
        print(sh("true", rlimits={"nofile": (64, 1 << 40)}).warnings)
    """)

    assert out.splitlines()[:2] == ["64", "0077"]
    assert "Read-only" in out
    assert "shm" in out
    assert "nofile" in out.splitlines()[-1]


def test_a_terminal_is_the_containers_own(inside: Inside) -> None:
    out = inside("""
        null = os.open("/dev/null", os.O_RDWR)
        container = box.container("sh", "-c", "tty; ls /dev/console; read x; echo got $x",
                                  terminal=True)
        with box.zygote.create(container, stdin=null, stdout=null, stderr=null) as process:
            process.start()
            process.resize(33, 77)
            os.write(process.terminal, b"hello\\n")
            said = b""
            try:
                while piece := os.read(process.terminal, 1000):
                    said += piece
            except OSError:
                pass
            print(process.wait().code, said.decode().replace("\\r", "").split("\\n"))
    """)

    code, _, text = out.strip().partition(" ")
    assert code == "0"
    assert "'/dev/pts/0'" in text
    assert "'/dev/console'" in text
    assert "got hello" in text
