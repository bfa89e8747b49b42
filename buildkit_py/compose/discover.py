"""Which files a project is made of, where its paths start, and which variables it sees.

The order of docker compose: the process's environment wins over `--env-file`s, the last of which
wins over the others; without any, `.env` beside the first file is read, and the one of the current
folder before it, since it may say `COMPOSE_FILE`. Files are `-f`, else `COMPOSE_FILE`, else the
first known name in this folder or one above it, with an override file beside it.
Source: compose-go cli/options.go.
"""

from __future__ import annotations

import posixpath

from buildkit_py.compose.errors import BadEnvFile, BadName, BadValue, NoFile, Unreadable
from buildkit_py.compose.normal import join
from buildkit_py.core.source import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    class Files(Protocol):
        """The files of this machine, or of a test."""

        def read(self, path: str) -> bytes:
            """Return a file's bytes; `-` is standard input. Raises OSError."""

        def kind(self, path: str) -> str:
            """Return `file`, `folder`, `pipe` (a named one, too), or "" where there is nothing."""

        def real(self, path: str) -> str:
            """Return the path behind symbolic links."""


FILE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_NAMES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
MOST_FILE_BYTES = 16 * 1024 * 1024
"""A compose file or environment file that is larger is none."""

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class World:
    """What a project is loaded from besides its own files.

    files: the seam to the disk
    environment: the process's variables
    folder: the current folder; home: the user's, or None
    """

    def __init__(
        self, files: Files, environment: Mapping[str, str], folder: str, home: str | None
    ) -> None:
        self.files = files
        self.environment = environment
        self.folder = folder
        self.home = home

    def absolute(self, path: str) -> str:
        return path if posixpath.isabs(path) else join(self.folder, path)

    def shown(self, path: str) -> str:
        """Return a path as messages have it: short below the current folder."""
        inside = self.folder.rstrip("/") + "/"
        return path.removeprefix(inside)

    def source(self, path: str) -> Source:
        """Read a text. Raises Unreadable."""
        shown = "standard input" if path == "-" else self.shown(path)
        try:
            data = self.files.read(path)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise Unreadable(f"cannot read `{shown}`: {why}") from error
        if len(data) > MOST_FILE_BYTES:
            raise Unreadable(f"`{shown}` is larger than {MOST_FILE_BYTES >> 20} MiB")
        try:
            return Source(shown, data.decode().removeprefix("\ufeff"))
        except UnicodeDecodeError as error:
            raise Unreadable(f"`{shown}` is no UTF-8: byte {error.start}") from error


class Request:
    """What a command line asks for; see `docker compose --help`.

    profiles: replaces COMPOSE_PROFILES when it is not empty
    """

    def __init__(
        self,
        files: Sequence[str] = (),
        *,
        folder: str = "",
        name: str = "",
        profiles: Sequence[str] = (),
        env_files: Sequence[str] = (),
    ) -> None:
        self.files = list(files)
        self.folder = folder
        self.name = name
        self.profiles = list(profiles)
        self.env_files = list(env_files)


class Found:
    """The files of a project, its folder and what it sees.

    files: absolute paths, or `-`
    environment: variables, also those of `.env`
    """

    def __init__(
        self, files: list[str], folder: str, environment: dict[str, str], profiles: list[str]
    ) -> None:
        self.files = files
        self.folder = folder
        self.environment = environment
        self.profiles = profiles


