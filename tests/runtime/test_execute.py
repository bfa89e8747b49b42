"""Further programs in a container, a first process that reaps, capabilities, a nameserver."""

from __future__ import annotations

import json

import pytest

from tests.runtime.conftest import Inside

# A container that waits, and what further programs in it print.
PREPARE = """
from buildkit_py.runtime.execute import plan_execution
import contextlib

@contextlib.contextmanager
def waiting(*args, **fields):
    container = box.container(*args, **fields)
    null = os.open(os.devnull, os.O_RDWR)
    with box.zygote.create(container, stdin=null, stdout=null, stderr=null) as process:
        process.start()
        yield container, process
    os.close(null)

def execute(container, process, *args, env=(), cwd="/", account=Account(), end=True,
            terminal=False):
    plan = plan_execution(container, box.host, args, env=env, cwd=cwd, account=account,
                          terminal=terminal)
    read, write = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    added = box.zygote.execute(process, plan, stdin=null, stdout=write, stderr=write)
    os.close(write)
    os.close(null)
    if not end:
        os.close(read)
        return added
    with added:
        added.start()
        exit = added.wait()
    with open(read, errors="replace") as file:
        return exit, file.read()
"""


@pytest.fixture(params=[pytest.param("root", marks=pytest.mark.root),
                        pytest.param("rootless", marks=pytest.mark.rootless)])  # fmt: skip
def anybody(request: pytest.FixtureRequest) -> Inside:
    """Run lines with `waiting` and `execute`: as root, and as an unprivileged user."""
    name = "inside" if request.param == "root" else "inside_rootless"
    call: Inside = request.getfixturevalue(name)
    return lambda lines: call(PREPARE + lines)


def test_a_further_program_is_in_all_namespaces_and_has_no_more_rights(anybody: Inside) -> None:
    out = anybody("""
with waiting("sleep", "600", hostname="box") as (container, process):
    exit, text = execute(container, process, "sh", "-c",
        "hostname; id -u; pwd; echo $A $HOME; grep CapEff /proc/self/status | cut -f2;"
        "ls /proc/self/fd | tr '\\n' ' '", env=("A=1",), cwd="/bin")
    def spaces(of):
        return [os.readlink(f"/proc/{of.pid}/ns/{n}") for n in "mnt pid net ipc uts cgroup".split()]
    added = execute(container, process, "sleep", "600", end=False)
    added.start()
    groups = [open(f"/proc/{p.pid}/cgroup").read() for p in (process, added)]
    print(json.dumps([exit.code, text.split(), spaces(process) == spaces(added),
                      groups[0] == groups[1]]))
    added.close()
""")  # fmt: skip

    code, words, same, grouped = json.loads(out)
    assert code == 0
    assert words == ["box", "0", "/bin", "1", "/root", "00000000a80425fb", "0", "1", "2", "3"]
    assert same
    assert grouped


def test_its_end_is_told_as_dockers_numbers(anybody: Inside) -> None:
    out = anybody("""
with waiting("sleep", "600") as (container, process):
    exits = [execute(container, process, *words)[0] for words in (
        ("true",), ("sh", "-c", "exit 7"), ("sh", "-c", "kill -TERM $$"), ("nothing",), ("/bin",))]
print(json.dumps([[e.code, e.signal, e.message] for e in exits]))
""")

    assert json.loads(out) == [
        [0, 0, ""],
        [7, 0, ""],
        [143, 15, ""],
        [127, 0, "`nothing`: executable file not found in $PATH"],
        [126, 0, "`/bin`: Permission denied"],
    ]


def test_it_dies_with_the_container_and_the_zygote_waits_for_nobody(anybody: Inside) -> None:
    out = anybody("""
with waiting("sleep", "600") as (container, process):
    added = execute(container, process, "sleep", "600", end=False)
    added.start()
    process.kill()
    print(process.wait().code, added.wait().code)
    added.close()
    try:
        execute(container, process, "true")
    except HostError as error:
        print(error.code)
with waiting("sleep", "600") as (container, process):
    added = execute(container, process, "sleep", "600", end=False)
    added.start()
    box.zygote.close()
    print(process.exit)
""")

    assert out.splitlines()[:2] == ["137 137", "runtime/not-running"]


def test_a_terminal_is_one_of_the_containers(anybody: Inside) -> None:
    out = anybody("""
with waiting("sleep", "600", terminal=True) as (container, process):
    added = execute(container, process, "sh", "-c", "tty; stty size; test -t 2 && echo yes",
                    end=False, terminal=True)
    added.start()
    text = b""
    try:
        while data := os.read(added.terminal, 1000):
            text += data
    except OSError:
        pass
    print(text.decode().split(), added.wait().code)
    added.close()
""")

    assert out.split()[0].startswith("['/dev/pts/")
    assert out.endswith("'yes'] 0\n")


