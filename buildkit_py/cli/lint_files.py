"""Which files are Dockerfiles, and what is in them."""

from __future__ import annotations

import os
import sys

from buildkit_py.core.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildkit_py.cli.lint_config import Configs

PASSED_OVER = frozenset(
    ".git .hg .svn .venv venv node_modules __pycache__ .tox .nox .mypy_cache .ruff_cache".split()
)
"""Directories in which nobody keeps Dockerfiles of their own."""

_TEMPLATES = (".j2", ".jinja", ".jinja2", ".tmpl", ".tpl", ".template", ".erb", ".mustache", ".in")
_OTHERS = (".dockerignore", ".containerignore", ".md", ".orig", ".rej", ".swp", ".bak", "~")


def is_dockerfile(name: str) -> bool:
    """Tell whether a file is a Dockerfile by its name.

    `Dockerfile`, `Dockerfile.x`, `Dockerfile-x`, `x.Dockerfile`, the same with `Containerfile`;
    in lower case only `dockerfile` and `x.dockerfile`. Templates of them are none.
    """
    lower = name.lower()
    if lower.endswith(_TEMPLATES) or lower.endswith(_OTHERS):
        return False
    for word in ("Dockerfile", "Containerfile"):
        small = word.lower()
        if lower == small or lower.endswith("." + small):
            return True
        if name.startswith((word + ".", word + "-", word + "_")):
            return True
    return False


def discover(path: str, configs: Configs, errors: list[InputError]) -> Iterator[str]:
    """Yield the files that a path of the command line means, in order.

    errors: takes what is not there or cannot be read; it hides nothing else
    """
    if os.path.isdir(path):
        yield from _walk(path, configs, errors)
    elif path == "-" or os.path.exists(path):
        yield path  # also a pipe, as of a shell's <(…)
    else:
        errors.append(_unreadable(path, "no such file or directory"))


def _walk(folder: str, configs: Configs, errors: list[InputError]) -> Iterator[str]:
    left = [folder]
    while left:
        folder = left.pop()
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            errors.append(_unreadable(folder, error.strerror))
            continue
        below = []
        for entry in found:
            path = os.path.normpath(entry.path)
            if configs.excludes(path):
                continue
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in PASSED_OVER:
                    below.append(path)
            elif is_dockerfile(entry.name) and entry.is_file():
                yield path
        left += reversed(below)


def read_file(name: str) -> bytes:
    """Return the bytes of a file, at most one more than a Dockerfile may have."""
    most = 16 << 20
    try:
        if name == "-":
            return sys.stdin.buffer.read(most + 1)
        with open(name, "rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise _unreadable(name, error.strerror) from None


def ignore_text(name: str, context: str | None = None) -> tuple[str, bytes] | None:
    """Return name and bytes of the ignore file that goes with a Dockerfile.

    context: where the build's context is; None for the Dockerfile's directory, where most have it
    """
    if name == "-" and context is None:
        return None
    folder = os.path.dirname(name) if context is None else context
    for path in (f"{name}.dockerignore", os.path.join(folder, ".dockerignore")):
        try:
            with open(path, "rb") as file:
                return path, file.read(1 << 20)
        except OSError:
            continue
    return None


def _unreadable(name: str, why: str | None) -> InputError:
    from buildkit_py.cli.lint import BadFile

    return BadFile(f"cannot read `{name}`: {(why or 'unknown reason').lower()}")
