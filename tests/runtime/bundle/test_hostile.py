"""Attacks from the image and the program on who runs them: each is tried, and must fail."""

from __future__ import annotations

import ctypes
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.bundle.conftest import Bundle
from tests.stories.residue import eventually

pytestmark = pytest.mark.root

_ST_RDONLY = 1
_ADD_KEY, _KEYCTL = 248, 250
_JOIN_SESSION, _SEARCH, _SESSION = 1, 10, -3
SECRET = "bundle-test-secret"


def evil_in(bundle: Bundle, text: str = "") -> str:
    """Make a program that has the kernel run what the process before it ran; return its path."""
    (bundle.rootfs / "evil").write_text(f"#!/proc/self/exe\n{text}")
    (bundle.rootfs / "evil").chmod(0o755)
    return "/evil"


def is_read_only(pid: int) -> bool:
    """Say whether nobody can write to the file that a process runs, however they hold it."""
    held = os.open(f"/proc/{pid}/exe", os.O_PATH)
    try:
        with pytest.raises(OSError, match=r"Read-only|busy"):
            os.close(os.open(f"/proc/self/fd/{held}", os.O_WRONLY))
        return bool(os.fstatvfs(held).f_flag & _ST_RDONLY)
    finally:
        os.close(held)


def test_the_hosts_python_cannot_be_overwritten(bundle: Bundle) -> None:
    """CVE-2019-5736: `#!/proc/self/exe` runs the file that the container's first process was."""
    bundle.process["args"] = [evil_in(bundle)]
    bundle.create()

    assert is_read_only(bundle.state()["pid"])
    assert "/evil" in bundle.fails("start", bundle.id)


@pytest.mark.parametrize("how", ["run", "exec"])
def test_what_runs_as_the_hosts_python_has_it_read_only(bundle: Bundle, how: str) -> None:
    """The image has all that Python needs, and its script says so from within."""
    for place in {"/usr", sys.base_prefix}:
        bundle.mount(place, "bind", place, "rbind", "ro")
    for name in ("lib", "lib64"):
        (bundle.rootfs / name).symlink_to(f"usr/{name}")
    text = "import os\nfd = os.open('/proc/self/exe', 0)\nprint(os.fstatvfs(fd).f_flag & 1)\n"
    words = [evil_in(bundle, text)]
    if how == "exec":
        bundle.create("sleep 60")
        bundle.ok("start", bundle.id)
        assert bundle.ok("exec", bundle.id, *words) == "1\n"
    else:
        bundle.process["args"] = words
        assert bundle.ok(*bundle.made("run")) == "1\n"


SEARCH = f"""
import ctypes
libc = ctypes.CDLL(None)
print(libc.syscall({_KEYCTL}, {_SEARCH}, {_SESSION}, b"user", b"{SECRET}", 0) > 0)
"""


@pytest.mark.parametrize("how", ["kept", "run", "exec"])
def test_keys_of_the_caller_are_not_inside(bundle: Bundle, how: str) -> None:
    """The caller's session keyring holds tokens of its services; `kept`: because it was wanted."""

    def hold_a_key() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.syscall(_KEYCTL, _JOIN_SESSION, None) > 0
        assert libc.syscall(_ADD_KEY, b"user", SECRET.encode(), b"x", 1, _SESSION) > 0

    bundle.mount("/usr", "bind", "/usr", "rbind", "ro")
    for name in ("lib", "lib64"):
        (bundle.rootfs / name).symlink_to(f"usr/{name}")
    search = ["/usr/bin/python3", "-I", "-S", "-c", SEARCH]
    if how == "exec":
        bundle.create("sleep 60")
        bundle.ok("start", bundle.id)
        words = ["exec", bundle.id, *search]
    else:
        bundle.process["args"] = search
        words = list(bundle.made("run", *(["--no-new-keyring"] if how == "kept" else [])))

    assert bundle.ok(*words, preexec_fn=hold_a_key) == f"{how == 'kept'}\n"


@pytest.mark.parametrize("how", ["run", "exec"])
def test_nothing_is_typed_into_the_callers_terminal(bundle: Bundle, how: str) -> None:
    """TIOCSTI: a program whose controlling terminal is the caller's could type commands."""
    script = "(: < /dev/tty) 2>&1; true"
    if how == "exec":
        bundle.create("sleep 60")
        bundle.ok("start", bundle.id)
        words = ["exec", bundle.id, "sh", "-c", script]
    else:
        bundle.script(script)
        words = list(bundle.made("run"))
    near, far = pty.openpty()
    try:
        out = bundle.ok(*words, stdin=far, start_new_session=True)
    finally:
        os.close(near)
        os.close(far)

    assert "/dev/tty" in out
    assert "No such device or address" in out


