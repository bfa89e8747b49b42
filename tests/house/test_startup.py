"""A no-op build starts fast: it imports nothing heavy. docs/startup.md says what each costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from buildkit_py.build import recall
from buildkit_py.cli.pybuild import BUILD, make_request
from buildkit_py.cli.reader import read
from buildkit_py.core.digest import sha256
from tests.house.sources import TREE, imports, modules

HEAVY = """
    _hashlib argparse ast asyncio bisect collections contextlib copy ctypes dataclasses datetime
    email enum fcntl fnmatch functools glob hashlib heapq http importlib.metadata inspect ipaddress
    isal json jsonschema lark logging operator pathlib pickle platform pwd queue random re rich
    select selectors shlex shutil signal socket sqlite3 ssl string struct subprocess tempfile
    textwrap threading tokenize traceback typer typing urllib uuid warnings weakref yaml zlib
""".split()
"""What a no-op build does without."""

SCRIPT = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from buildkit_py.cli.pybuild import main
code = main()
print(code, *sorted(sys.modules))
"""


@pytest.fixture
def built(tmp_path: Path) -> list[str]:
    """The arguments of a build that has nothing to do: what it did is on record."""
    context, root = tmp_path / "context", tmp_path / "root"
    (context / "src").mkdir(parents=True)
    dockerfile, copied = context / "Dockerfile", context / "src/file"
    dockerfile.write_text("FROM scratch\nCOPY src /src\n")
    copied.write_text("content")
    image, manifest = sha256(b"image"), sha256(b"manifest")
    for digest in (image, manifest):
        blob = Path(recall.blob_path(str(root), digest))
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.touch()
    (root / "content/index.json").write_text("{}")
    arguments = ["--root", str(root), "-t", "a:1", str(context)]
    recall.keep(
        make_request(*read(BUILD, arguments)),
        recall.Answer(image, manifest, 8, ["[1/1] COPY src /src"], ["a warning"]),
        texts={str(dockerfile): sha256(dockerfile.read_bytes())},
        absent=[f"{dockerfile}.dockerignore", str(context / ".dockerignore")],
        files={str(copied.parent): recall.signature(os.lstat(copied.parent))},
        folders={
            str(copied.parent): ({"file": recall.signature(os.lstat(copied))}, set()),
        },
        names={},
        blobs={image: 0, manifest: 0},
    )
    return arguments


@pytest.mark.parametrize("progress", ["plain", "quiet"])
def test_a_no_op_build_imports_nothing_heavy(built: list[str], progress: str) -> None:
    done = subprocess.run(
        # Isolated and without site: what is counted is ours and not this environment's.
        [sys.executable, "-I", "-S", "-c", SCRIPT, TREE, f"--progress={progress}", *built],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )

    *_, answer = done.stdout.splitlines()
    code, *modules = answer.split()
    assert (code, "CACHED" in done.stderr) == ("0", progress == "plain"), done.stderr
    assert "buildkit_py.build.builder" not in modules
    assert sorted(set(HEAVY) & set(modules)) == []


def test_dataclasses_are_those_that_cost_nothing_to_define() -> None:
    users = [str(path) for path, module in modules() if "dataclasses" in imports(module)]

    assert users == ["buildkit_py/core/data.py"]
