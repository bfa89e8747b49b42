"""`up -d` and `down` of ten services, and an `up -d` that has nothing to do; and idle memory.

    python -m benchmarks.compose_up [--rounds N] [--services N]

Beside docker compose on a daemon of its own, as users have it: bridges, firewall rules, shims.
Both make one network and ten containers of busybox from the same image, which end at once when
they are asked to; after each step it is checked that they run, or are gone. Needs root.

Promised: `up -d` and `down` at most 0.5 of docker compose's time, an `up -d` without work 0.4;
resident memory of the idle project 0.4 of dockerd's, containerd's and its shims'.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import dockerd, peers, results

PROMISED = {"up -d and down": 0.5, "up -d without work": 0.4}
PROMISED_MEMORY = 0.4
PROGRAM = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $$!; done"


def project(count: int) -> str:
    """Return a compose file of so many services that need nothing of each other."""
    lines = ["services:"]
    for number in range(count):
        lines += [
            f"  svc{number}:",
            "    image: busybox:latest",
            f"    command: [sh, -c, {PROGRAM!r}]".replace("'trap", '"trap').replace(
                "done'", 'done"'
            ),
        ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two programs: its command on a project, and how its containers are counted."""

    tool: peers.Tool
    words: tuple[str, ...]
    count: Callable[[], int]

    def up(self, expected: int) -> peers.Sample:
        sample = self.tool.run(*self.words, "up", "-d")
        assert self.count() == expected, f"{self.tool.name}: {self.count()} run"
        return sample

    def down(self) -> peers.Sample:
        sample = self.tool.run(*self.words, "down")
        assert self.count() == 0, f"{self.tool.name}: {self.count()} run still"
        return sample


def _together(first: peers.Sample, second: peers.Sample) -> peers.Sample:
    return peers.Sample(first.wall + second.wall, first.cpu + second.cpu)


def programs() -> int:
    """Return how many of the services' programs run on this machine."""
    found = 0
    for pid in _pids():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        found += words[:1] == [b"sh"] and len(words) > 2 and words[2].startswith(b"trap 'exit 0'")
    return found


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def memory(pids: Iterable[int]) -> dict[str, int]:
    """Return resident and proportional memory of processes, in KiB; see proc_pid_smaps(5)."""
    total = {"Rss": 0, "Pss": 0}
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            key, _, value = line.partition(":")
            if key in total:
                total[key] += int(value.split()[0])
    return total


def keepers(names: tuple[str, ...]) -> list[int]:
    """Return the processes whose command line has one of these words."""
    found = []
    for pid in _pids():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if any(name in command for name in names) and pid != os.getpid():
            found.append(pid)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--services", type=int, default=10)
    options = parser.parse_args()
    many = options.services
    with peers.workplace() as folder, ExitStack() as stack:
        built = peers.ours(folder)
        archive = peers.base_archive(built, folder)
        text = project(many)
        for name in ("ours", "theirs"):
            (folder / name).mkdir()
            (folder / name / "compose.yaml").write_text(text)
        program = str(Path(built.command[0]).with_name("pycompose"))
        tool = peers.Tool("pycompose", [program], built.env)
        sides = [Side(tool, ("-f", str(folder / "ours/compose.yaml")), programs)]
        if peers.has("dockerd"):
            daemon = stack.enter_context(dockerd.running(folder, archive, "busybox:latest"))
            words = ("-f", str(folder / "theirs/compose.yaml"))
            sides.append(Side(daemon.compose, words, programs))
        else:
            print("not measured: dockerd is not there", file=sys.stderr)
        work = {side.tool.name: peers.Series() for side in sides}
        idle = {side.tool.name: peers.Series() for side in sides}
        kept_memory: dict[str, dict[str, int]] = {}
        for number in range(options.rounds + 1):
            for side in sides:
                up = side.up(many)
                nothing = side.up(many)
                if number == 0:
                    words_of = {
                        "pycompose": ("buildkit_py",),
                        "docker compose": ("dockerd", "containerd"),
                    }[side.tool.name]
                    kept_memory[side.tool.name] = memory(keepers(words_of))
                down = side.down()
                if number:  # the first round warms caches
                    work[side.tool.name].samples.append(_together(up, down))
                    idle[side.tool.name].samples.append(nothing)
        rows = []
        for title, series in (("up -d and down", work), ("up -d without work", idle)):
            results.print_table(f"{title}, {many} services", series, first="pycompose")
            limits = {"docker compose": PROMISED[title]}
            rows += [
                {**row, "step": title} for row in results.ratios(series, limits, first="pycompose")
            ]
        for name, figures in kept_memory.items():
            print(f"{name}: {figures['Rss']} KiB resident, {figures['Pss']} KiB proportional")
        if len(kept_memory) == 2:
            ratio = kept_memory["pycompose"]["Rss"] / kept_memory["docker compose"]["Rss"]
            verdict = "ok  " if ratio <= PROMISED_MEMORY else "MISS"
            print(
                f"{verdict} resident memory of ours / docker's: {ratio:.3f} (≤ {PROMISED_MEMORY})"
            )
        path = results.keep(
            "compose_up",
            {
                "up and down": results.figures(work), "without work": results.figures(idle),
                "memory_kib": kept_memory, "ratios": rows,
            },
        )  # fmt: skip
        print(f"written to {path.relative_to(peers.TREE)}")


if __name__ == "__main__":
    main()
