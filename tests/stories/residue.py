"""What a program leaves behind: processes, mounts, control groups, links, tables, unfinished files.

Processes are found by descent. While a test watches, orphans become children of this process
(PR_SET_CHILD_SUBREAPER), so whatever a killed program left is among our descendants.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from buildkit_py.runtime.kernel import netlink, nfnetlink
from buildkit_py.runtime.network.uplink import LINK_PREFIX

_PR_SET_CHILD_SUBREAPER = 36


def eventually(holds: Callable[[], object], *, seconds: float = 15) -> bool:
    """Wait for what the kernel, or a program that was told to end, does a moment later."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def parents() -> dict[int, int]:
    """Return the parent of every process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[int(name)] = int(stat.rpartition(")")[2].split()[1])
    return found


def descendants(of: int) -> set[int]:
    """Return all that descend from a process."""
    above = parents()
    found: set[int] = set()
    while more := {pid for pid, parent in above.items() if parent in found | {of}} - found:
        found |= more
    return found


def children(of: int) -> list[int]:
    return [pid for pid, parent in parents().items() if parent == of]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def on_the_network() -> set[str]:
    """The links and tables of ours that the host's own namespace shows; none without root."""
    if os.geteuid() != 0:
        return set()
    with netlink.Netlink() as kernel, nfnetlink.Nftables() as tables:
        names = [link.name for link in kernel.links()] + [table.name for table in tables.tables()]
    return {name for name in names if name.startswith(LINK_PREFIX)}


def groups_of(zygotes: set[int]) -> list[str]:
    """Return the control groups that containers of these zygotes were in."""
    found = []
    for folder, folders, _ in os.walk("/sys/fs/cgroup"):
        if os.path.basename(folder) == "buildkit-py":
            found += [each for each in folders if any(f"-{pid}-" in each for pid in zygotes)]
            folders.clear()
    return found


def mounts() -> set[str]:
    """The mounts of this namespace that may be ours; those of other programs come and go."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {line for line in lines if "buildkit-py" in line or " - overlay " in line}


class Watch:
    """What was there before; `nothing_is_left` says what came and stayed.

    Other programs of ours may run meanwhile: their links go when they end.
    """

    def __init__(self) -> None:
        self.processes = descendants(os.getpid())
        self.network = on_the_network()
        self.mounts = mounts()

    def left(self) -> list[str]:
        new = descendants(os.getpid()) - self.processes
        for pid in new:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
        return sorted(f"{pid}: {command(pid)}" for pid in new)

    def check(self) -> None:
        """Fail when a process, a link, a table or a mount stays."""
        assert eventually(lambda: not self.left()), self.left()
        came = on_the_network() - self.network
        assert eventually(lambda: not came & on_the_network(), seconds=60), came
        assert mounts() <= self.mounts


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch what the programs that are started in the block leave."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield Watch()
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def unfinished(root: Path) -> list[str]:
    """Return what lies in a store's folder for unfinished things."""
    return os.listdir(root / "tmp") if (root / "tmp").exists() else []
