"""What the program of a container finds: its ids and rights, its limits, its names, its devices."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.bundle.conftest import Bundle

pytestmark = pytest.mark.root

KILL, CHOWN, SETPCAP = 1 << 5, 1 << 0, 1 << 8


def numbers(text: str) -> dict[str, str]:
    """Read the lines of /proc/PID/status."""
    return {
        key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())
    }


def status(bundle: Bundle) -> dict[str, str]:
    bundle.process["args"] = ["cat", "/proc/self/status"]
    return numbers(bundle.run())


def capabilities(bundle: Bundle) -> dict[str, int]:
    found = status(bundle)
    return {key: int(found[f"Cap{key}"], 16) for key in ("Inh", "Prm", "Eff", "Bnd", "Amb")}


def test_ids_and_groups(bundle: Bundle) -> None:
    bundle.process["user"] = {"uid": 1000, "gid": 100, "additionalGids": [7, 100, 4000000000]}
    found = status(bundle)

    assert found["Uid"].split() == ["1000"] * 4
    assert found["Gid"].split() == ["100"] * 4
    assert sorted(map(int, found["Groups"].split())) == [7, 100, 4000000000]


def test_no_group_of_the_callers_stays(bundle: Bundle) -> None:
    assert status(bundle)["Groups"] == ""


@pytest.mark.parametrize("mask", [0o027, 0o077, 0o000])
def test_the_callers_umask_is_kept(bundle: Bundle, mask: int) -> None:
    before = os.umask(mask)
    try:
        assert status(bundle)["Umask"] == f"{mask:04o}"
    finally:
        os.umask(before)


def test_a_umask_that_is_given_wins(bundle: Bundle) -> None:
    bundle.process["user"]["umask"] = 0o35

    assert status(bundle)["Umask"] == "0035"


def test_the_five_sets_of_capabilities(bundle: Bundle) -> None:
    bundle.process["user"]["uid"] = 1000
    bundle.process["capabilities"] = {
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_SETPCAP"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL", "CAP_CHOWN"],
        "ambient": ["CAP_KILL"],
    }

    # What a program without file capabilities keeps of them at execve: capabilities(7).
    assert capabilities(bundle) == {
        "Inh": KILL | CHOWN, "Prm": KILL, "Eff": KILL, "Bnd": KILL | CHOWN | SETPCAP, "Amb": KILL,
    }  # fmt: skip


def test_roots_program_gets_its_bounding_set(bundle: Bundle) -> None:
    bundle.process["capabilities"] = {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"]}

    assert capabilities(bundle) == {"Inh": 0, "Prm": KILL, "Eff": KILL, "Bnd": KILL, "Amb": 0}


def test_without_capabilities_there_are_none(bundle: Bundle) -> None:
    del bundle.process["capabilities"]

    assert set(capabilities(bundle).values()) == {0}


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({"bounding": ["CAP_FLY"], "permitted": []}, "unknown capabilities are ignored: FLY"),
        ({"ambient": ["CAP_KILL"]}, "ambient capabilities cannot be given: KILL"),
        ({"effective": ["CAP_KILL"]}, "effective capabilities cannot be given: KILL"),
        ({"inheritable": ["CAP_KILL"]}, "inheritable capabilities cannot be given: KILL"),
    ],
)
def test_capabilities_that_cannot_be_given_are_a_warning(
    bundle: Bundle, sets: dict[str, list[str]], said: str
) -> None:
    bundle.process["capabilities"] = sets
    out, warning = bundle.warned("echo ran")

    assert out == "ran\n"
    assert f"warning: {said}" in warning


def test_limits(bundle: Bundle) -> None:
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": (1 << 64) - 1},
    ]
    out = bundle.run("cat /proc/self/limits")
    rows = {line[:25].strip(): line[25:].split()[:2] for line in out.splitlines()}

    assert rows["Max open files"] == ["64", "128"]
    assert rows["Max core file size"] == ["0", "0"]
    assert rows["Max stack size"] == [str(1 << 20), "unlimited"]


def test_a_limit_above_the_hard_one_is_a_warning_where_it_cannot_be_raised(bundle: Bundle) -> None:
    """No process may have more descriptors than fs.nr_open, not even root's."""
    much = int(Path("/proc/sys/fs/nr_open").read_text()) + 1
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": much}]
    out, warning = bundle.warned("echo ran")

    assert out == "ran\n"
    assert "warning: the limit `nofile=64:" in warning


