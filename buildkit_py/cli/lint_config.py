"""Which rules run for a file: the command line, and the nearest configuration above the file.

    pybuild.toml           [lint]
    pyproject.toml         [tool.pybuild.lint]
    .hadolint.yaml, .yml   hadolint's, when there is none of the others (lint_hadolint.py)

    preset = "default"          default, hadolint, buildkit, strict
    select = ["DL3008"]         only these, or besides the preset
    ignore = ["DL3059"]
    fail-on = "warning"         error, warning, info, style, never
    exclude = ["vendor/*"]      paths, from the configuration's directory
    severity = { DL3008 = "info" }
    trusted-registries = ["docker.io"]
    label-schema = { "org.opencontainers.image.version" = "semver" }
    strict-labels = true
    disable-ignore-pragma = true

hadolint's configuration, file and variables, brings hadolint's preset and threshold along. An
unknown key is an error: a rule that is misspelt would guard nothing.
"""

from __future__ import annotations

import os

from buildkit_py.core.errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit_py.cli.lint_hadolint import Hadolint
    from buildkit_py.cli.reader import Value
    from buildkit_py.dockerfile.lint.select import Selection
    from buildkit_py.dockerfile.lint.settings import Settings

OWN = ("pybuild.toml", "pyproject.toml")
HADOLINT = (".hadolint.yaml", ".hadolint.yml")
USERS = ("hadolint.yaml", "hadolint.yml")


class CannotRead(InputError):
    """A configuration that was asked for cannot be read."""

    code = "lint/bad-config"


class Config:
    """What runs for some files.

    key: all that decides about findings, as text, for the cache
    formats: those asked for, where the command line asks for none
    """

    __slots__ = ("_selection", "fail_on", "formats", "ignore", "key", "no_color", "only", "preset",
                 "settings", "severity", "verbose")  # fmt: skip

    def __init__(
        self,
        preset: str | None = None,
        only: tuple[str, ...] = (),
        ignore: tuple[str, ...] = (),
        severity: tuple[tuple[str, str], ...] = (),
        fail_on: str = "warning",
        settings: Settings | None = None,
        *,
        formats: tuple[str, ...] = (),
        no_color: bool = False,
        verbose: bool = False,
    ) -> None:
        self.preset = preset
        self.only = only
        self.ignore = ignore
        self.severity = severity
        self.fail_on = fail_on
        self.settings = settings
        self.formats = formats
        self.no_color = no_color
        self.verbose = verbose
        self.key = repr((preset, only, ignore, severity, settings))
        self._selection: Selection | None = None

    def selection(self) -> Selection:
        """Return the rules; raise UnknownRule for a name that is none."""
        if self._selection is None:
            from buildkit_py.dockerfile.lint.rule import Severity
            from buildkit_py.dockerfile.lint.select import select
            from buildkit_py.dockerfile.lint.settings import NOTHING

            self._selection = select(
                self.preset,
                only=self.only,
                ignore=self.ignore,
                severities={code: Severity[level.upper()] for code, level in self.severity},
                settings=self.settings or NOTHING,
            )
        return self._selection


class Found:
    """A configuration file as it was read. hadolint: what it says, if it is hadolint's."""

    __slots__ = ("config", "exclude", "folder", "hadolint", "path")

    def __init__(
        self,
        path: str,
        config: Config,
        exclude: tuple[str, ...] = (),
        hadolint: Hadolint | None = None,
    ) -> None:
        self.path = path
        self.folder = os.path.dirname(os.path.abspath(path))
        self.config = config
        self.exclude = exclude
        self.hadolint = hadolint


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
        self.environment: Hadolint | None = None
        if not self.isolated and any(name.startswith("HADOLINT_") for name in os.environ):
            from buildkit_py.cli.lint_hadolint import from_environment

            self.environment = from_environment(os.environ)
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
            base = self._base(found)
            chosen = self.preset is not None or bool(self.only)
            self._merged[number] = Config(
                self.preset if chosen else base.preset,
                self.only if chosen else base.only,
                (*base.ignore, *self.ignore),
                base.severity,
                self.fail_on or base.fail_on,
                base.settings,
                formats=base.formats,
                no_color=base.no_color,
                verbose=base.verbose,
            )
        return self._merged[number]

    def path_of(self, path: str) -> str | None:
        """Return the configuration file that counts for a file."""
        found = self._found(os.path.dirname(os.path.abspath(path)) if path != "-" else os.getcwd())
        return found.path if found else None

    def _base(self, found: Found | None) -> Config:
        """Return what a configuration file says, together with hadolint's variables."""
        if self.environment is None or (found is not None and found.hadolint is None):
            return found.config if found else Config()
        both = self.environment
        if found is not None and found.hadolint is not None:
            both = found.hadolint.over(both)
        return _of_hadolint(both)

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
            if found is None:
                found = self._found(parent) if parent != folder else _of_user()
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


def _of_user() -> Found | None:
    """Return what hadolint reads where a project has no configuration."""
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        return None
    base = os.environ.get("XDG_CONFIG_HOME", "")
    places = [
        os.path.join(base if os.path.isabs(base) else os.path.join(home, ".config"), name)
        for name in USERS
    ]
    places += [
        os.path.join(home, ".hadolint", name) for name in (*USERS, "config.yaml", "config.yml")
    ]
    places += [os.path.join(home, name) for name in HADOLINT]
    for path in places:
        if os.path.isfile(path):
            return _read(path, must=False)
    return None


def _read(path: str, *, must: bool) -> Found | None:
    """Read a configuration file; None when it has no table of ours and need not have one."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise CannotRead(f"cannot read `{path}`: {(error.strerror or '').lower()}") from None
    path = _shown(path)
    if path.endswith((".yaml", ".yml")):
        from buildkit_py.cli.lint_hadolint import from_file

        hadolint = from_file(path, data)
        return Found(path, _of_hadolint(hadolint), hadolint=hadolint)
    if not must and os.path.basename(path) == "pyproject.toml" and b"lint" not in data:
        return None  # most have no table of ours, and reading them takes time
    return _own(path, data, must)


def _shown(path: str) -> str:
    """Return a path as people know it: relative, where it is below the working directory."""
    here = os.path.join(os.getcwd(), "")
    return path.removeprefix(here)


def _own(path: str, data: bytes, must: bool) -> Found | None:
    from buildkit_py.cli.lint_toml import LEVELS, PRESETS, table_of
    from buildkit_py.dockerfile.lint.settings import Settings

    own = table_of(path, data, must=must)
    if own is None:
        return None
    config = Config(
        own.choice("preset", PRESETS),
        own.codes("select"),
        own.codes("ignore"),
        own.severities(),
        own.choice("fail-on", (*LEVELS, "never")) or "warning",
        Settings(
            own.texts("trusted-registries"),
            own.labels(),
            own.flag("strict-labels"),
            not own.flag("disable-ignore-pragma"),
        ),
    )
    return Found(path, config, own.texts("exclude"))


def _of_hadolint(said: Hadolint) -> Config:
    """Return what hadolint's configuration asks for."""
    from buildkit_py.dockerfile.lint.settings import Settings

    return Config(
        "hadolint",
        (),
        said.ignored,
        said.override,
        "never" if said.no_fail else said.threshold or "info",
        Settings(said.trusted, said.labels, bool(said.strict_labels), not said.no_comments),
        formats=said.formats,
        no_color=bool(said.no_color),
        verbose=bool(said.verbose),
    )
