"""What lint said of a file, remembered until the file, the rules or the choice of rules change.

One small file for each Dockerfile and choice of rules, below `$XDG_CACHE_HOME/buildkit-py/lint`.
It holds the key of all that the answer depends on, and the answer. An unreadable one is no answer;
one that cannot be written is not written. Read with marshal, as json costs more to import.
"""

from __future__ import annotations

import marshal
import os

from buildkit_py.core.digest import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.cli.lint_config import Config
    from buildkit_py.dockerfile.lint.report import Checked


def folder() -> str | None:
    """Return where answers are kept, or None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # to be ignored then, says the XDG specification
        base = os.path.expanduser("~/.cache")
    return os.path.join(base, "buildkit-py", "lint") if os.path.isabs(base) else None


GRAMMAR = "grammars/dockerfile.lark"


class Entry:
    """The answer about one file.

    data: the file's bytes; ignored: those of its ignore file
    """

    def __init__(self, name: str, data: bytes, ignored: bytes, config: Config) -> None:
        self.data = data
        place = f"{os.path.abspath(name)}\0{config.key}".encode("utf-8", "surrogateescape")
        self.folder = folder()
        self.path = os.path.join(self.folder or "", sha256(place).partition(":")[2][:32])
        parts = (str(sha256(data)), str(sha256(ignored)), config.key, program())
        self.key = "\0".join(parts)

    def load(self, name: str) -> Checked | None:
        """Return what is remembered, or None; `name` is what the file is called now."""
        if self.folder is None:
            return None
        try:
            with open(self.path, "rb") as file:
                key, records = marshal.loads(file.read())
            if key != self.key:
                return None
            return _checked(name, self.data, records)
        except (OSError, EOFError, ValueError, TypeError):
            return None

    def keep(self, file: Checked) -> None:
        """Remember an answer."""
        if self.folder is None:
            return
        from buildkit_py.core.files import write_atomically

        records = [
            (each.code, each.alias, each.level, each.span.start, each.span.end, each.message,
             each.fixable)
            for each in file.reports
        ]  # fmt: skip
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            data = marshal.dumps((self.key, records))
            write_atomically(self.path, data, mode=0o600, sync=False)
        except (OSError, ValueError):
            return  # a cache that cannot be written is a slower start, and no more


def _checked(
    name: str,
    data: bytes,
    records: list[tuple[str, str | None, str, int, int, str, bool]],
) -> Checked:
    from buildkit_py.core.source import Source
    from buildkit_py.dockerfile.lint.report import Checked, Report

    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    source = Source(name, text)
    reports = tuple(
        Report(code, alias, level, source.span(start, end), message, fixable)
        for code, alias, level, start, end, message, fixable in records
    )
    return Checked(source, reports)


_program: list[str] = []


def program() -> str:
    """Return what changes when the program does: sizes and times of the files it is made of."""
    if not _program:
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        left = ["core", "oci", "dockerfile", "dockerfile/shell", "dockerfile/lint",
                "dockerfile/lint/rules"]  # fmt: skip
        states = []
        while left:
            each = left.pop()
            with os.scandir(os.path.join(here, each)) as entries:
                for entry in entries:
                    is_folder = "." not in entry.name and not entry.name.startswith("_")
                    if is_folder and each.startswith("dockerfile/lint/rules"):
                        left.append(f"{each}/{entry.name}")
                    if entry.name.endswith(".py"):
                        state = entry.stat()
                        states.append(f"{entry.name} {state.st_size} {state.st_mtime_ns}")
        for place in (here, os.path.dirname(here)):  # in a wheel, in a checkout
            try:
                state = os.stat(os.path.join(place, GRAMMAR))
                states.append(f"{GRAMMAR} {state.st_size} {state.st_mtime_ns}")
            except OSError:
                continue
        _program.append(str(sha256("\n".join(sorted(states)).encode())))
    return _program[0]
