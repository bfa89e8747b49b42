"""The patterns of `${name#p}`, `${name%p}` and `${name/p/text}`: `*` and `?`, in linear time.

A pattern is a row of fixed parts with stars between them. The leftmost place of each part leaves
most room for the next one, so no choice is ever taken back.
"""

from __future__ import annotations

from buildkit_py.core.data import dataclass

MOST_CHARACTERS = 4 << 20
"""A replacement may not make a value longer than this."""

ANY = ""
"""Stands for `?` in a fixed part; every other item is one character."""


class BadWildcard(Exception):
    """The pattern has an escape that means nothing, or the result is too long."""


Part = tuple[str, ...]
"""Characters, or ANY."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Fixed parts; between each two of them stands a star."""

    parts: tuple[Part, ...]

    def reversed(self) -> Pattern:
        return Pattern(tuple(part[::-1] for part in reversed(self.parts)))


def parse(pattern: str) -> Pattern:
    """Read a pattern; raise BadWildcard."""
    parts: list[list[str]] = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == "*":
            parts.append([])
        elif character == "?":
            parts[-1].append(ANY)
        elif character == "\\":
            escaped = next(characters, "")
            if not escaped or escaped not in "*?\\/}":
                raise BadWildcard(f"invalid escape `\\{escaped}` in a pattern")
            parts[-1].append(escaped)
        else:
            parts[-1].append(character)
    return Pattern(tuple(tuple(part) for part in parts))


def prefix_end(pattern: Pattern, value: str, start: int = 0, *, longest: bool) -> int:
    """Return where a match that begins exactly at `start` ends, or -1."""
    first, *others = pattern.parts
    if not _stands_at(first, value, start):
        return -1
    at = start + len(first)
    if not others:
        return at
    for part in others[:-1]:
        found = _find(part, value, at)
        if found < 0:
            return -1
        at = found + len(part)
    last = others[-1]
    found = _find_last(last, value, at) if longest else _find(last, value, at)
    return found + len(last) if found >= 0 else -1


def trim_prefix(pattern: str, value: str, *, longest: bool) -> str:
    end = prefix_end(parse(pattern), value, longest=longest)
    return value if end < 0 else value[end:]


def trim_suffix(pattern: str, value: str, *, longest: bool) -> str:
    end = prefix_end(parse(pattern).reversed(), value[::-1], longest=longest)
    return value if end < 0 else value[: len(value) - end]


def replace(pattern: str, replacement: str, value: str, *, everywhere: bool) -> str:
    """Replace the leftmost, longest match, or all of them; an empty one beside another is none."""
    parsed = parse(pattern)
    out: list[str] = []
    copied, at, matched_to, size = 0, 0, -1, len(value)
    while at <= len(value):
        start = _find(parsed.parts[0], value, at)
        # No match from the leftmost place of the first part: then there is none further right.
        end = prefix_end(parsed, value, start, longest=True) if start >= 0 else -1
        if end < 0:
            break
        if not (start == end == matched_to):
            out += [value[copied:start], replacement]
            copied = matched_to = end
            size += len(replacement)
            if size > MOST_CHARACTERS:
                raise BadWildcard(f"the result is longer than {MOST_CHARACTERS} characters")
            if not everywhere:
                break
        at = end + (end == start)
    out.append(value[copied:])
    return "".join(out)


def _stands_at(part: Part, value: str, at: int) -> bool:
    if at + len(part) > len(value):
        return False
    return all(want in (ANY, value[at + i]) for i, want in enumerate(part))


def _find(part: Part, value: str, at: int) -> int:
    """Return the leftmost place of a part from `at` on, or -1."""
    if ANY not in part:
        return value.find("".join(part), at)
    for start in range(at, len(value) - len(part) + 1):
        if _stands_at(part, value, start):
            return start
    return -1


def _find_last(part: Part, value: str, at: int) -> int:
    if ANY not in part:
        return value.rfind("".join(part), at)
    for start in range(len(value) - len(part), at - 1, -1):
        if _stands_at(part, value, start):
            return start
    return -1
