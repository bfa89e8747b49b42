"""`config` of 2, 50 and 500 services, by us and by docker compose, in one run.

    python -m benchmarks.compose_config [--rounds N] [--ours CMD] [--peer CMD]

docker compose is `docker-compose` from PATH, which needs no daemon for this. Promised: 1.2 of its
time for two services.
"""

from __future__ import annotations

import argparse
import functools
import shlex
import shutil
import sys
from pathlib import Path

from benchmarks import peers, results

PROMISED = 1.2
SERVICE = """\
  svc{number}:
    image: busybox
    command: sleep 3600
    ports: ["{port}:80"]
    volumes: [data:/data, ./files:/files:ro]
    environment: {{MODE: production, WHO: "$HOME"}}
    labels: [com.example.part={number}]
    networks: [front, back]
    healthcheck: {{test: [CMD, "true"], interval: 5s}}
    deploy: {{resources: {{limits: {{memory: 50m}}}}}}
    depends_on: [{before}]
"""
SMALL = """\
services:
  web:
    image: nginx
    ports: ["8080:80"]
    environment: {MODE: production}
    depends_on: [db]
  db:
    image: postgres
    volumes: [data:/var/lib/postgresql/data]
volumes:
  data:
"""


def project(count: int) -> str:
    """Return a compose file of many services, each of which needs the one before it."""
    parts = ["services:\n"]
    for number in range(count):
        before = f"svc{number - 1}" if number else ""
        parts.append(SERVICE.format(number=number, port=8000 + number, before=before))
    return "".join(parts) + "networks: {front: , back: }\nvolumes: {data: }\n"


def tools(options: argparse.Namespace) -> dict[str, peers.Tool]:
    """Return ours, and docker compose where there is one."""
    env = peers.clean_environment()
    ours = [sys.executable, "-m", "buildkit_py.cli.pycompose"]
    found = {"pycompose": peers.Tool("pycompose", shlex.split(options.ours) or ours, env)}
    peer = shlex.split(options.peer) or ["docker-compose"]
    if shutil.which(peer[0]):
        found["docker compose"] = peers.Tool("docker compose", peer, env)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ours", default="", help="command to measure")
    parser.add_argument("--peer", default="", help="command of docker compose")
    options = parser.parse_args()
    kept: dict[str, object] = {}
    rows: list[dict[str, object]] = []
    with peers.workplace() as folder:
        for count in (2, 50, 500):
            path = Path(folder, f"{count}.yaml")
            path.write_text(SMALL if count == 2 else project(count))
            words = ("-f", str(path), "config", "--format", "json")
            commands = {
                name: functools.partial(tool.run, *words) for name, tool in tools(options).items()
            }
            rounds = options.rounds if count < 500 else max(3, options.rounds // 5)
            series = peers.interleave(rounds, commands)
            results.print_table(f"config of {count} services", series, first="pycompose")
            kept[str(count)] = results.figures(series)
            if count == 2:
                limits = {"docker compose": PROMISED}
                rows = results.ratios(series, limits, first="pycompose")
    path = results.keep("compose_config", {**kept, "ratios": rows})
    print(f"written to {path.relative_to(peers.TREE)}")


if __name__ == "__main__":
    main()
