"""COPY of twenty thousand files, beside BuildKit's: cold, unchanged, and with one file changed.

    python -m benchmarks.copy_many [--rounds N] [--files N] [--ours CMD]

Promised: at most 150 MB.
"""

from __future__ import annotations

import argparse
import itertools
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import memory, peers, results

FOLDERS = 200
MEMORY_LIMIT_MB = 150.0


def write_context(folder: Path, files: int) -> Path:
    """Make a context with files of about 1 KB, all different, in many directories."""
    for number in range(FOLDERS):
        (folder / "many" / f"{number:03}").mkdir(parents=True)
    for number in range(files):
        text = "".join(f"line {line} of file {number}\n" for line in range(45))
        (folder / "many" / f"{number % FOLDERS:03}" / f"{number:05}.txt").write_text(text)
    (folder / "Dockerfile").write_text("FROM busybox:latest\nCOPY many /many\n")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--ours", default="", help="command to measure instead of an installation")
    options = parser.parse_args()
    with peers.workplace() as folder, ExitStack() as stack:
        ours = peers.ours(folder, command=options.ours)
        context = write_context(folder / "context", options.files)
        archive = peers.base_archive(ours, folder)
        tools = [ours]
        if peers.has("dockerd"):
            tools.append(stack.enter_context(peers.buildkit(folder, archive)))
        arguments = ("-t", "many:1", str(context))
        numbers = itertools.count()

        def change() -> None:
            (context / "many" / "000" / "00000.txt").write_text(f"changed {next(numbers)}\n")
            time.sleep(0.1)  # so that the record of the build before can be kept

        change()
        for tool in tools:
            tool.run(*arguments)
        data: dict[str, object] = {"files": options.files}
        cold = peers.interleave(
            options.rounds,
            {tool.name: lambda tool=tool: tool.run("--no-cache", *arguments) for tool in tools},  # type: ignore[misc]
        )
        for tool in tools:
            tool.run(*arguments)
        same = peers.interleave(
            options.rounds + 2,
            {tool.name: lambda tool=tool: tool.run(*arguments) for tool in tools},  # type: ignore[misc]
        )
        one = {tool.name: peers.Series() for tool in tools}
        for _ in range(options.rounds):
            change()
            for tool in tools:
                one[tool.name].samples.append(tool.run(*arguments))
        for title, series in (("cold", cold), ("unchanged", same), ("one file changed", one)):
            results.print_table(f"COPY of {options.files} files, {title}", series)
            data[title] = results.figures(series)
        peak = memory.peak_megabytes(ours, ("--no-cache", *arguments))
        print(f"{'ok  ' if peak <= MEMORY_LIMIT_MB else 'MISS'} peak memory, cold: {peak:.1f} MB")
        path = results.keep("copy_many", {**data, "peak_mb": round(peak, 1)})
        print(f"written to {path.relative_to(peers.TREE)}")


if __name__ == "__main__":
    main()
