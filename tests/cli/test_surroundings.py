"""Our programs under odd circumstances: closed descriptors, another locale, no directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rootless import TREE

SEEN = "import os, sys; from buildkit_py.cli.common import prepare; prepare(); "


def python(code: str, before: Callable[[], object], **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SEEN + code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TREE), **env},
        preexec_fn=before,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("closed", [(0,), (2,), (0, 2), (0, 1, 2)])
def test_a_closed_standard_descriptor_is_no_file_of_ours(
    closed: tuple[int, ...], tmp_path: Path
) -> None:
    code = (
        "sys.stderr.write('lost'); sys.stdout.flush(); sys.stderr.flush(); "
        f"fd = os.open({str(tmp_path / 'file')!r}, os.O_RDWR | os.O_CREAT); "
        "os._exit(0 if fd > 2 else 1)"
    )

    def close() -> None:
        for each in closed:
            os.close(each)

    done = python(code, close)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_bytes() == b""


def test_file_names_are_utf8_whatever_the_locale_is() -> None:
    code = "print(sys.getfilesystemencoding(), sys.argv[1:])"

    done = python(code, lambda: None, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")

    assert done.stdout == "utf-8 []\n"


def test_a_removed_working_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()

    def leave() -> None:
        os.chdir(tmp_path / "gone")
        os.rmdir(tmp_path / "gone")

    code = "from buildkit_py.cli.pybuild import main; sys.exit(main(['.']))"
    done = python(code, leave)

    assert done.returncode == 3
    assert "error[cli/no-directory]" in done.stderr
