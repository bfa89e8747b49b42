"""The most memory that a command and all its descendants have resident at one time.

A process of its own runs the command and looks at the whole tree every two milliseconds: the sum
of the resident sets (pages that two processes share are counted twice), and each process's own
high-water mark. What it returns is the greater of the greatest sum seen and of the main process's
high-water mark, which the kernel keeps, so that no peak between two looks is missed there.

It is a small process because the kernel's `ru_maxrss` begins, in a child, at what its parent had.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.peers import Tool

_LAUNCHER = """
import os, sys, time
tell = int(sys.argv[1])
def look(pid):
    total = 0
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    total = int(line.split()[1])
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                for child in file.read().split():
                    total += look(child)
    except OSError:
        pass
    return total
null = os.open(os.devnull, os.O_RDWR)
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=[
    (os.POSIX_SPAWN_DUP2, null, each) for each in (0, 1, 2)])
peak = 0
while True:
    done, status, usage = os.wait4(pid, os.WNOHANG)
    if done:
        break
    peak = max(peak, look(pid))
    time.sleep(0.002)
os.write(tell, f"[{status}, {peak}, {usage.ru_maxrss}]".encode())
"""


def peak_megabytes(tool: Tool, arguments: Sequence[str]) -> float:
    """Run a build once and return its peak in MB (10^6 bytes)."""
    argv = [*tool.command, *arguments]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, "1", *argv],
        env=tool.env,
        stdout=subprocess.PIPE,
        check=True,
    )
    status, peak, highest = json.loads(done.stdout)
    if status:
        raise RuntimeError(f"{argv} failed with {status}")
    return float(max(peak, highest)) * 1024 / 1e6
