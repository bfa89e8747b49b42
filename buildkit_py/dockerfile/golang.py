"""Texts that end up in image configs in Go's form: quoted strings, durations, lists."""

from __future__ import annotations

from collections.abc import Iterable

_SECOND = 1_000_000_000
_MINUTE = 60 * _SECOND
_ESCAPES = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r",
    "\t": "\\t", "\v": "\\v",
}  # fmt: skip


def quote(text: str) -> str:
    """Return `text` as Go's `%q` has it."""
    return '"' + "".join(map(_quoted, text)) + '"'


def _quoted(character: str) -> str:
    if escape := _ESCAPES.get(character):
        return escape
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted_list(words: Iterable[str]) -> str:
    """Return `["a" "b"]`."""
    return f"[{' '.join(map(quote, words))}]"


def plain_list(words: Iterable[str]) -> str:
    """Return `[a b]`."""
    return f"[{' '.join(words)}]"


def format_duration(nanoseconds: int) -> str:
    """Return a duration as Go prints it: `1m30s`, `1.5s`, `300ms`, `0s`."""
    if nanoseconds == 0:
        return "0s"
    sign = "-" if nanoseconds < 0 else ""
    left = abs(nanoseconds)
    for unit, scale in (("ns", 1), ("µs", 1000), ("ms", 1_000_000)):
        if left < scale * 1000:
            return f"{sign}{_decimal(left, scale)}{unit}"
    minutes, left = divmod(left, _MINUTE)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{text}{_decimal(left, _SECOND)}s"


def _decimal(number: int, scale: int) -> str:
    whole, part = divmod(number, scale)
    if not part:
        return str(whole)
    return f"{whole}.{part:0{len(str(scale)) - 1}d}".rstrip("0")
