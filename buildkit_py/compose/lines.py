"""Lines of logs put together again: long ones are kept in parts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildkit_py.engine.logs import Line


MOST_CHARACTERS = 1 << 20
"""A line without an end must not eat the memory."""


def whole(lines: Iterable[Line]) -> Iterator[tuple[str, str, str]]:
    """Give whole lines, the times of their beginnings, and the streams that they are from."""
    parts: dict[str, str] = {}
    times: dict[str, str] = {}
    for line in lines:
        stream = line.stream
        if stream not in parts:
            parts[stream], times[stream] = "", line.time
        parts[stream] += line.text
        if line.text.endswith("\n") or len(parts[stream]) > MOST_CHARACTERS:
            yield parts.pop(stream), times.pop(stream), stream
    for stream, text in parts.items():
        yield text, times[stream], stream
