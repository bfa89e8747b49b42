"""`pybuild parse FILE...`: show how Dockerfiles are read.

Exit 0 if every file is a Dockerfile, else 2. Complaints go to stderr, or into the JSON.
"""

from __future__ import annotations

import sys

HELP = """\
Usage: pybuild parse [OPTIONS] FILE...

Show how Dockerfiles are read: instructions, flags, words, heredocs and lines.
A FILE of `-` is standard input.

Options:
      --format string   `tree` (default), or `json`: one object per line per file
      --help            Print this text
"""


def run(argv: list[str]) -> int:
    """Parse the files that `argv` names, print what was found, and return the exit code."""
    try:
        paths, form = _arguments(argv)
    except ValueError as wrong:
        print(f"error: {wrong}\n\nhint: see `pybuild parse --help`", file=sys.stderr)
        return 2
    if form == "help":
        print(HELP, end="")
        return 0
    show = _show_json if form == "json" else _show_tree
    good = [show(path) for path in paths]
    return 0 if all(good) else 2


def _arguments(argv: list[str]) -> tuple[list[str], str]:
    """Return the files and the format; raise ValueError about a command line that is wrong."""
    paths: list[str] = []
    form = "tree"
    rest = iter(argv)
    for each in rest:
        if each == "--":
            paths += rest
        elif each in ("-h", "--help"):
            return [], "help"
        elif each == "--format" or each.startswith("--format="):
            form = each.partition("=")[2] if "=" in each else next(rest, "")
            if form not in ("json", "tree"):
                raise ValueError(f"`--format` is `json` or `tree`, not `{form}`")
        elif each.startswith("-") and each != "-":
            raise ValueError(f"unknown option `{each}`")
        else:
            paths.append(each)
    if not paths:
        raise ValueError("no file is named")
    return paths, form


def _show_json(path: str) -> bool:
    import json

    from buildkit_py.core.errors import InputError
    from buildkit_py.dockerfile.dump import error_record, file_record
    from buildkit_py.dockerfile.parse import parse, source_of

    try:
        record = file_record(path, parse(source_of(path, _read(path))))
    except InputError as error:
        record = error_record(path, error)
    print(json.dumps(record))
    return record["ok"]


def _show_tree(path: str) -> bool:
    from buildkit_py.core.draw import draw, printable
    from buildkit_py.core.errors import InputError
    from buildkit_py.dockerfile.dump import tree
    from buildkit_py.dockerfile.parse import parse, source_of

    try:
        text = tree(path, parse(source_of(path, _read(path))))
    except InputError as error:
        print(draw(error), file=sys.stderr)
        return False
    print(printable(text))
    return True


def _read(path: str) -> bytes:
    """Return the bytes of a file, at most one more than a Dockerfile may have."""
    from buildkit_py.dockerfile.errors import MOST_FILE_BYTES, Unreadable

    try:
        if path == "-":
            return sys.stdin.buffer.read(MOST_FILE_BYTES + 1)
        with open(path, "rb") as file:
            return file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise Unreadable(path, why=(error.strerror or str(error)).lower()) from error
