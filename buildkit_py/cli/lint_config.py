"""Which rules run for a file: the command line, and the nearest configuration above the file.

    pybuild.toml           [lint]
    pyproject.toml         [tool.pybuild.lint]
    .hadolint.yaml, .yml   hadolint's, when there is none of the others

    preset = "default"          default, hadolint, buildkit, strict
    select = ["DL3008"]         only these, or besides the preset
    ignore = ["DL3059"]
    fail-on = "warning"         error, warning, info, style, never
    exclude = ["vendor/*"]      paths, from the configuration's directory
    severity = { DL3008 = "info" }

hadolint's configuration brings hadolint's preset and threshold along. An unknown key is an error:
a rule that is misspelt would guard nothing.
"""

from __future__ import annotations

import os

from buildkit_py.core.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from buildkit_py.cli.reader import Value
    from buildkit_py.dockerfile.lint.select import Selection

OWN = ("pybuild.toml", "pyproject.toml")
HADOLINT = (".hadolint.yaml", ".hadolint.yml")
KEYS = ("preset", "select", "ignore", "fail-on", "exclude", "severity")
LEVELS = ("error", "warning", "info", "style")


class BadConfig(InputError):
    """A configuration has a key or a value that means nothing."""

    code = "lint/bad-config"


class Config:
    """What runs for some files. key: all of it as text, for the cache."""

    __slots__ = ("_selection", "fail_on", "ignore", "key", "only", "preset", "severity")

    def __init__(
        self,
        preset: str | None = None,
        only: tuple[str, ...] = (),
        ignore: tuple[str, ...] = (),
        severity: tuple[tuple[str, str], ...] = (),
        fail_on: str = "warning",
    ) -> None:
        self.preset = preset
        self.only = only
        self.ignore = ignore
        self.severity = severity
        self.fail_on = fail_on
        self.key = repr((preset, only, ignore, severity))
        self._selection: Selection | None = None

    def selection(self) -> Selection:
        """Return the rules; raise UnknownRule for a name that is none."""
        if self._selection is None:
            from buildkit_py.dockerfile.lint.rule import Severity
            from buildkit_py.dockerfile.lint.select import select

            self._selection = select(
                self.preset,
                only=self.only,
                ignore=self.ignore,
                severities={code: Severity[level.upper()] for code, level in self.severity},
            )
        return self._selection


class Found:
    """A configuration file as it was read."""

    __slots__ = ("config", "exclude", "folder")

    def __init__(self, folder: str, config: Config, exclude: tuple[str, ...]) -> None:
        self.folder = folder
        self.config = config
        self.exclude = exclude


class Configs:
    """The configurations of all files of one run."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self.preset = str(values["preset"]) if values["preset"] is not None else None
        self.only = _codes(values["select"])
        self.ignore = _codes(values["ignore"])
        self.fail_on = str(values["fail_on"]) if values["fail_on"] is not None else None
        self.exclude = _codes(values["exclude"])
        self.isolated = bool(values["isolated"])
        self.given: Found | None = None
        if values["config"] is not None:
            path = str(values["config"])
            self.given = _read(path, must=True)
        self._by_folder: dict[str, Found | None] = {}
        self._merged: dict[int, Config] = {}

    def check(self) -> None:
        """Raise for a name on the command line that is none, when there was no file to tell."""
        if self.preset is not None or self.only or self.ignore:
            Config(self.preset, self.only, self.ignore).selection()

    def of(self, path: str) -> Config:
        """Return what runs for a file."""
        found = self._found(os.path.dirname(os.path.abspath(path)) if path != "-" else os.getcwd())
        number = id(found)
        if number not in self._merged:
            base = found.config if found else Config()
            chosen = self.preset is not None or bool(self.only)
            self._merged[number] = Config(
                self.preset if chosen else base.preset,
                self.only if chosen else base.only,
                (*base.ignore, *self.ignore),
                base.severity,
                self.fail_on or base.fail_on,
            )
        return self._merged[number]

    def excludes(self, path: str) -> bool:
        """Tell whether a path met in a directory is passed over."""
        if _matches(path, self.exclude):
            return True
        found = self._found(os.path.dirname(os.path.abspath(path)))
        if found is None or not found.exclude:
            return False
        return _matches(os.path.relpath(path, found.folder), found.exclude)

    def _found(self, folder: str) -> Found | None:
        if self.isolated or self.given is not None:
            return self.given
        if folder not in self._by_folder:
            found = _in_folder(folder)
            parent = os.path.dirname(folder)
            if found is None and parent != folder:
                found = self._found(parent)
            self._by_folder[folder] = found
        return self._by_folder[folder]


def _codes(value: Value) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(code.strip() for text in value for code in text.split(",") if code.strip())


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return False
    from fnmatch import fnmatch

    name = os.path.basename(path)
    return any(
        fnmatch(path, pattern.rstrip("/")) or fnmatch(name, pattern.rstrip("/"))
        for pattern in patterns
    )


def _in_folder(folder: str) -> Found | None:
    for name in (*OWN, *HADOLINT):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and (found := _read(path, must=False)) is not None:
            return found
    return None


def _read(path: str, *, must: bool) -> Found | None:
    """Read a configuration file; None when it has no table of ours and need not have one."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise BadConfig(f"cannot read `{path}`: {(error.strerror or '').lower()}") from None
    folder = os.path.dirname(os.path.abspath(path))
    if path.endswith((".yaml", ".yml")):
        return Found(folder, _hadolint(path, data), ())
    if not must and b"lint" not in data:
        return None
    import tomllib

    try:
        table: Any = tomllib.loads(data.decode())
    except ValueError as error:
        raise BadConfig(f"`{path}` is no TOML: {error}") from None
    if os.path.basename(path) == "pyproject.toml":
        table = table.get("tool", {}).get("pybuild", {})
    if "lint" not in table:
        if must:
            raise BadConfig(f"`{path}` has no table `lint`")
        return None
    return _own(path, folder, table["lint"])


