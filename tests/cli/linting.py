"""`pybuild lint`, run in an empty directory."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from buildkit_py.cli.pybuild import main

BAD = "FROM debian\n"
GOOD = "FROM debian:12\n"


class Done(NamedTuple):
    code: int
    out: str
    err: str


Lint = Callable[..., Done]


@pytest.fixture
def lint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Lint:
    """Run `pybuild lint` in an empty directory, with a cache of its own."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "HADOLINT_", "CI_"))]:
        monkeypatch.delenv(name)

    def run(*arguments: str, files: dict[str, str] | None = None, stdin: str | None = None) -> Done:
        for name, text in (files or {}).items():
            path = work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = main(["lint", *arguments])
        return Done(code, *capsys.readouterr())

    return run
