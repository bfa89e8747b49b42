"""Colours for error messages, where the stream is a terminal and NO_COLOR is not set."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_STYLES = {"error": "1;31", "warning": "1;33", "hint": "1;36", "success": "32"}


def painter(stream: TextIO) -> Callable[[str, str], str]:
    """Return the function that paints a text in a style of core.draw, or leaves it plain."""
    if not stream.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":
        return lambda text, style: text

    def paint(text: str, style: str) -> str:
        code = _STYLES.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if code else text

    return paint
