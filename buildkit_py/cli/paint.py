"""Colours, where the stream is a terminal and NO_COLOR is not set, or as `--ansi` says."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_STYLES = {"error": "1;31", "warning": "1;33", "hint": "1;36", "success": "32"}
_chosen = "auto"


def choose(mode: str) -> None:
    """Let `never`, `always` or `auto` decide for this process, before anything is painted."""
    global _chosen
    _chosen = mode


def is_coloured(stream: TextIO) -> bool:
    """Say whether what goes to a stream is painted."""
    if _chosen != "auto":
        return _chosen == "always"
    return (
        stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    )  # fmt: skip


def is_live(stream: TextIO) -> bool:
    """Say whether what is drawn on a stream may be drawn over: a terminal that people look at."""
    return (
        stream.isatty()
        and _chosen != "never"
        and not os.environ.get("CI")
        and os.environ.get("TERM") != "dumb"
    )


def painter(stream: TextIO) -> Callable[[str, str], str]:
    """Return the function that paints a text in a style of core.draw, or leaves it plain."""
    if not is_coloured(stream):
        return lambda text, style: text

    def paint(text: str, style: str) -> str:
        code = _STYLES.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if code else text

    return paint


def warning(text: str) -> str:
    """Return a warning as it is printed on standard error."""
    from buildkit_py.core.draw import printable

    return f"{painter(sys.stderr)('warning', 'warning')}: {printable(text)}"


def notice(text: str, hint: str = "") -> str:
    """Return what people should know about this machine as it is printed. hint: "" for none."""
    from buildkit_py.core.draw import printable

    paint = painter(sys.stderr)
    said = f"{paint('notice', 'warning')}: {printable(text)}"
    return f"{said}\n{paint('hint', 'hint')}: {printable(hint)}" if hint else said


def print_warning(text: str) -> None:
    """Print a warning on standard error, in one piece: other threads may print, too."""
    print(f"{warning(text)}\n", end="", file=sys.stderr, flush=True)


def print_notice(text: str, hint: str = "") -> None:
    """Print what people should know about this machine, in one piece. hint: "" for none.

    Where nobody reads our standard error any more, what was begun still goes on.
    """
    import contextlib

    with contextlib.suppress(OSError):
        print(f"{notice(text, hint)}\n", end="", file=sys.stderr, flush=True)
