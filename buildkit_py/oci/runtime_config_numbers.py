"""Lists of processors and memory nodes as kernels write them: `0-3,7`."""

from __future__ import annotations

from buildkit_py.oci.runtime_config_section import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.oci.runtime_config_section import Section

LAST = 8191
"""The last processor or node that Linux can be built for."""


def number_list(section: Section, key: str) -> tuple[int, ...]:
    """Return the numbers of a list, in order; () where it is not said, empty, or at fault."""
    text = checked_list(section, key)
    if not text:
        return ()
    numbers: set[int] = set()
    for low, high in ranges(text):
        numbers.update(range(low, high + 1))
    return tuple(sorted(numbers))


def checked_list(section: Section, key: str) -> str:
    """Return a list as it is written; "" where it is not said, empty, or at fault."""
    text = section.text(key)
    if not text:
        return ""
    try:
        found = ranges(text)
    except ValueError:
        section.fault(key, f"{quoted(text)} is not a list such as `0-3,7`")
        return ""
    for low, high in found:
        if low > high:
            section.fault(key, f"{quoted(text)} has a range that ends before it starts")
            return ""
        if high > LAST:
            section.fault(key, f"{quoted(text)} has a number above {LAST}")
            return ""
    return text


def ranges(text: str) -> list[tuple[int, int]]:
    """Return first and last of each range; raise ValueError for what is no list."""
    found = []
    for part in text.split(","):
        # Spaces and commas too many are nothing to runc and to kernels.
        if part.strip(" "):
            low, dash, high = part.partition("-")
            found.append((number(low), number(high if dash else low)))
    if not found:
        raise ValueError(text)
    return found


def number(text: str) -> int:
    text = text.strip(" ")
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    # Python refuses to read integers of thousands of digits; none that long is a processor.
    return int(text[-5:]) if not text[:-5].strip("0") else LAST + 1