@pytest.mark.parametrize("yes", [True, False])
def test_no_new_privileges(bundle: Bundle, yes: bool) -> None:
    bundle.process["noNewPrivileges"] = yes

    assert status(bundle)["NoNewPrivs"] == str(int(yes))


@pytest.mark.kernel("seccomp")
@pytest.mark.parametrize("yes", [True, False])
def test_a_filter_of_system_calls(bundle: Bundle, yes: bool) -> None:
    bundle.process["noNewPrivileges"] = yes
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["unheard_of"], "action": "SCMP_ACT_ERRNO"},
        ],
    }
    out = bundle.run("mkdir /tmp/a 2>&1; grep Seccomp: /proc/self/status")

    assert "No space left on device" in out
    assert "Seccomp:\t2" in out


@pytest.mark.kernel("seccomp")
@pytest.mark.parametrize("yes", [True, False])
def test_a_filter_that_kills_all_that_a_program_does_not_need(bundle: Bundle, yes: bool) -> None:
    """Whoever loads it must have nothing left to do but execve."""
    needed = """execve brk arch_prctl set_tid_address set_robust_list rseq prlimit64 readlink
        readlinkat getrandom mprotect uname getuid geteuid prctl write exit exit_group mmap munmap
        rt_sigaction rt_sigprocmask""".split()
    if not yes:  # ids and capabilities come after it
        needed += "setgroups capget capset setresuid setresgid setuid setgid".split()
    bundle.process["noNewPrivileges"] = yes
    bundle.process["args"] = ["/bin/busybox", "echo", "alive"]
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": needed, "action": "SCMP_ACT_ALLOW"}],
    }

    assert bundle.run() == "alive\n"


def test_names_are_the_containers_own(bundle: Bundle) -> None:
    before = socket.gethostname()
    bundle.config["hostname"] = "box"
    bundle.config["domainname"] = "example.org"
    out = bundle.run("hostname; cat /proc/sys/kernel/domainname")

    assert out.split() == ["box", "example.org"]
    assert socket.gethostname() == before