def discover(request: Request, world: World, warn: Callable[[str], None]) -> Found:
    """Return the files that a request means; the list is empty when there are none."""
    files = [each if each == "-" else world.absolute(each) for each in request.files]
    environment = dict(world.environment)
    environment.setdefault("PWD", world.folder)

    def folder() -> str:
        if request.folder:
            return world.absolute(request.folder)
        first = next((each for each in files if each != "-"), None)
        return posixpath.dirname(first) if first else world.folder

    given = request.env_files or [
        each for each in world.environment.get("COMPOSE_ENV_FILES", "").split(",") if each
    ]
    read: list[str] = []

    def read_env_files() -> None:
        paths = [world.absolute(each) for each in given] or _default_env_file(folder(), world)
        if paths != read:
            found = env_files(paths, environment, world, warn)
            for name, value in found.items():
                environment.setdefault(name, value)
            read[:] = paths

    read_env_files()
    if not files and "COMPOSE_FILE" in environment:
        separator = environment.get("COMPOSE_PATH_SEPARATOR") or ":"
        for each in environment["COMPOSE_FILE"].split(separator):
            path = each if each == "-" else world.absolute(each)
            if path != "-" and not world.files.kind(path):
                raise NoFile(f"there is no file `{world.shown(path)}`", hint="see `COMPOSE_FILE`")
            files.append(path)
    if not files:
        files = _search(folder(), world, warn)
    read_env_files()
    profiles = request.profiles or [
        each.strip() for each in environment.get("COMPOSE_PROFILES", "").split(",")
    ]
    return Found(files, folder(), environment, [each for each in profiles if each])


def _default_env_file(folder: str, world: World) -> list[str]:
    disabled = world.environment.get("COMPOSE_DISABLE_ENV_FILE")
    if disabled is not None:
        if disabled not in _TRUE + _FALSE:
            raise BadValue(f"`COMPOSE_DISABLE_ENV_FILE` is on or off, not `{disabled}`")
        if disabled in _TRUE:
            return []
    path = join(folder, ".env")
    return [path] if world.files.kind(path) in ("file", "pipe") else []


def _search(folder: str, world: World, warn: Callable[[str], None]) -> list[str]:
    """Return the compose file in a folder or one above it, and the override file beside it."""
    while True:
        found = _present(FILE_NAMES, folder, world)
        if found:
            if len(found) > 1:
                warn(f"found several compose files: {', '.join(map(world.shown, found))}")
                warn(f"using {world.shown(found[0])}")
            overrides = _present(OVERRIDE_NAMES, folder, world)
            if len(overrides) > 1:
                warn(f"found several override files: {', '.join(map(world.shown, overrides))}")
                warn(f"using {world.shown(overrides[0])}")
            return [found[0], *overrides[:1]]
        above = posixpath.dirname(folder)
        if above == folder:
            return []
        folder = above


def _present(names: Sequence[str], folder: str, world: World) -> list[str]:
    paths = [join(folder, name) for name in names]
    return [path for path in paths if world.files.kind(path)]


def env_files(
    paths: Sequence[str],
    environment: Mapping[str, str],
    world: World,
    warn: Callable[[str], None],
) -> dict[str, str]:
    """Return the variables of environment files, of which later ones win.

    environment: variables from around, which the files' own values may name
    """
    from buildkit_py.compose.dotenv import parse

    values: dict[str, str] = {}

    def lookup(name: str) -> str | None:
        around = environment.get(name)
        return values.get(name) if around is None else around

    for path in paths:
        kind = world.files.kind(path)
        if kind not in ("file", "pipe"):
            what = "is a directory" if kind else "is not there"
            raise BadEnvFile(f"the environment file `{world.shown(path)}` {what}")
        parse(world.source(path), lookup, values, warn)
    return values


def normal_name(text: str) -> str:
    """Return a text as a project's name: lower case, only `[a-z0-9_-]`, no sign in front."""
    kept = (c for c in text.lower() if c in "abcdefghijklmnopqrstuvwxyz0123456789_-")
    return "".join(kept).lstrip("_-")


def check_name(name: str, origin: str) -> str:
    """Return a project's name that was asked for. Raises BadName when it is none."""
    if normal_name(name) != name:
        raise BadName(
            f"invalid project name `{name}`",
            hint=f"{origin}: lower-case letters, digits, `-` and `_`, the first a letter or digit",
        )
    return name
