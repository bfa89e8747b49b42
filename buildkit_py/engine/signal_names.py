"""Signals as people write them."""

from __future__ import annotations

import signal

from buildkit_py.core.errors import InputError


class BadSignal(InputError):
    code = "engine/bad-signal"


def parse_signal(text: str) -> int:
    """Return the number of `SIGTERM`, `term`, `15` or `RTMIN+3`. Raises BadSignal."""
    name = text.upper().removeprefix("SIG")
    if name.isascii() and name.isdigit() and 0 < int(name[:6]) <= signal.SIGRTMAX:
        return int(name)
    for base, sign in (("RTMIN", 1), ("RTMAX", -1)):
        rest = name.removeprefix(base)
        if rest != name and (not rest or (rest[0] == "+-"[sign < 0] and rest[1:].isdigit())):
            number = getattr(signal, f"SIG{base}") + sign * int(rest[1:] or 0)
            if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
                return int(number)
    if f"SIG{name}" in signal.Signals.__members__:
        return int(signal.Signals[f"SIG{name}"])
    raise BadSignal(f"invalid signal: {text}")
