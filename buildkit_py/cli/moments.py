"""`--since` and `--until` as docker reads them: a time, seconds since 1970, or how long ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def read_moment(text: str, now: datetime | None = None) -> str | None:
    """Return a moment as logs have it, RFC 3339 in UTC with nine digits; None for what is none.

    A time without a zone is local, as docker has it.
    """
    ago = _seconds(text)
    if ago is not None:
        return _shown((now or datetime.now(UTC)) - timedelta(seconds=ago))
    whole, dot, part = text.partition(".")
    if whole.isascii() and whole.isdigit() and (not dot or part.isdigit()) and len(whole) > 4:
        moment = datetime.fromtimestamp(int(whole), UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{part[:9]:0<9}Z"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _shown(moment.astimezone(UTC))


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z"


def _seconds(text: str) -> float | None:
    """Return the seconds of a duration such as `1h30m`, None for what is none."""
    total, number, at = 0.0, "", 0
    if not text or not (text[0].isdigit() or text[0] == "."):
        return None
    while at < len(text):
        if text[at].isdigit() or text[at] == ".":
            number += text[at]
            at += 1
            continue
        unit = next(
            (each for each in ("ns", "us", "µs", "ms") if text.startswith(each, at)), text[at]
        )
        if unit not in _UNITS or not number:
            return None
        try:
            total += float(number) * _UNITS[unit]
        except ValueError:
            return None
        number, at = "", at + len(unit)
    return None if number else total
