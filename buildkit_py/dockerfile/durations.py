"""Durations as Go writes them: `1m30s`, `500ms`, `1.5h`, `0`."""

from __future__ import annotations

from buildkit_py.core.patterns import later

_PART = later(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_MOST_NS = (1 << 63) - 1


def duration_ns(text: str) -> int:
    """Return a duration in nanoseconds; parts of a nanosecond are cut off.

    Raises ValueError, saying what is wrong as the end of a sentence.
    Counterpart: Go's time.ParseDuration.
    """
    sign = -1 if text[:1] == "-" else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError("is not a duration")
    total = at = 0
    while at < len(rest):
        found = _PART.match(rest, at)
        if found is None or not (found[1] or found[2]):
            raise ValueError("is not a duration")
        if not found[3]:
            raise ValueError("has no unit")
        unit = _UNITS.get(found[3])
        if unit is None:
            raise ValueError(f"has an unknown unit `{found[3][:20]}`")
        # More digits than 19 overflow, and behind the point they do not count.
        whole, part = found[1].lstrip("0")[:20], (found[2] or "")[:20]
        total += int(whole or "0") * unit + (int(part) * unit // 10 ** len(part) if part else 0)
        at = found.end()
    if total > _MOST_NS:
        raise ValueError("is too long")
    return sign * total
