"""Compose files of tests live in memory; nothing here touches the disk but the fixtures."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from buildkit_py.compose.discover import Request, World
from buildkit_py.compose.load import Loading, Options, load
from buildkit_py.compose.project import Project, prepare
from buildkit_py.compose.render import to_json
from buildkit_py.compose.tree import plain

FOLDER = "/projects/app"


class Memory:
    """Files by absolute path."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)

    def read(self, path: str) -> bytes:
        if path in self.files:
            return self.files[path]
        if self.kind(path) == "folder":
            raise IsADirectoryError(21, "Is a directory", path)
        raise FileNotFoundError(2, "No such file or directory", path)

    def kind(self, path: str) -> str:
        if path in self.files:
            return "file"
        below = path.rstrip("/") + "/"
        return "folder" if any(name.startswith(below) for name in self.files) else ""

    def real(self, path: str) -> str:
        return path


def world(
    files: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
    folder: str = FOLDER,
) -> World:
    """Return a world whose files are named relative to its folder."""
    absolute = {posixpath.join(folder, name): text.encode() for name, text in files.items()}
    return World(Memory(absolute), environment or {}, folder, "/root")


def loaded(
    files: Mapping[str, str] | str,
    *names: str,
    environment: Mapping[str, str] | None = None,
    request: Request | None = None,
) -> Project:
    """Return the project that is in some files; a text is `compose.yaml`."""
    given = {"compose.yaml": files} if isinstance(files, str) else files
    loading = Loading(world(given, environment), Options())
    return prepare(request or Request(), loading, names)


def config(files: Mapping[str, str] | str, *names: str, **options: Any) -> dict[str, Any]:
    """Return what `pycompose config --format json` would print, as data."""
    found: dict[str, Any] = json.loads(to_json(loaded(files, *names, **options).values))
    return found


def service(text: str, **options: Any) -> dict[str, Any]:
    """Return the canonical form of the service `s` whose keys are given as YAML."""
    body = "\n".join(f"    {line}" for line in text.strip("\n").split("\n"))
    found: dict[str, Any] = config(f"services:\n  s:\n    image: b\n{body}\n", **options)
    return dict(found["services"]["s"])


def tree(files: Mapping[str, str] | str, options: Options | None = None) -> Any:
    """Return the canonical tree of some files as plain data."""
    given = {"compose.yaml": files} if isinstance(files, str) else files
    return plain(load(Request(), Loading(world(given), options or Options())).root)


FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "compose"
