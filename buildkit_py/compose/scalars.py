"""What unquoted YAML scalars mean in compose files, and how Go prints the values.

Compose reads YAML as go-yaml v4 does, which is neither YAML 1.1 nor 1.2: `yes` and `on` are
strings, `010` is eight, `1_000` a thousand, `1:30` a string. Values that end up as text
(environment, labels) are printed with Go's `%v`: `1.10` becomes `1.1`, `1000000.0` `1e+06`.
Source: go-yaml v4 resolve.go; facts measured with compose-go 2.14.
"""

from __future__ import annotations

import re

from buildkit_py.core.patterns import later

TYPE_CHECKING = False
if TYPE_CHECKING:
    Scalar = bool | int | float | str | None

_WORDS: dict[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
    ".inf": float("inf"), ".Inf": float("inf"), ".INF": float("inf"),
    "+.inf": float("inf"), "+.Inf": float("inf"), "+.INF": float("inf"),
    "-.inf": float("-inf"), "-.Inf": float("-inf"), "-.INF": float("-inf"),
}  # fmt: skip
_NUMBER_STARTS = frozenset("0123456789+-.")
_INT = later(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|[1-9][0-9]*|0)", re.A)
_FLOAT = later(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.A)
_DATE = later(r"(\d{4})-(\d\d?)-(\d\d?)", re.A)
_TIME = later(r"(?:[Tt]|[ \t]+)(\d\d?):(\d\d?):(\d\d?)(\.\d*)?(?:[ \t]*(Z|[-+]\d\d:\d\d))?", re.A)
_MOST_INT, _LEAST_INT, _MOST_UNSIGNED = (1 << 63) - 1, -(1 << 63), (1 << 64) - 1


def resolve(text: str) -> Scalar:
    """Return what a plain (unquoted, untagged) scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if time := _time(text):
        return time
    digits = text.replace("_", "")
    if _INT.fullmatch(digits):
        number = _integer(digits)
        if number == 0 and digits[0] == "-":
            return -0.0
        if _LEAST_INT <= number <= _MOST_UNSIGNED:
            return number
        return float(number)
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        return text if value in (float("inf"), float("-inf")) else value
    return text


def _integer(digits: str) -> int:
    sign = -1 if digits[0] == "-" else 1
    body = digits.lstrip("+-").lower()
    for prefix, base in (("0x", 16), ("0o", 8), ("0b", 2)):
        if body.startswith(prefix):
            return sign * int(body[2:], base)
    return sign * int(body, 8 if len(body) > 1 and body[0] == "0" else 10)


def _time(text: str) -> str | None:
    """Return a date or time of YAML 1.1 as Go prints it, or None for what is none."""
    date = _DATE.match(text)
    if date is None:
        return None
    time = _TIME.fullmatch(text, date.end())
    if time is None and date.end() < len(text):
        return None
    year, month, day = (int(each) for each in date.groups())
    hour, minute, second = (int(each) for each in time.groups()[:3]) if time else (0, 0, 0)
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (29 if leap else 28) if month == 2 else 30 if month in (4, 6, 9, 11) else 31
    if not (1 <= month <= 12 and 1 <= day <= days and hour < 24 and minute < 60 and second < 60):
        return None
    fraction = (time[4] or "").rstrip("0").rstrip(".") if time else ""
    zone = (time[5] if time else None) or "Z"
    shown = "+0000 UTC" if zone == "Z" else f"{zone.replace(':', '')} {zone.replace(':', '')}"
    return (
        f"{year:04d}-{month:02d}-{day:02d} {hour:02d}:{minute:02d}:{second:02d}{fraction} {shown}"
    )


def go_text(value: object) -> str:
    """Return a scalar as Go's `%v` prints it."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if value is None:
        return "<nil>"
    if isinstance(value, float):
        return go_float(value)
    return str(value)


def go_float(value: float, *, bits: int = 64) -> str:
    """Return a float as Go's `%v` has it: shortest digits, `1e+06` from a million on.

    bits: 32 for values that Go keeps as float32
    """
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    text = shortest(value, bits)
    sign, text = ("-", text[1:]) if text[0] == "-" else ("", text)
    mantissa, _, power = text.partition("e")
    whole, _, part = mantissa.partition(".")
    digits = (whole + part).lstrip("0")
    if not digits:
        return f"{sign}0"
    # The value is 0.DIGITS times ten to the `point`.
    point = len(whole) + int(power or 0) - (len(whole + part) - len(digits))
    digits = digits.rstrip("0")
    exponent = point - 1
    if exponent < -4 or exponent >= 6:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    return f"{sign}{digits[:point]}.{digits[point:]}"


def shortest(value: float, bits: int = 64) -> str:
    """Return the shortest decimal text that reads back as the same float."""
    if bits == 64:
        return repr(value)
    for precision in range(1, 10):
        text = f"{value:.{precision}g}"
        if float32(float(text)) == value:
            return text
    return repr(value)


def float32(value: float) -> float:
    """Return the nearest number that Go's float32 can hold; too large a one becomes infinite."""
    import struct

    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