def test_with_init_orphans_are_reaped_and_signals_end_the_program(anybody: Inside) -> None:
    out = anybody("""
with waiting("sh", "-c", "sleep 600", init=True) as (container, process):
    time.sleep(0.2)
    _, text = execute(container, process, "sh", "-c",
        "(sleep 0.1 &) ; sleep 0.4; ps -o pid,comm,stat; ls /proc/1/fd | wc -l")
    process.kill(signal.SIGTERM)
    print(text, process.wait().code)
print(run("sh", "-c", "exit 9", init=True).exit.code)
print(run("nothing", init=True).exit)
print(run("cat", "/proc/self/stat", init=True).out.split()[0])
""")

    assert "143\n9\n" in out
    assert "Exit(code=127, signal=0, oom=False, message='`nothing`: exec" in out
    assert " Z" not in out
    assert "\n0\n" in out
    assert out.rstrip().endswith("\n2")


def test_a_limit_that_is_too_high_is_kept_as_far_as_it_can_be(anybody: Inside) -> None:
    out = anybody("""
import resource
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
end = run("sh", "-c", "ulimit -Sn; ulimit -Hn", rlimits={"nofile": (100, 1 << 31)})
print(end.out.split() == ["100", str(most)], end.warnings == [
    "the limit `nofile=100:2147483648` is above what this machine lets us set:"
    f" it is `100:{most}`"])
""")

    assert out == "True True\n"


def test_the_first_process_of_init_tells_nothing_of_the_host(anybody: Inside) -> None:
    out = anybody("""
script = "cat /proc/1/cmdline /proc/1/comm /proc/1/environ; readlink /proc/1/exe"
text = run("sh", "-c", script, "é" * 5000, init=True, env=("A=b c",)).out
words = text.split("\\0")
print(words[:4], words[4] == script, words[5] == "é" * 5000)
print(words[6].split("\\n")[0], "A=b c" in words, "HOME=/root" in words)
program = text.rpartition("\\0")[2]
print(program in ("/\\n", "/memfd:python (deleted)\\n"), sys.executable in text, "buildkit" in text)
""")

    assert out.splitlines() == [
        "['/sbin/docker-init', '--', 'sh', '-c'] True True",
        "docker-init True True",
        "True False False",
    ]


def test_the_pipe_ends_when_the_program_runs(anybody: Inside) -> None:
    out = anybody("""
import select
container = box.container("sleep", "600")
null = os.open(os.devnull, os.O_RDWR)
with box.zygote.create(container, stdin=null, stdout=null, stderr=null) as process:
    print(select.select([process.executed], [], [], 0.2)[0])
    process.start()
    print(os.read(process.executed, 1), open(f"/proc/{process.pid}/comm").read())
""")

    assert out.split() == ["[]", "b''", "sleep"]


def test_capabilities_are_what_was_asked_for(anybody: Inside) -> None:
    out = anybody("""
def bits(*names):
    return sh("grep CapEff /proc/self/status | cut -f2", capabilities=frozenset(names)).out.strip()
print(bits(), bits("CHOWN"), bits("NET_ADMIN", "CHOWN"))
try:
    bits("FLY")
except InputError as error:
    print(error.code)
""")

    assert out.split() == [
        "0000000000000000",
        "0000000000000001",
        "0000000000001001",
        "runtime/unknown-capability",
    ]


def test_questions_to_the_nameserver_inside_arrive_at_sockets_handed_out(anybody: Inside) -> None:
    out = anybody("""
import socket
container = box.container("sh", "-c",
    "busybox nslookup question 127.0.0.11 >/dev/null 2>&1 &"
    "echo other | nc 127.0.0.11 53; sleep 600",
    nameserver=True)
read, write = os.pipe()
null = os.open(os.devnull, os.O_RDWR)
with box.zygote.create(container, stdin=null, stdout=write, stderr=write) as process:
    process.start()
    while len(process.sockets) < 2:
        process.advance()
    udp, tcp = process.sockets
    for each in process.sockets:
        each.settimeout(5)
    data, peer = udp.recvfrom(100)
    connection, peer2 = tcp.accept()
    print(b'question' in data, peer[0], connection.recv(100))
    connection.sendall(b"more\\n")
    connection.close()
    text = b""
    while b"\\n" not in text:
        text += os.read(read, 100)
    print(text)
""")

    assert out.splitlines() == [
        "True 127.0.0.1 b'other\\n'",
        "b'more\\n'",
    ]
