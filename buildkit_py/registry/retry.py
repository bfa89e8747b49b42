"""Try again what may work a little later: broken connections, 429, 5xx."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from buildkit_py.registry.errors import Temporary

TRIES = 5
LONGEST_SECONDS = 60.0
"""A server that asks for a longer pause gets its wish as an error."""

Result = TypeVar("Result")
Sleep = Callable[[float], None]


def retrying(action: Callable[[], Result], sleep: Sleep, *, tries: int = TRIES) -> Result:
    """Return what `action` returns, calling it again after Temporary errors.

    sleep: called with 0.5, 1, 2, 4 seconds, or with what the server asked for (Retry-After)
    The last error is raised when all tries are used up.
    """
    for number in range(tries):
        try:
            return action()
        except Temporary as error:
            wait = error.after_seconds if error.after_seconds is not None else 0.5 * 2**number
            if number == tries - 1 or wait > LONGEST_SECONDS:
                raise
            sleep(wait)
    raise ValueError(f"tries must be positive, not {tries}")