def test_python_of_the_image_is_never_imported(bundle: Bundle) -> None:
    """A module that is imported late would come from the container's root, with our rights."""
    mark = bundle.rootfs / "imported"
    for folder in ("usr/lib/python3", "usr/lib/python3.11", "usr/local/lib/python3.11", ""):
        place = bundle.rootfs / folder
        place.mkdir(parents=True, exist_ok=True)
        for name in ("os", "json", "resource", "ctypes", "encodings", "buildkit_py", "traceback"):
            (place / f"{name}.py").write_text("open('/imported', 'w').close()\n")
    bundle.process["cwd"] = "/"
    bundle.process["user"]["additionalGids"] = [7]
    bundle.process["rlimits"] = [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    bundle.create("sleep 60")
    bundle.ok("start", bundle.id)
    bundle.ok("exec", bundle.id, "true")
    assert bundle.call("exec", bundle.id, "nowhere").returncode == 127

    assert not mark.exists()


def test_what_the_image_calls_its_account_files_is_not_waited_for(bundle: Bundle) -> None:
    """A FIFO in the place of /etc/passwd: runc 1.5 and crun 1.28 wait at it for ever."""
    bundle.create("sleep 60")
    bundle.ok("start", bundle.id)
    os.mkfifo(bundle.rootfs / "etc" / "passwd")

    assert "/etc/passwd" in bundle.fails("exec", "--user", "1:2", bundle.id, "id", "-u")


@pytest.mark.parametrize("text", ["", ":1", "1:", "-1", "4294967295", "99999999999", "0x0", "+0"])
def test_a_user_that_is_none_is_never_root(bundle: Bundle, text: str) -> None:
    """CVE-2026-30892: `-u -1` and `-u 4294967296` were 0."""
    bundle.create("sleep 60")
    bundle.ok("start", bundle.id)

    done = bundle.call("exec", f"--user={text}", bundle.id, "id", "-u")

    assert (done.returncode, done.stdout) == (255, "")


def test_a_process_that_joins_cannot_be_looked_into(bundle: Bundle) -> None:
    """CVE-2016-9962: until its program runs, a further process is ours: memory, descriptors."""
    seen = bundle.rootfs / "seen"
    seen.mkdir()
    watch = (
        "while :; do for p in /proc/[0-9]*; do"
        " case $p in /proc/1|/proc/self) continue;; esac;"
        " ls -l $p/fd >> /seen/fd 2>/dev/null; cat $p/environ >> /seen/env 2>/dev/null; done; done"
    )
    bundle.create(watch)
    bundle.ok("start", bundle.id)
    environment = {**os.environ, "CALLERS_TOKEN": "a-token-of-the-caller"}
    for _ in range(5):
        bundle.ok("exec", bundle.id, "true", env=environment)

    assert eventually((seen / "fd").exists)
    assert "a-token-of-the-caller" not in (seen / "env").read_text()
    inside = (seen / "fd").read_text()
    assert "pyruntime" not in inside
    assert str(bundle.states) not in inside


def test_a_cgroup_cannot_be_written_from_inside(bundle: Bundle) -> None:
    """CVE-2022-0492: a release_agent of v1 is run by the kernel, as the host's root."""
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "ro")
    script = (
        "for f in $(find /sys/fs/cgroup -name release_agent -o -name cgroup.procs); do"
        " (echo /evil > $f) 2>/dev/null && echo written $f; done; mount -t cgroup -o memory x /tmp"
        " 2>/dev/null && echo mounted; true"
    )

    assert bundle.run(script) == ""


def test_no_descriptor_of_the_host_is_inherited_by_what_it_runs(bundle: Bundle) -> None:
    """CVE-2024-21626: directories of the host that the caller had open."""
    leaked = [os.open("/", os.O_RDONLY | os.O_DIRECTORY) for _ in range(5)]
    try:
        bundle.script("ls /proc/self/fd | wc -l")
        run = bundle.ok(*bundle.made("run"), pass_fds=leaked)
        bundle.create("sleep 60", pass_fds=leaked)
        bundle.ok("start", bundle.id)
        further = bundle.ok(
            "exec", bundle.id, "sh", "-c", "ls /proc/self/fd | wc -l", pass_fds=leaked
        )
    finally:
        for fd in leaked:
            os.close(fd)

    assert (run, further) == ("4\n", "4\n")  # the fourth is the one that `ls` reads


def test_a_dangling_link_for_the_console_makes_nothing_outside(bundle: Bundle) -> None:
    """crun makes the target of a dangling /dev/console on the host."""
    target = bundle.folder / "made"
    bundle.config["mounts"] = [
        each for each in bundle.mounts if each["destination"] not in ("/dev", "/dev/pts")
    ]
    (bundle.rootfs / "dev" / "console").symlink_to(f"../../../../../..{target}")
    bundle.process["terminal"] = True
    subprocess.run(bundle.argv(*bundle.made("run")), capture_output=True, timeout=30, check=False)

    assert not target.exists()
    assert not Path("/made").exists()
