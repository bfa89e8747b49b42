"""Resident memory of all that keeps an idle project of ten services.

    python -m benchmarks.idle_memory [--looks N] [--services N]

Of ours: the project's supervisor, its zygote, and whatever else is between the services' programs
and process 1 or names our state root. Of docker's: dockerd with its descendants (containerd), and
the shims. The services' own programs, which are the same on both sides, count on neither; nor
do the shells through which docker's are started here.

**Rss** is what is resident, pages that processes share counted in each of them; **Pss** shares
them out (proc_pid_smaps(5)). Promised: both at most 0.4 of dockerd's, containerd's and its shims'.
Needs root.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks import compose_up, peers, results

PROMISED = 0.4
KINDS = ("Rss", "Pss")
_SECONDS_BETWEEN = 1.0


def keepers(side: compose_up.Side) -> list[int]:
    """Return the processes that keep a project running, without its programs."""
    found: set[int] = set(peers.tree(side.daemon)) if side.daemon else set()
    own = {pid for program in side.programs() for pid in peers.tree(program)}
    for program in side.programs():
        found.update(ancestors(program))
    needle = str(side.folder)
    found.update(
        pid for pid in compose_up.pids() if any(needle in word for word in compose_up.words_of(pid))
    )
    return sorted(found - own)


def ancestors(pid: int) -> list[int]:
    """Return a process's parent, its parent, and so on; process 1 is not among them."""
    found = []
    while (pid := parent(pid)) > 1:
        found.append(pid)
    return found


def parent(pid: int) -> int:
    """Return the parent of a process, or 0 when it has ended; proc_pid_stat(5), field 4."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])


def memory(pids: Iterable[int]) -> dict[str, int]:
    """Return the resident and the proportional memory of processes, in KiB."""
    total = dict.fromkeys(KINDS, 0)
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            key, _, value = line.partition(":")
            if key in total:
                total[key] += int(value.split()[0])
    return total


def look(side: compose_up.Side, many: int, looks: int) -> dict[str, object]:
    """Start a project, look at it some times, and end it. Returns medians, in KiB."""
    side.up(many)
    seen = []
    pids = []
    for _ in range(looks):
        # Rest, not waiting for something: a look at an idle project is one at some distance.
        time.sleep(_SECONDS_BETWEEN)
        pids = keepers(side)
        if not pids:
            raise RuntimeError(f"{side.tool.name}: nothing keeps the project")
        seen.append(memory(pids))
    names = [Path(compose_up.words_of(pid)[0]).name for pid in pids]
    each = {f"{name} {pid}": memory([pid])["Rss"] for name, pid in zip(names, pids, strict=True)}
    side.down()
    medians = {kind: statistics.median(one[kind] for one in seen) for kind in KINDS}
    return {**medians, "processes": len(pids), "each": each}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--looks", type=int, default=5)
    parser.add_argument("--services", type=int, default=10)
    options = parser.parse_args()
    many = options.services
    with peers.workplace() as folder, compose_up.sides(folder, many) as found:
        kept = {side.tool.name: look(side, many, options.looks) for side in found}
    print(f"\nidle project of {many} services, KiB")
    print(f"{'':24}{'resident':>10}{'shared out':>12}   processes")
    for name, one in kept.items():
        print(f"{name:24}{one['Rss']:10}{one['Pss']:12}   {one['processes']}")
    rows = []
    if len(kept) == 2:
        ours, theirs = kept["pycompose"], kept["docker compose"]
        for kind in KINDS:
            ratio = float(str(ours[kind])) / float(str(theirs[kind]))
            holds = ratio <= PROMISED
            verdict = "ok  " if holds else "MISS"
            print(f"{verdict} {kind} of ours / docker's: {ratio:.3f} (≤ {PROMISED})")
            rows.append({"of": kind, "ratio": round(ratio, 4), "limit": PROMISED, "holds": holds})
    path = results.keep("idle_memory", {"kib": kept, "ratios": rows})
    print(f"written to {path.relative_to(peers.TREE)}")


if __name__ == "__main__":
    main()
