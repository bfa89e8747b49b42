"""The same builds in BuildKit (recorded, dockerd 26.1) and in ours: files, configs, refusals.

Each folder of `fixtures/peers/buildkit-26.1` is a build: a Dockerfile, `build.json` with the files
of its context and its options, and `answer.json` with what BuildKit made of it. Where ours is to
differ, `differs` in build.json says why and `ours.json` has our answer; docs/dockerfile.md lists
these differences for users.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.peers.contexts import make_context
from tests.peers.listing import Layer, listing, plain_config, plain_history, read_archive

TREE = Path(__file__).resolve().parents[2]
CASES = TREE / "fixtures" / "peers" / "buildkit-26.1"
_KNOWN: dict[str, Layer] = {}

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """A state root with busybox:latest."""
    folder = Path(tempfile.mkdtemp(prefix="buildkit-py-peers-", dir="/var/tmp"))
    make = [sys.executable, f"{TREE}/fixtures/make_bases", "--root", f"{folder}/root", "busybox"]
    subprocess.run(make, check=True, capture_output=True)
    yield folder / "root"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def answers(root: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Any]]]:
    """Ours, by case: as many builds at once as there are processors, for the set is large."""
    wanted = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {name: pool.submit(answer, root, CASES / name) for name in wanted}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.iterdir()))
def test_ours_answers_as_buildkit_does(name: str, answers: dict[str, Future[Any]]) -> None:
    case = CASES / name
    build = json.loads((case / "build.json").read_text())
    theirs = json.loads((case / "answer.json").read_text())

    ours = answers[name].result()

    if "differs" in build:
        assert ours == json.loads((case / "ours.json").read_text()), build["differs"]
        assert comparable(ours, theirs) != comparable(theirs, theirs), "they agree now"
    else:
        assert comparable(ours, theirs) == comparable(theirs, theirs)


def comparable(one: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Return what must be equal: of a refusal, that there is one, and where."""
    if "error" not in one:
        return one
    return {"refused": True, "line": one["line"] if theirs.get("line") else None}


def answer(root: Path, case: Path) -> dict[str, Any]:
    """Build and return the image as data, or the refusal: its code and its line."""
    build = json.loads((case / "build.json").read_text())
    folder = Path(tempfile.mkdtemp(dir=root.parent))
    try:
        dockerfile = (case / "Dockerfile").read_bytes()
        make_context(folder / "context", dockerfile, build.get("files", {}))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "buildkit_py", "--root", root, "--progress", "plain"),
                *("--no-cache", "--network", "none", "-o", f"type=docker,dest={folder}/image.tar"),
                *build.get("options", ()),
                folder / "context",
            ],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE)},
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            assert done.returncode != 70, done.stderr
            code = re.search(r"^error\[([a-z/-]+)\]", done.stderr, re.M)
            line = re.findall(r"--> Dockerfile:(\d+)", done.stderr)
            assert code is not None, done.stderr
            return {"error": code[1], "line": int(line[-1]) if line else None}
        config, layers = read_archive(folder / "image.tar", _KNOWN)
        # BuildKit leaves the mount points of /proc and /sys behind where an image has none.
        changes = [
            {path: text for path, text in each.items() if path not in ("proc", "sys")}
            for each in listing(layers)
        ]
        return {
            "config": plain_config(config),
            "history": plain_history(config),
            "layers": changes,
        }
    finally:
        shutil.rmtree(folder)
