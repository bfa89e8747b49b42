"""Plain values as YAML text in the style of go-yaml v4: indented by two, keys as they come.

Strings are plain where they can be. What would be read as something else is in double quotes,
words that YAML 1.1 read as booleans and texts with indicators in single quotes, texts of several
lines are literal blocks. Source: go-yaml v4 representer.go, emitter.go.
"""

from __future__ import annotations

import re

from buildkit_py.compose.scalars import go_float, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OLD_WORDS = frozenset("y Y yes Yes YES on On ON n N no No NO off Off OFF".split())
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", re.A)
_FIRST = frozenset("#,[]{}&*!|>'\"%@`")
_ESCAPES = {
    "\0": "\\0", "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f",
    "\r": "\\r", "\x1b": "\\e", '"': '\\"', "\\": "\\\\", "\x85": "\\N", "\xa0": "\\_",
    "\u2028": "\\L", "\u2029": "\\P",
}  # fmt: skip


def to_yaml(value: Any) -> str:
    """Return a value as a YAML document."""
    out: list[str] = []
    _write(value, 0, out)
    return "".join(out).lstrip("\n") if out and out[0] == "\n" else "".join(out).lstrip(" ")


def natural(text: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts `a2` before `a10`, as go-yaml sorts the keys of maps."""
    parts: list[tuple[int, int, str]] = []
    at = 0
    while at < len(text):
        end = at
        while end < len(text) and text[end].isdigit():
            end += 1
        if end > at:
            parts.append((1, int(text[at:end]), text[at:end]))
            at = end
        else:
            # Letters come behind digits and everything else.
            parts.append((2 if text[at].isalpha() else 0, ord(text[at]), ""))
            at += 1
    return parts


def _write(value: Any, indent: int, out: list[str]) -> None:
    """Write a value behind `key:` or `-`, with the blank or line end before it."""
    if type(value) is dict and value:
        out.append("\n")
        for key, each in value.items():
            out.append(f"{' ' * indent}{_text(key, indent, is_key=True)}:")
            _write(each, indent + 2, out)
    elif type(value) is list and value:
        out.append("\n")
        _write_items(value, indent, out)
    else:
        out.append(f" {_scalar(value, indent)}\n")


def _write_items(items: list[Any], indent: int, out: list[str]) -> None:
    for each in items:
        out.append(f"{' ' * indent}-")
        if type(each) in (dict, list) and each:
            # The first key stands behind the dash.
            inner: list[str] = []
            _write(each, indent + 2, inner)
            out.append(" " + "".join(inner).lstrip("\n").lstrip(" "))
        else:
            _write(each, indent + 2, out)


def _scalar(value: Any, indent: int) -> str:
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is float:
        return {"+Inf": ".inf", "-Inf": "-.inf", "NaN": ".nan"}.get(go_float(value)) or go_float(
            value
        )
    if type(value) is str:
        return _text(value, indent)
    if type(value) is dict:
        return "{}"
    return "[]" if type(value) is list else str(value)


def _text(text: str, indent: int, *, is_key: bool = False) -> str:
    lines = "\n" in text
    allowed = _analyzed(text)
    if lines:
        if is_key or not text.strip() or "literal" not in allowed:
            return _double(text)
        return _literal(text, indent)
    if text in _OLD_WORDS or text == "<<" or (":" in text and _BASE_60.fullmatch(text)):
        return _single(text) if "single" in allowed else _double(text)
    if type(resolve(text)) is not str or resolve(text) != text:
        return _double(text)
    if "plain" in allowed:
        return text
    return _single(text) if "single" in allowed else _double(text)


def _analyzed(text: str) -> set[str]:
    """Return the styles that can hold a text: `plain`, `single`, `literal`."""
    allowed = {"plain", "single", "literal"}
    if not text:
        return {"plain", "single"}
    if text.startswith(("---", "...")) or text[0] in _FIRST:
        allowed.discard("plain")
    if text[0] in "?:-" and (len(text) == 1 or text[1] in " \t\n"):
        allowed.discard("plain")
    if ": " in text or ":\n" in text or ":\t" in text or text[-1] == ":":
        allowed.discard("plain")
    if " #" in text or "\t#" in text or "\n#" in text:
        allowed.discard("plain")
    if text[0] in " \n" or text[-1] in " \n" or "\n" in text:
        allowed.discard("plain")
    if text[-1] == " ":
        allowed.discard("literal")
    if "\n " in text:
        allowed -= {"plain", "single"}
    special = any(not _printable(c) for c in text)
    if " \n" in text or special:
        allowed.clear()
    elif "\t" in text:
        allowed -= {"plain", "single"}
    return allowed


def _printable(c: str) -> bool:
    return (
        c in "\t\n"
        or " " <= c <= "~"
        or (
            c > "\xa0"
            and c not in "\u2028\u2029\ufeff"
            and not "\ud800" <= c <= "\udfff"
            and c not in "\ufffe\uffff"
        )
    )


def _single(text: str) -> str:
    return f"'{text.replace(chr(39), chr(39) * 2)}'"


def _double(text: str) -> str:
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(c: str) -> str:
    if c in _ESCAPES:
        return _ESCAPES[c]
    if _printable(c):
        return c
    code = ord(c)
    if code < 0x100:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def _literal(text: str, indent: int) -> str:
    """Return a literal block, without the line end behind it."""
    # The first line with characters would set the indentation.
    hint = "2" if text.lstrip("\n")[:1] in (" ", "\t") else ""
    body = text.rstrip("\n")
    ends = len(text) - len(body)
    chomp = "-" if ends == 0 else "+" if ends > 1 else ""
    margin = " " * indent
    lines = [f"{margin}{line}" if line else "" for line in body.split("\n")]
    return "\n".join([f"|{hint}{chomp}", *lines, *[""] * (ends - 1 if ends > 1 else 0)])
