"""`up -d` and `down` of ten services, and an `up -d` that has nothing to do.

    python -m benchmarks.compose_up [--rounds N] [--services N]

Beside docker compose on a daemon of its own, as users have it: bridges, firewall rules, shims.
Both make one network and ten containers of busybox from the same image, which end at once when
they are asked to; after each step it is checked that they run, or are gone. Needs root.

An `up -d` without work is measured twice: as it was left, which ours answers from its record of
the last one, and with a compose file that was touched since, which must be read and planned.

Promised by the clock: `up -d` and `down` at most 0.5 of docker compose's time, an `up -d` without
work 0.4; of a touched file nothing is promised. Processor time is not judged: docker's has the
daemon's in it, ours not the supervisor's, which ends on its own.
benchmarks/idle_memory.py measures what runs between the two.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import dockerd, peers, results

PROMISED = {"up -d and down": 0.5, "up -d without work": 0.4}
STEPS = (*PROMISED, "up -d of a touched file")
SERVICE = """\
  svc{number}:
    image: busybox:latest
    command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 1000 & wait $$!; done", {marker}]
"""


def project(count: int, marker: str) -> str:
    """Return a compose file of so many services that need nothing of each other.

    marker: a word in the command line of each service's program, by which it is found
    """
    services = (SERVICE.format(number=number, marker=marker) for number in range(count))
    return "services:\n" + "".join(services)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two programs, and its project.

    file: the compose file
    marker: the word that its services' programs have in their command line
    folder: below which all files of its daemon, or its state root, are
    daemon: pid of the daemon that is always there, or 0
    """

    tool: peers.Tool
    file: Path
    marker: str
    folder: Path
    daemon: int = 0

    def run(self, *words: str) -> peers.Sample:
        return self.tool.run("-f", str(self.file), *words)

    def up(self, expected: int) -> peers.Sample:
        sample = self.run("up", "-d")
        self._check(expected)
        return sample

    def touched(self, expected: int) -> peers.Sample:
        self.file.touch()
        return self.up(expected)

    def down(self) -> peers.Sample:
        sample = self.run("down")
        self._check(0)
        return sample

    def programs(self) -> list[int]:
        """Return the pids of the services' programs that run."""
        return [pid for pid in pids() if words_of(pid)[-1:] == [self.marker]]

    def _check(self, expected: int) -> None:
        found = len(self.programs())
        if found != expected:
            raise RuntimeError(f"{self.tool.name}: {found} programs run, not {expected}")


@contextmanager
def sides(folder: Path, many: int) -> Iterator[list[Side]]:
    """Give ours, installed as users have it, and docker compose where dockerd is there."""
    with ExitStack() as stack:
        built = peers.ours(folder)
        archive = peers.base_archive(built, folder)
        found: list[Side] = []
        tool = peers.Tool(
            "pycompose", [str(Path(built.command[0]).with_name("pycompose"))], built.env
        )
        found.append(_side(tool, folder / "ours", many, folder / "root"))
        if peers.has("dockerd"):
            daemon = stack.enter_context(dockerd.running(folder, archive, "busybox:latest"))
            found.append(
                _side(daemon.compose, folder / "theirs", many, folder / "dockerd", daemon.pid)
            )
        else:
            print("not measured: dockerd is not there", file=sys.stderr)
        for side in found:  # also after a failure: nothing of the project is left
            stack.callback(side.run, "down", "--timeout", "1")
        yield found


def _side(tool: peers.Tool, place: Path, many: int, folder: Path, daemon: int = 0) -> Side:
    place.mkdir()
    marker = f"{place.parent.name}-{place.name}"
    file = place / "compose.yaml"
    file.write_text(project(many, marker))
    return Side(tool, file, marker, folder, daemon)


def pids() -> list[int]:
    """Return all processes of this machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def words_of(pid: int) -> list[str]:
    """Return the command line of a process; empty when it has ended."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return text.decode(errors="replace").rstrip("\0").split("\0")


def _together(first: peers.Sample, second: peers.Sample) -> peers.Sample:
    return peers.Sample(first.wall + second.wall, first.cpu + second.cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--services", type=int, default=10)
    options = parser.parse_args()
    many = options.services
    with peers.workplace() as folder, sides(folder, many) as found:
        series = {title: {side.tool.name: peers.Series() for side in found} for title in STEPS}
        for number in range(options.rounds + 1):
            for side in found:
                up = side.up(many)
                nothing = side.up(many)
                touched = side.touched(many)
                down = side.down()
                if number:  # the first round warms caches
                    samples = (_together(up, down), nothing, touched)
                    for title, sample in zip(STEPS, samples, strict=True):
                        series[title][side.tool.name].samples.append(sample)
    rows: list[dict[str, object]] = []
    for title, each in series.items():
        results.print_table(f"{title}, {many} services", each, first="pycompose")
        if title in PROMISED:
            limits = {"docker compose": PROMISED[title]}
            compared = results.ratios(each, limits, first="pycompose", kinds=("wall",))
            rows += [{**row, "step": title} for row in compared]
    kept: dict[str, object] = {title: results.figures(each) for title, each in series.items()}
    path = results.keep("compose_up", {**kept, "ratios": rows})
    print(f"written to {path.relative_to(peers.TREE)}")


if __name__ == "__main__":
    main()
