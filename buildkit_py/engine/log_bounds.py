"""How large a container's log may become, in docker's words: drivers and their options.

Values are moby's: daemon/logger/jsonfilelog (sizes in powers of ten, one file) and
daemon/logger/local (powers of two, 20m in five files). docker's json-file without options has no
bound at all and fills disks; ours then has that of `local`.
"""

from __future__ import annotations

from collections.abc import Mapping

from buildkit_py.core.data import dataclass, field
from buildkit_py.core.errors import InputError

DRIVERS = ("json-file", "local")
OPTIONS = ("max-size", "max-file")
DEFAULT_BYTES = 20 << 20
DEFAULT_FILES = 5
_MOST_BYTES = 1 << 39
_UNITS = "kmgtp"


class BadLogOption(InputError):
    code = "engine/bad-log-option"


@dataclass(frozen=True, slots=True)
class LogBounds:
    """bytes: of one file; files: how many, the one that is written among them"""

    bytes: int = DEFAULT_BYTES
    files: int = DEFAULT_FILES
    driver: str = "json-file"
    options: Mapping[str, str] = field(default_factory=dict)


def parse(driver: str, options: Mapping[str, str]) -> LogBounds:
    """Read a driver, "" for the usual one, and its options. Raises BadLogOption."""
    kind = driver or "json-file"
    if kind not in DRIVERS:
        raise BadLogOption(
            f"there is no log driver `{driver}`", hint="`json-file` and `local` are there"
        )
    for key in options:
        if key not in OPTIONS:
            raise BadLogOption(
                f"unknown log option `{key}` of `{kind}`",
                hint="`max-size` and `max-file` are there",
            )
    size, files = options.get("max-size"), options.get("max-file")
    # Whoever gives json-file a size and no number means one file; docker's documentation.
    usual = 1 if kind == "json-file" and size is not None else DEFAULT_FILES
    return LogBounds(
        DEFAULT_BYTES if size is None else _bytes(size, 1024 if kind == "local" else 1000),
        usual if files is None else _files(files),
        kind,
        options,
    )


def _bytes(text: str, base: int) -> int:
    """Read a size such as `10m`, `1.5 GB`, `512KiB`; docker/go-units, `parseSize`."""
    rest = text.strip().lower().removesuffix("b").removesuffix("i")
    factor = 1
    if rest and rest[-1] in _UNITS:
        factor = base ** (_UNITS.index(rest[-1]) + 1)
        rest = rest[:-1].rstrip()
    if not rest.isascii() or not rest.replace(".", "", 1).isdigit():
        raise BadLogOption(f"`max-size` is a positive size such as `10m`, not `{text}`")
    size = int(float(rest) * factor)
    if size <= 0:
        raise BadLogOption(f"`max-size` is a positive size such as `10m`, not `{text}`")
    return min(size, _MOST_BYTES)


def _files(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 10_000:
        raise BadLogOption(f"`max-file` is a number from 1 to 10000, not `{text}`")
    return int(text)