def test_parameters_of_the_kernel_are_the_namespaces(bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {
        "net.ipv4.ip_default_ttl": "99",
        "net/ipv4/conf/lo/forwarding": "1",
        "kernel.msgmax": "4000",
        "fs.mqueue.msg_max": "7",
    }
    before = Path("/proc/sys/kernel/msgmax").read_text()
    out = bundle.run(
        "cd /proc/sys; cat net/ipv4/ip_default_ttl net/ipv4/conf/lo/forwarding kernel/msgmax"
        " fs/mqueue/msg_max"
    )

    assert out.split() == ["99", "1", "4000", "7"]
    assert Path("/proc/sys/kernel/msgmax").read_text() == before


@pytest.mark.parametrize(
    ("name", "kind"), [("net.ipv4.ip_forward", "network"), ("kernel.shmmax", "ipc")]
)
def test_parameters_of_the_machine_are_refused(bundle: Bundle, name: str, kind: str) -> None:
    bundle.without(kind)
    bundle.linux["sysctl"] = {name: "1"}

    assert f"needs a {kind} namespace" in bundle.run_fails()


def test_a_parameter_needs_a_proc_to_be_written_through(bundle: Bundle) -> None:
    del bundle.mounts[0]
    bundle.linux["sysctl"] = {"kernel.msgmax": "4000"}

    assert "sysctl" in bundle.run_fails()


def test_how_ready_the_kernel_is_to_kill_it(bundle: Bundle) -> None:
    script = "cat /proc/self/oom_score_adj"
    own = Path("/proc/self/oom_score_adj").read_text()
    kept = bundle.run(script)
    bundle.process["oomScoreAdj"] = 321

    assert kept == own
    assert bundle.run(script) == "321\n"


@pytest.mark.parametrize(
    ("scheduler", "seen"),
    [
        ({"policy": "SCHED_OTHER", "nice": 7}, "0 7 0"),
        ({"policy": "SCHED_BATCH", "nice": 3}, "3 3 0"),
        ({"policy": "SCHED_IDLE"}, "5 0 0"),
    ],
)
def test_the_scheduler(bundle: Bundle, scheduler: dict[str, Any], seen: str) -> None:
    """Fields 41, 19 and 40 of proc_pid_stat(5)."""
    bundle.process["scheduler"] = scheduler
    fields = bundle.run("cat /proc/self/stat").rpartition(")")[2].split()

    assert " ".join(fields[number - 3] for number in (41, 19, 40)) == seen


def test_the_priority_of_input_and_output(bundle: Bundle) -> None:
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    bundle.create("sleep 1000")
    bundle.ok("start", bundle.id)
    pid = str(bundle.state()["pid"])

    said = subprocess.run(["ionice", "-p", pid], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "best-effort: prio 6"


def test_the_personality(bundle: Bundle) -> None:
    assert bundle.run("uname -m") == f"{os.uname().machine}\n"
    bundle.linux["personality"] = {"domain": "LINUX32"}

    assert bundle.run("uname -m") == "i686\n"


@pytest.mark.parametrize(
    ("cwd", "seen"), [("/tmp", "/tmp"), ("/new/deep", "/new/deep"), ("/etc/../tmp/.", "/tmp")]
)
def test_the_working_directory(bundle: Bundle, cwd: str, seen: str) -> None:
    bundle.process["cwd"] = cwd

    assert bundle.run("pwd") == f"{seen}\n"


def test_a_working_directory_is_made_as_it_is_meant(bundle: Bundle) -> None:
    bundle.process["cwd"] = "/new/deep"
    bundle.process["user"]["umask"] = 0o77

    assert bundle.run("stat -c %a . ..").split() == ["755", "755"]


@pytest.mark.parametrize("number", range(3, 12))
def test_a_working_directory_in_our_descriptors_leads_nowhere(bundle: Bundle, number: int) -> None:
    """CVE-2024-21626: /proc/self/fd/N as the working directory was the host's."""
    bundle.process["cwd"] = f"/proc/self/fd/{number}"

    assert "working directory" in bundle.run_fails()


def test_only_three_descriptors_are_inside(bundle: Bundle) -> None:
    """The fourth is the listing's own; even one that the caller leaves open is closed."""
    with open("/etc/hostname") as leak:
        os.set_inheritable(leak.fileno(), True)
        out = bundle.run("ls /proc/self/fd", close_fds=False)

    assert out.split() == ["0", "1", "2", "3"]


def test_descriptors_that_are_wanted_inside(bundle: Bundle) -> None:
    script = (
        "import os, sys\nfor _ in range(3):\n"
        " os.set_inheritable(os.open('/etc/passwd', 0), True)\n"
        f"os.execv(sys.executable, [sys.executable, *{bundle.argv()[1:]!r}, *sys.argv[1:]])"
    )
    bundle.script("for n in 3 4 5; do test -e /proc/self/fd/$n && echo $n; done; head -c 4 <&4")
    words = bundle.made("run", "--preserve-fds", "2")
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, cwd=os.getcwd(),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout == "3\n4\nroot"


def test_the_environment_is_the_configs(bundle: Bundle) -> None:
    bundle.process["env"] = ["PATH=/bin", "A=b=c", "EMPTY=", "HOME=/home/ann"]
    lines = set(bundle.run("env").splitlines()) - {"PWD=/", "SHLVL=1"}

    assert lines == {"PATH=/bin", "A=b=c", "EMPTY=", "HOME=/home/ann"}


def test_signals_are_as_a_program_expects_them(bundle: Bundle) -> None:
    found = status(bundle)

    assert int(found["SigIgn"], 16) == 0
    assert int(found["SigBlk"], 16) == 0


def test_a_session_of_its_own(bundle: Bundle) -> None:
    fields = bundle.run("cat /proc/self/stat").rpartition(")")[2].split()

    assert fields[3] == "1"  # session, as its own pid namespace counts
    assert fields[4] == "0"  # no terminal


@pytest.mark.parametrize(
    ("kind", "name"), [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")]
)
def test_a_namespace_joined_by_its_path(bundle: Bundle, kind: str, name: str) -> None:
    made = ["unshare", f"--{kind if kind != 'network' else 'net'}", "--fork", "--kill-child"]
    with subprocess.Popen(
        [*made, "sh", "-c", "echo up; exec sleep 1000"], stdout=subprocess.PIPE
    ) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            (pid,) = Path(f"/proc/{other.pid}/task/{other.pid}/children").read_text().split()
            path = f"/proc/{pid}/ns/{name}"
            bundle.join(kind, path)
            seen = bundle.run(f"readlink /proc/self/ns/{name}").strip()

            assert seen == os.readlink(path)
            assert seen != os.readlink(f"/proc/self/ns/{name}")
        finally:
            other.kill()


def test_a_namespace_of_another_kind_is_refused(bundle: Bundle) -> None:
    bundle.join("network", "/proc/self/ns/uts")
    assert "network" in bundle.run_fails()

    bundle.join("network", "/nowhere")
    assert "`/nowhere`" in bundle.run_fails()


@pytest.mark.parametrize(
    ("kind", "name"), [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")]
)
def test_a_namespace_that_is_not_listed_is_the_callers(
    bundle: Bundle, kind: str, name: str
) -> None:
    bundle.without(kind)
    if kind == "network":
        bundle.mounts[3] = {"destination": "/sys", "type": "bind", "source": "/sys"}

    assert bundle.run(f"readlink /proc/self/ns/{name}").strip() == os.readlink(
        f"/proc/self/ns/{name}"
    )


def test_the_cgroup_namespace_starts_at_the_containers_cgroup(bundle: Bundle) -> None:
    out = bundle.run("cat /proc/self/cgroup")

    assert {line.rpartition(":")[2] for line in out.splitlines()} == {"/"}


class Receiver:
    """Who gets the terminal of a container: engines are that."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "console")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        self.fd, self.name = -1, b""
        self.thread = threading.Thread(target=self.receive)
        self.thread.start()

    def receive(self) -> None:
        handle, _ = self.listener.accept()
        with handle:
            self.name, (self.fd, *_), _, _ = socket.recv_fds(handle, 100, 4)

    def said(self) -> str:
        """Read until nobody has the other end any more."""
        found = b""
        while True:
            try:
                data = os.read(self.fd, 1000)
            except OSError:
                break
            if not data:
                break
            found += data
        return found.decode().replace("\r\n", "\n")

    def close(self) -> None:
        self.listener.close()
        if self.fd >= 0:
            os.close(self.fd)


def test_a_terminal_is_given_to_the_console_socket(bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    bundle.process["consoleSize"] = {"height": 33, "width": 77}
    receiver = Receiver(bundle.folder)
    try:
        bundle.create(
            "test -t 0 && echo tty; stat -c %n:%t /dev/console; echo to > /dev/tty; stty size;"
            " readlink /proc/self/fd/1",
            "--console-socket",
            receiver.path,
        )
        receiver.thread.join(20)
        assert receiver.fd >= 0
        bundle.ok("start", bundle.id)
        lines = receiver.said().splitlines()
    finally:
        receiver.close()

    assert lines[:3] == ["tty", "/dev/console:88", "to"]
    assert lines[-1] == "/dev/pts/0"


def test_a_terminal_has_the_size_that_was_asked_for(bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    bundle.process["consoleSize"] = {"height": 33, "width": 77}
    receiver = Receiver(bundle.folder)
    try:
        bundle.create("exit 0", "--console-socket", receiver.path)
        receiver.thread.join(20)
        size = os.get_terminal_size(receiver.fd)
    finally:
        receiver.close()

    assert (size.lines, size.columns) == (33, 77)


def test_a_console_of_the_image_is_never_followed(bundle: Bundle) -> None:
    """A dangling /dev/console of the image made crun create what it names on the host."""
    bundle.process["terminal"] = True
    del bundle.mounts[1]
    target = bundle.folder / "made"
    (bundle.rootfs / "dev" / "console").symlink_to(target)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(bundle.folder / "console"))
        listener.listen()
        bundle.fails(*bundle.made("create", "--console-socket", str(bundle.folder / "console")))

    assert not target.exists()


def test_a_terminal_on_a_read_only_root_that_brings_its_dev(bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    bundle.config["root"]["readonly"] = True
    (bundle.rootfs / "dev" / "pts").mkdir()
    del bundle.mounts[1]
    receiver = Receiver(bundle.folder)
    try:
        bundle.create("echo said > /dev/console", "--console-socket", receiver.path)
        receiver.thread.join(20)
        bundle.ok("start", bundle.id)
        assert receiver.said() == "said\n"
    finally:
        receiver.close()


def test_a_terminal_with_the_machines_dev(bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    bundle.mounts[1] = {
        "destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind", "rprivate"],
    }  # fmt: skip
    before = os.stat("/dev/console").st_rdev if os.path.exists("/dev/console") else None
    receiver = Receiver(bundle.folder)
    try:
        bundle.create("echo said > /dev/console", "--console-socket", receiver.path)
        receiver.thread.join(20)
        bundle.ok("start", bundle.id)
        assert receiver.said() == "said\n"
    finally:
        receiver.close()
    if before is not None:
        assert os.stat("/dev/console").st_rdev == before


@pytest.mark.parametrize("terminal", [True, False])
def test_terminals_and_sockets_come_in_pairs(bundle: Bundle, terminal: bool) -> None:
    bundle.process["terminal"] = terminal
    words = [] if terminal else ["--console-socket", "/nowhere"]

    assert "--console-socket" in bundle.fails(*bundle.made("create", *words))


def test_a_console_socket_that_nobody_listens_at(bundle: Bundle) -> None:
    bundle.process["terminal"] = True

    assert "/nowhere" in bundle.fails(*bundle.made("create", "--console-socket", "/nowhere"))


def test_a_terminal_needs_a_devpts(bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    del bundle.mounts[2]

    assert "devpts" in bundle.fails(*bundle.made("create", "--console-socket", "/nowhere"))


def in_a_user_namespace(bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    for key in ("uidMappings", "gidMappings"):
        bundle.linux[key] = [
            {"containerID": 0, "hostID": 200000, "size": 1000},
            {"containerID": 5000, "hostID": 300000, "size": 1},
        ]
    # What is the container's must belong to it.
    subprocess.run(["chown", "-hR", "200000:200000", str(bundle.rootfs)], check=True)


@pytest.mark.kernel("user")
def test_a_user_namespace(bundle: Bundle) -> None:
    in_a_user_namespace(bundle)
    bundle.process["user"] = {"uid": 5000, "gid": 7, "additionalGids": [8]}
    out = bundle.run(
        "id -u; id -G; cat /proc/self/uid_map; ls /dev; : > /dev/null && echo null;"
        " cat /proc/self/setgroups; hostname"
    )

    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:4] == ["5000", "7 8", "0 200000 1000", "5000 300000 1"]
    assert {"null", "zero", "full", "random", "urandom", "tty", "pts"} <= set(lines)
    assert "allow" in lines


@pytest.mark.kernel("user")
def test_root_of_a_user_namespace_is_nobody_outside(bundle: Bundle) -> None:
    in_a_user_namespace(bundle)
    bundle.mount("/host", "bind", "/etc", "rbind")
    out = bundle.run(
        "touch /tmp/mine; stat -c %u /tmp/mine; touch /host/passwd.evil 2>&1; id -u;"
        " mknod /tmp/node c 1 3 2>&1; mount -t tmpfs x /tmp 2>&1; true"
    )

    assert out.splitlines()[0] == "0"
    assert (bundle.rootfs / "tmp" / "mine").stat().st_uid == 200000
    assert not Path("/etc/passwd.evil").exists()


@pytest.mark.kernel("user")
def test_a_user_namespace_needs_mappings(bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})

    assert "uidMappings and gidMappings" in bundle.run_fails()


@pytest.mark.parametrize("command", ["run", "exec"])
def test_a_program_that_is_not_root_opens_its_streams_again(bundle: Bundle, command: str) -> None:
    bundle.process["user"] = {"uid": 1000, "gid": 100}
    script = "echo out > /dev/stdout; echo err > /dev/stderr; stat -L -c %u:%g /dev/stdout"
    if command == "run":
        bundle.script(script)
        done = bundle.call(*bundle.made("run"))
    else:
        bundle.create("sleep 1000")
        bundle.ok("start", bundle.id)
        done = bundle.call("exec", bundle.id, "sh", "-c", script)

    assert (done.stdout, done.stderr) == ("out\n1000:100\n", "err\n")


def test_dev_null_stays_everybodys(bundle: Bundle) -> None:
    before = os.stat("/dev/null")
    bundle.process["user"] = {"uid": 1000, "gid": 100}
    bundle.run("true", stdin=subprocess.DEVNULL)

    after = os.stat("/dev/null")
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
