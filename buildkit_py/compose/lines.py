"""Lines of logs put together again: long ones are kept in parts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit_py.engine.logs import Line


MOST_CHARACTERS = 1 << 20
"""A line without an end must not eat the memory."""


def whole(lines: Iterable[Line]) -> Iterator[tuple[str, str]]:
    """Give whole lines and the times of their beginnings."""
    part = time = ""
    for line in lines:
        time = time if part else line.time
        part += line.text
        if part.endswith("\n") or len(part) > MOST_CHARACTERS:
            yield part, time
            part = ""
    if part:
        yield part, time
