"""`--chmod`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from buildkit_py.build.modes import BadMode, apply_mode


@pytest.mark.parametrize(
    "text",
    ["u+x", "a-w", "go=", "u=rwX,go=rX", "+X", "=r", "g+s", "u+s,o+t", "u=g", "o=u-w", "a=rx,u+w"],
)
@pytest.mark.parametrize("mode", [0o644, 0o755, 0o600, 0o4711, 0o000])
def test_it_is_what_chmod_does(tmp_path: Path, text: str, mode: int) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(mode)
    script = 'umask 0; exec chmod -- "$1" "$2"'
    subprocess.run(["sh", "-c", script, "sh", text, str(file)], check=True)

    assert apply_mode(text, mode, directory=False) == os.stat(file).st_mode & 0o7777


@pytest.mark.parametrize("text", ["99999", "0o644", "8", "u", "u+q", "", "rwx", "77777", "u+x,"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadMode):
        apply_mode(text, 0o644, directory=False)
