"""Thirty trivial RUN steps on busybox, none of them cached, beside BuildKit's.

    python -m benchmarks.run_steps [--rounds N] [--ours CMD]

Promised: at most 0.4 of BuildKit's time a step. Both with `--network=none`, because the daemon
that is started here has no bridge; ours is also measured with its default network.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import peers, results

STEPS = 30
LIMITS = {"docker buildx": 0.4}


def write_context(folder: Path) -> Path:
    folder.mkdir()
    steps = "".join(f"RUN echo {number} > /{number}\n" for number in range(STEPS))
    (folder / "Dockerfile").write_text(f"FROM busybox:latest\n{steps}")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--ours", default="", help="command to measure instead of an installation")
    options = parser.parse_args()
    with peers.workplace() as folder, ExitStack() as stack:
        ours = peers.ours(folder, command=options.ours)
        context = str(write_context(folder / "context"))
        arguments = ("--no-cache", "-t", "steps:1", context)
        archive = peers.base_archive(ours, folder)
        runs: dict[str, Callable[[], peers.Sample]] = {
            "pybuild": lambda: ours.run("--network=none", *arguments),
            "pybuild, own network": lambda: ours.run(*arguments),
        }
        if peers.has("dockerd"):
            docker = stack.enter_context(peers.buildkit(folder, archive))
            docker.run(*arguments)
            runs[docker.name] = lambda: docker.run(*arguments)
        ours.run(*arguments)
        series = peers.interleave(options.rounds, runs)
        results.print_table(f"{STEPS} RUN steps, not cached", series)
        for each, taken in series.items():
            print(f"{each}: {taken.wall * 1000 / STEPS:.1f} ms a step")
        rows = results.ratios(series, LIMITS)
        path = results.keep(
            "run_steps", {"steps": STEPS, "series": results.figures(series), "ratios": rows}
        )
        print(f"written to {path.relative_to(peers.TREE)}")


if __name__ == "__main__":
    main()
