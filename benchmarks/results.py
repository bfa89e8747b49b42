"""Figures as a table for people, and as JSON beside it for the next release to compare with."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.peers import TREE, Series

FOLDER = TREE / "benchmarks" / "results"


def print_table(title: str, series: Mapping[str, Series], *, first: str = "pybuild") -> None:
    """Print medians in ms, and how many times as long as the first each takes."""
    print(f"\n{title}")
    print(f"{'':24}{'wall ms':>10}{'cpu ms':>10}{'ours/wall':>11}{'ours/cpu':>10}   runs")
    ours = series[first]
    for name, each in series.items():
        print(
            f"{name:24}{each.wall * 1000:10.1f}{each.cpu * 1000:10.1f}"
            f"{ours.wall / each.wall:11.3f}{ours.cpu / max(each.cpu, 1e-9):10.3f}"
            f"{len(each.samples):7}"
        )


def figures(series: Mapping[str, Series]) -> dict[str, object]:
    """Return medians and all runs in ms."""
    return {
        name: {
            "wall_ms": round(each.wall * 1000, 2),
            "cpu_ms": round(each.cpu * 1000, 2),
            "runs_wall_ms": [round(sample.wall * 1000, 2) for sample in each.samples],
            "runs_cpu_ms": [round(sample.cpu * 1000, 2) for sample in each.samples],
        }
        for name, each in series.items()
    }


def ratios(
    series: Mapping[str, Series],
    limits: Mapping[str, float],
    *,
    first: str = "pybuild",
    kinds: Sequence[str] = ("wall", "cpu"),
) -> list[dict[str, object]]:
    """Compare ours with each named peer; print and return whether the promise holds."""
    rows: list[dict[str, object]] = []
    for name, limit in limits.items():
        if name not in series:
            print(f"not measured: {name} is not there")
            continue
        for kind in kinds:
            ratio = getattr(series[first], kind) / max(getattr(series[name], kind), 1e-9)
            holds = ratio <= limit
            print(f"{'ok  ' if holds else 'MISS'} {kind} of ours / {name}: {ratio:.3f} (≤ {limit})")
            rows.append(
                {"peer": name, "of": kind, "ratio": round(ratio, 4), "limit": limit, "holds": holds}
            )
    return rows


def keep(program: str, data: Mapping[str, object]) -> Path:
    """Add a program's figures to the file of today's commit, and return its path."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{datetime.now(UTC):%Y-%m-%d}-{_commit()}.json"
    kept: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
    kept["machine"] = {
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "load": [round(each, 2) for each in os.getloadavg()],
    }
    kept[program] = dict(data)
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return path


def _commit() -> str:
    command: Sequence[str] = ("git", "-C", str(TREE), "rev-parse", "--short", "HEAD")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
