"""A build in which nothing changed, beside BuildKit's, buildah's, and Python doing nothing.

    python -m benchmarks.noop [--rounds N] [--ours CMD]

Promised (docs/startup.md): at most 0.35 of `docker buildx build`, 0.1 of `buildah build --layers`,
5 times `python -c pass` of the same environment, 30 MB.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import memory, peers, results

DOCKERFILE = """\
FROM busybox:latest
ENV A=1 B=2
LABEL org.example.name=noop
WORKDIR /app
COPY a.txt b.txt ./
COPY src ./src
RUN echo hello > /hello
EXPOSE 8080
USER 1000
CMD ["sh", "-c", "cat /hello"]
"""
LIMITS = {"docker buildx": 0.35, "buildah": 0.1, "python -c pass": 5.0}
MEMORY_LIMIT_MB = 30.0


def write_context(folder: Path) -> Path:
    """Make a context with ten instructions and thirty files."""
    (folder / "src").mkdir(parents=True)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    for name in ("a.txt", "b.txt", *(f"src/{number}.txt" for number in range(28))):
        (folder / name).write_text(f"{name}\n")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ours", default="", help="command to measure instead of an installation")
    options = parser.parse_args()
    with peers.workplace() as folder, ExitStack() as stack:
        ours = peers.ours(folder, command=options.ours)
        context = str(write_context(folder / "context"))
        time.sleep(0.1)  # a record is kept only of files older than a tick of the clock
        python = peers.Tool(
            "python -c pass", [str(Path(ours.command[0]).parent / "python")], ours.env
        )
        tools = [ours]
        archive = peers.base_archive(ours, folder)
        if peers.has("dockerd"):
            tools.append(stack.enter_context(peers.buildkit(folder, archive)))
        if peers.has("buildah"):
            tools.append(stack.enter_context(peers.buildah(folder, archive)))
        arguments = ("-t", "noop:1", context)
        runs: dict[str, Callable[[], peers.Sample]] = {}
        for tool in tools:
            tool.run(*arguments)
            tool.run(*arguments)
            runs[tool.name.partition(" (")[0]] = lambda tool=tool: tool.run(*arguments)  # type: ignore[misc]
        runs[python.name] = lambda: python.run("-c", "pass")
        series = peers.interleave(options.rounds, runs)
        results.print_table("no-op rebuild, 10 instructions", series)
        rows = results.ratios(series, LIMITS)
        peak = memory.peak_megabytes(ours, arguments)
        print(f"{'ok  ' if peak <= MEMORY_LIMIT_MB else 'MISS'} peak memory: {peak:.1f} MB")
        path = results.keep(
            "noop",
            {
                "series": results.figures(series),
                "ratios": rows,
                "peak_mb": round(peak, 1),
                "tools": [tool.name for tool in tools],
            },
        )
        print(f"written to {path.relative_to(peers.TREE)}")


if __name__ == "__main__":
    main()
