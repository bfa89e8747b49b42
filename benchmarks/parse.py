"""How fast Dockerfiles are read: files a second on one core, and the slowest file.

    python benchmarks/parse.py [DIR...]

DIR: real Dockerfiles, whatever their names; files that are refused are left out. Without any, the
fixtures. Where the package `dockerfile` (BuildKit's parser as an extension) is installed, it reads
the same files in the same run. Promise: 0.2 of its speed, never under 600 files a second of 1.6 KB,
no file over 150 ms.
"""

from __future__ import annotations

import importlib
import os
import statistics
import sys
import time
from collections.abc import Callable

from buildkit_py.core.errors import InputError
from buildkit_py.dockerfile.parse import parse, source_of

ROUNDS = 5


def corpus(folders: list[str]) -> list[bytes]:
    """Return the Dockerfiles below some folders that can be read."""
    found = []
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in sorted(names):
                with open(os.path.join(place, name), "rb") as file:
                    data = file.read()
                try:
                    parse(source_of(name, data))
                    data.decode()
                except (InputError, UnicodeDecodeError):
                    continue
                found.append(data)
    return found


def seconds(read: Callable[[bytes], object], files: list[bytes]) -> tuple[float, float]:
    """Return the median time of a round over all files, and the longest of a single file."""
    rounds, slowest = [], 0.0
    for _ in range(ROUNDS):
        start = before = time.perf_counter()
        for data in files:
            read(data)
            now = time.perf_counter()
            slowest = max(slowest, now - before)
            before = now
        rounds.append(before - start)
    return statistics.median(rounds), slowest


def main() -> None:
    fixtures = os.path.join(os.path.dirname(__file__), "..", "fixtures", "dockerfiles")
    files = corpus(sys.argv[1:] or [fixtures])
    if not files:
        sys.exit("no Dockerfile was found")
    size = sum(map(len, files)) / len(files)
    print(f"{len(files)} files of {size:.0f} bytes on average")
    ours, slowest = seconds(lambda data: parse(source_of("f", data)), files)
    print(f"buildkit_py  {len(files) / ours:8.0f} files/s   slowest {slowest * 1000:.1f} ms")
    try:
        peer = importlib.import_module("dockerfile")
    except ImportError:
        print("dockerfile   is not installed")
        return
    theirs, slowest = seconds(lambda data: peer.parse_string(data.decode()), files)
    print(f"dockerfile   {len(files) / theirs:8.0f} files/s   slowest {slowest * 1000:.1f} ms")
    print(f"ratio        {theirs / ours:8.2f}")


if __name__ == "__main__":
    main()
