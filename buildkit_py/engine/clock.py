"""Times as docker writes them, without importing datetime."""

from __future__ import annotations

import time

_second, _text = -1, ""


def now() -> str:
    """Return the time, RFC 3339 in UTC with nanoseconds."""
    return text_of(time.time_ns())


def text_of(ns: int) -> str:
    """Return RFC 3339 of a time in nanoseconds since 1970."""
    global _second, _text
    second, rest = divmod(ns, 1_000_000_000)
    if second != _second:
        _second, _text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{_text}.{rest:09d}Z"