def _own(path: str, folder: str, table: Any) -> Found:
    if not isinstance(table, dict):
        raise BadConfig(f"`lint` in `{path}` is no table")
    for key in table:
        if key not in KEYS:
            from buildkit_py.core.text import did_you_mean

            raise BadConfig(f"unknown key `{key}` in `{path}`", hint=did_you_mean(key, KEYS))
    severity = table.get("severity", {})
    if not isinstance(severity, dict):
        raise BadConfig(f"`severity` in `{path}` is no table")
    preset = table.get("preset")
    if preset is not None and not isinstance(preset, str):
        raise BadConfig(f"`preset` in `{path}` is no text")
    config = Config(
        preset,
        _list(path, table, "select"),
        _list(path, table, "ignore"),
        tuple((code, _one(path, f"severity.{code}", level)) for code, level in severity.items()),
        _one(path, "fail-on", table.get("fail-on", "warning"), never=True),
    )
    config.selection()
    return Found(folder, config, _list(path, table, "exclude"))


def _list(path: str, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key) or []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadConfig(f"`{key}` in `{path}` is no list of texts")
    return tuple(value)


def _one(path: str, key: str, value: object, *, never: bool = False) -> str:
    known = (*LEVELS, "never") if never else LEVELS
    if value not in known:
        raise BadConfig(
            f"`{key}` in `{path}` cannot be `{value}`", hint=f"one of {', '.join(known)}"
        )
    return str(value)


def _hadolint(path: str, data: bytes) -> Config:
    """Return what hadolint's configuration asks for."""
    from importlib import import_module

    try:
        yaml: Any = import_module("yaml")
    except ImportError:
        raise BadConfig(
            f"`{path}` can only be read with PyYAML",
            hint="install it, write `pybuild.toml`, or use `--isolated`",
        ) from None
    try:
        table: Any = yaml.safe_load(data) or {}
    except yaml.YAMLError as error:
        raise BadConfig(f"`{path}` is no YAML: {error}") from None
    if not isinstance(table, dict):
        raise BadConfig(f"`{path}` is no mapping")
    known = ("ignored", "override", "failure-threshold", "no-fail", "format", "no-color")
    for key in table:
        if key not in known:
            raise BadConfig(
                f"`{key}` in `{path}` is not supported yet",
                hint=f"supported are {', '.join(known)}; or use `--isolated`",
            )
    override = table.get("override") or {}
    if not isinstance(override, dict):
        raise BadConfig(f"`override` in `{path}` is no mapping")
    severity = tuple(
        (code, _one(path, "override", level))
        for level in override
        for code in _list(path, override, level)
    )
    threshold = table.get("failure-threshold", "info")
    if table.get("no-fail"):
        threshold = "never"
    if threshold in ("none", "ignore"):
        threshold = "never"
    return Config(
        "hadolint",
        (),
        _list(path, table, "ignored"),
        severity,
        _one(path, "failure-threshold", threshold, never=True),
    )
