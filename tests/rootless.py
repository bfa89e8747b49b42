"""An unprivileged user for tests: who it is, and how a program is started as that user.

Run as root, the tests use the account `bkpytest`, which `./check` makes and gives subordinate
ids. Run as anybody else, the unprivileged user is that person. Both see the same interface.
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ACCOUNT = "bkpytest"
TREE = Path(__file__).resolve().parent.parent
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What a distribution gives everybody, virtual machines often do not: open nodes for tun and fuse.
# They are put into a mount namespace that only the started program sees, and vanish with it.
_NODES = """\
put_node() {
  if [ -e "/dev/$1" ]; then
    mknod -m "$4" /mnt/node c "$2" "$3"
    mount --bind /mnt/node "/dev/$1"
    rm /mnt/node
  fi
}
mount -t tmpfs -o mode=0755 buildkit-py-test /mnt
put_node net/tun 10 200 %s
put_node fuse 10 229 0666
umount -l /mnt"""


@dataclass(frozen=True, slots=True)
class RootlessUser:
    """The user, and a home and run-time directory made for one test.

    python: an interpreter that this user can execute, with the project's dependencies
    folder: a directory of the user's own, on a disk and not on a tmpfs; holds home and run
    has_tun: may open /dev/net/tun; only root can take that away
    """

    name: str
    uid: int
    gid: int
    python: str
    folder: Path
    has_tun: bool = True

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        """The clean environment that programs get; nothing of the tests' own reaches them."""
        environment = {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "LOGNAME": self.name,
            "PATH": PATH,
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self.folder / "tmp"),
            "USER": self.name,
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
        }
        if readable_by_all(TREE / "buildkit_py"):
            environment["PYTHONPATH"] = str(TREE)
        return environment

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs `argv` as the user; its pid becomes that of `argv`."""
        if os.geteuid() != 0:
            return list(argv)
        become = [
            "setpriv",
            f"--reuid={self.uid}",
            f"--regid={self.gid}",
            "--init-groups",
            "--inh-caps=-all",
        ]
        enter = ["unshare", "--mount", "--propagation=private", "sh", "-euc"]
        nodes = _NODES % ("0666" if self.has_tun else "0600")
        return [*enter, f'{nodes}\nexec "$@"', "sh", *become, *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout_seconds: float = 120,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as the user and return what it wrote.

        env: added to the clean environment
        check: fail the test, showing the output, when the exit status is not 0
        """
        done = subprocess.run(
            self.command(argv),
            env={**self.environment, **(env or {})},
            cwd=cwd or self.home,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
        )
        if check:
            assert done.returncode == 0, (
                f"{list(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a program as the user, with pipes for its output; the caller ends it."""
        return subprocess.Popen(
            self.command(argv),
            env={**self.environment, **(env or {})},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def take(self, path: Path) -> Path:
        """Copy a file or directory into the home, as the user's own, and return the copy."""
        copy = self.home / path.name
        if path.is_dir():
            shutil.copytree(path, copy, symlinks=True)
        else:
            shutil.copy2(path, copy)
        if os.geteuid() == 0:
            _give(copy, self.uid, self.gid)
        return copy


def _give(path: Path, uid: int, gid: int) -> None:
    os.lchown(path, uid, gid)
    if path.is_dir() and not path.is_symlink():
        for each in path.iterdir():
            _give(each, uid, gid)


def readable_by_all(path: Path) -> bool:
    """Tell whether anybody may reach and read `path`."""
    parents = path.resolve().parents
    return all(each.stat().st_mode & 0o001 for each in parents) and bool(
        path.stat().st_mode & 0o004
    )


def interpreter() -> str:
    """Return the interpreter for the unprivileged user, which may not exist yet."""
    if os.geteuid() != 0:
        return sys.executable
    return (
        os.environ.get("BUILDKIT_PY_TEST_PYTHON") or "/var/tmp/buildkit-py-check-0/venv/bin/python"
    )


@functools.cache
def why_no_rootless() -> str:
    """Return the reason why rootless tests cannot run here, or an empty text."""
    try:
        account = pwd.getpwnam(ACCOUNT) if os.geteuid() == 0 else pwd.getpwuid(os.getuid())
    except KeyError:
        return f"there is no user `{ACCOUNT}`; ./check makes it"
    for tool in ("newuidmap", "newgidmap"):
        if shutil.which(tool) is None:
            return f"`{tool}` is missing; ./check installs package uidmap"
    for table in ("/etc/subuid", "/etc/subgid"):
        if not _has_ids(Path(table), account):
            return f"`{account.pw_name}` has no subordinate ids in {table}"
    with tempfile.TemporaryDirectory(prefix="buildkit-py-") as folder:
        user = RootlessUser(
            account.pw_name, account.pw_uid, account.pw_gid, interpreter(), Path(folder)
        )
        os.chmod(folder, 0o755)
        tried = ["unshare", "--user", "--map-root-user", user.python, "-c", "import lark"]
        done = subprocess.run(
            user.command(tried),
            env={"PATH": PATH},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    if done.returncode != 0:
        return f"`{' '.join(tried)}` fails as `{account.pw_name}`: {done.stderr.strip()[-200:]}"
    return ""


def _has_ids(table: Path, account: pwd.struct_passwd) -> bool:
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return False
    owners = (account.pw_name, str(account.pw_uid))
    fields = (line.split(":") for line in lines)
    return any(
        len(each) == 3 and each[0] in owners and int(each[2] or 0) >= 65536 for each in fields
    )


@contextmanager
def unprivileged() -> Iterator[RootlessUser]:
    """Give the user with fresh directories, and remove them afterwards."""
    as_root = os.geteuid() == 0
    account = pwd.getpwnam(ACCOUNT) if as_root else pwd.getpwuid(os.getuid())
    # /tmp may be a tmpfs and pytest's own directories have mode 0700.
    folder = Path(tempfile.mkdtemp(prefix="buildkit-py-test-", dir="/var/tmp"))
    try:
        for each in ("home", "run", "tmp"):
            (folder / each).mkdir(mode=0o700)
        if as_root:
            _give(folder, account.pw_uid, account.pw_gid)
        yield RootlessUser(account.pw_name, account.pw_uid, account.pw_gid, interpreter(), folder)
    finally:
        if as_root:
            shutil.rmtree(folder)
        else:
            # What subordinate ids own, only the namespace they are mapped in can remove.
            remove = ["unshare", "--map-auto", "--map-root-user", "rm", "-rf", str(folder)]
            subprocess.run(remove, check=True)
