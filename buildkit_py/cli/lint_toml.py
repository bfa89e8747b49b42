"""Our own configuration: table `lint` of pybuild.toml, `tool.pybuild.lint` of pyproject.toml.

tomllib keeps no places. What a message points at is looked for in the text: the table's header, the
key below it, the value behind that. Where a file is written in some other way, the message names
the key and the file, and points at nothing.
"""

from __future__ import annotations

import re

from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Source, Span
from buildkit_py.core.text import did_you_mean
from buildkit_py.dockerfile.lint.settings import LABEL_KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

KEYS = ("preset", "select", "ignore", "fail-on", "exclude", "severity", "trusted-registries",
        "label-schema", "strict-labels", "disable-ignore-pragma")  # fmt: skip
LEVELS = ("error", "warning", "info", "style")
PRESETS = ("default", "hadolint", "buildkit", "strict")


class BadConfig(InputError):
    """A configuration has a key or a value that means nothing."""

    code = "lint/bad-config"


def table_of(path: str, data: bytes, *, must: bool) -> Own | None:
    """Return our table; None when there is none and need not be one."""
    import tomllib

    try:
        source = Source(path, data.decode("utf-8").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise BadConfig(f"`{path}` is not UTF-8: {error.reason}") from None
    try:
        top: Any = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(source, str(error)) from None
    header = "lint"
    if path.rpartition("/")[2] == "pyproject.toml":
        for key in ("tool", "pybuild"):
            top = top.get(key, {}) if isinstance(top, dict) else {}
        header = "tool.pybuild.lint"
    elif unknown := next((key for key in top if key != "lint"), None):
        Own(source, "", {}).unknown(f"key `{unknown}`", "the only table is `lint`", unknown)
    if not isinstance(top, dict) or "lint" not in top:
        if must:
            raise BadConfig(f"`{path}` has no table `{header}`")
        return None
    return Own(source, header, top["lint"])


def _no_toml(source: Source, text: str) -> BadConfig:
    """Return tomllib's complaint, with the place that it tells at its end."""
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", text)
    at = max(len(source.text.rstrip()) - 1, 0)
    if found and found[2]:
        at = source.starts[int(found[2]) - 1] + int(found[3]) - 1
    why = (found[1] if found else text).lower()
    return BadConfig(f"`{source.name}` is no TOML: {why}", at=source.span(at, at + 1))


class Own:
    """Our table. Every method that returns a value raises BadConfig for one that means nothing."""

    def __init__(self, source: Source, header: str, table: Any) -> None:
        self.source = source
        self.header = header
        self.path = source.name
        self.table: Mapping[str, Any] = self.mapping("lint", table)
        for key in self.table:
            if key not in KEYS:
                self.unknown(f"key `{key}`", did_you_mean(key, KEYS) or _one_of(KEYS), key)

    def wrong(self, message: str, hint: str | None, key: str, value: object = None) -> None:
        at = self._place(key, value)
        raise BadConfig(message if at else f"{message} in `{self.path}`", at=at, hint=hint)

    def unknown(self, what: str, hint: str | None, key: str, value: object = None) -> None:
        self.wrong(f"unknown {what}", hint, key, value)

    def mapping(self, key: str, value: object) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self.wrong(f"`{key}` is a table, not `{value}`", None, key)
            return {}
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            hint = f'write `{key} = ["{value}"]`' if isinstance(value, str) else None
            self.wrong(f"`{key}` is a list of texts", hint, key, value)
        return tuple(value)

    def codes(self, key: str) -> tuple[str, ...]:
        from buildkit_py.dockerfile.lint.select import rule_hint

        codes = self.texts(key)
        for code in codes:
            hint = rule_hint(code, can_run=key == "select")
            if hint is not None:
                self.unknown(f"rule `{code}`", hint, key, code)
        return codes

    def choice(self, key: str, known: Sequence[str]) -> str | None:
        value = self.table.get(key)
        if value is not None and value not in known:
            self._choice(key, key, value, known)
        return value

    def flag(self, key: str) -> bool:
        value = self.table.get(key, False)
        if not isinstance(value, bool):
            self.wrong(f"`{key}` is `true` or `false`, not `{value}`", None, key, value)
        return bool(value)

    def severities(self) -> tuple[tuple[str, str], ...]:
        from buildkit_py.dockerfile.lint.select import rule_hint

        found = self.mapping("severity", self.table.get("severity", {}))
        for code, level in found.items():
            if (hint := rule_hint(code)) is not None:
                self.unknown(f"rule `{code}`", hint, "severity", code)
            if level not in LEVELS:
                self._choice(f"severity.{code}", "severity", level, LEVELS)
        return tuple(found.items())

    def labels(self) -> tuple[tuple[str, str], ...]:
        found = self.mapping("label-schema", self.table.get("label-schema", {}))
        for name, kind in found.items():
            if kind not in LABEL_KINDS:
                self._choice(f"label-schema.{name}", "label-schema", kind, LABEL_KINDS)
        return tuple(found.items())

    def _choice(self, name: str, key: str, value: object, known: Sequence[str]) -> None:
        hint = did_you_mean(str(value), known) or _one_of(known)
        self.wrong(f"`{name}` cannot be `{value}`", hint, key, value)

    def _place(self, key: str, value: object) -> Span | None:
        """Return where a value stands behind its key, or the key; None when it is not found."""
        text = self.source.text
        found = _search(rf"^[ \t]*\[[ \t]*{re.escape(self.header)}[ \t]*\]", text, 0)
        start = found.end() if found else 0
        name = rf"(?:\"{re.escape(key)}\"|'{re.escape(key)}'|{re.escape(key)})"
        at = _search(rf"^[ \t]*({name})[ \t]*=", text, start) or _search(
            rf"^[ \t]*\[\[?[ \t]*(?:{re.escape(self.header)}\.)?({name})[ \t]*\]", text, 0
        )
        if at is None:
            return self.source.span(*found.span()) if found and key == "lint" else None
        if value is not None and not isinstance(value, list | dict):
            word = str(value).lower() if isinstance(value, bool) else str(value)
            inside = _search(
                rf"\"{re.escape(word)}\"|'{re.escape(word)}'|{re.escape(word)}", text, at.end()
            )
            if inside is not None:
                return self.source.span(*inside.span())
        return self.source.span(*at.span(1))


def _search(pattern: str, text: str, start: int) -> re.Match[str] | None:
    return re.compile(pattern, re.MULTILINE).search(text, start)


def _one_of(known: Sequence[str]) -> str:
    return f"one of {', '.join(known)}"
