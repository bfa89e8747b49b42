"""Sizes, durations and command lines, as compose files write them."""

from __future__ import annotations

import re

from buildkit_py.core.patterns import later

_SIZE = later(r"(\d+(?:\.\d+)*) ?([kKmMgGtTpP])?[iI]?[bB]?", re.A)
_DURATION_PART = later(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h|d|w)", re.A)
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
_MOST = (1 << 63) - 1


def size_bytes(text: str) -> int:
    """Return a size such as `1.5g`, `64KiB` or `-1` in bytes. Raises ValueError.

    Counterpart: docker/go-units RAMInBytes, with powers of 1024.
    """
    digits = text[1:] if text[:1] in ("-", "+") else text
    if digits.isascii() and digits.isdigit():
        number = int(text)
    else:
        found = _SIZE.fullmatch(text)
        if found is None or found[1].count(".") > 1:
            raise ValueError(f"`{text}` is no size; sizes are like `512m` or `1.5g`")
        power = " kmgtp".index(found[2].lower()) if found[2] else 0
        number = int(float(found[1]) * 1024**power)
    if not -_MOST - 1 <= number <= _MOST:
        raise ValueError(f"`{text}` is too large")
    return number


def duration_ns(text: str) -> int:
    """Return a duration such as `1m30s`, `1.5h` or `2d` in nanoseconds. Raises ValueError.

    Counterpart: xhit/go-str2duration, which is Go's time.ParseDuration with days and weeks.
    """
    sign = -1 if text[:1] == "-" else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    total = at = 0
    while at < len(rest) or not rest:
        found = _DURATION_PART.match(rest, at)
        if found is None or not (found[1] or found[2]):
            raise ValueError(f"`{text}` is no duration; durations are like `1m30s`")
        unit = _NANOSECONDS[found[3]]
        part = (found[2] or "")[:20]
        total += int(found[1][:20] or "0") * unit
        total += int(part) * unit // 10 ** len(part) if part else 0
        at = found.end()
    if total > _MOST:
        raise ValueError(f"`{text}` is too long")
    return sign * total


def words(line: str) -> list[str]:
    """Return the words of a command line. Raises ValueError for quotes that do not pair up.

    Quotes and backslashes count, variables and wildcards do not; the line ends at `;`, `&`, `|`,
    `<` or `>`. A backtick or `$(` holds blanks together. A `#` is a letter
    like others. Counterpart: mattn/go-shellwords.
    """
    out: list[str] = []
    word: str | None = None
    # Which of `"`, `'`, a backtick and `$(` are open. In the last two, quotes still count.
    held = {'"': False, "'": False, "`": False, ")": False}
    escaped = False
    for character in line:
        if escaped:
            word = (word or "") + character
            escaped = False
        elif character == "\\" and not held["'"]:
            escaped = True
        elif character in " \t\r\n" and not any(held.values()):
            if word is not None:
                out.append(word)
            word = None
        elif character in "\"'" and not held[")"] and not held["'" if character == '"' else '"']:
            # Also an empty pair of quotes is a word.
            word = word or ""
            held[character] = not held[character]
        else:
            if character in "()" and not (held['"'] or held["'"] or held["`"]):
                # Only `$(` opens, and only what is open can be closed.
                opens = character == "(" and not held[")"] and (word or "").endswith("$")
                if not opens and not (character == ")" and held[")"]):
                    raise ValueError(f"a `{character}` must be quoted")
                held[")"] = opens
            elif character == "`" and not (held['"'] or held["'"] or held[")"]):
                held["`"] = not held["`"]
            elif character in ";&|<>" and not any(held.values()):
                if character == ">" and word and word[0] in "0123456789":
                    word = None
                break
            word = (word or "") + character
    if escaped or any(held.values()):
        raise ValueError("nothing follows the backslash" if escaped else "a quote is not closed")
    if word is not None:
        out.append(word)
    return out
