"""JSON arrays as arguments, the way Go's encoding/json reads them.

The grammar recognizes an array of strings. What is left for here: decode its strings, and tell
an array that holds something else (an error) from text that only starts with `[` (words). Python's
json module is laxer than Go's (NaN) and gives up at another depth, so it is not asked.
"""

from __future__ import annotations

from buildkit_py.core.patterns import later

MOST_DEPTH = 10_000
"""Deeper arrays are not JSON to Go (encoding/json, maxNestingDepth)."""

_BLANKS = later(r"[ \t\r\n]*+")
_STRING = later(r'"(?>[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+"')
_NUMBER = later(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?")
_LITERAL = later(r"true|false|null")
_SURROGATE = later("[\ud800-\udfff]")


def decode(literal: str) -> str:
    """Return the text of a JSON string that the grammar accepted, quotes included.

    What is no character (half a surrogate pair, a byte that is not UTF-8) becomes U+FFFD.
    """
    text = literal[1:-1]
    if "\\" in text:
        import json

        text = str(json.loads(literal))
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def stranger(text: str) -> int | None:
    """Return the offset of the first element that is no string in a JSON array.

    None when the whole text is no JSON array, or when all its elements are strings.
    Cost: linear, without recursion.
    """
    at = 0
    stack: list[str] = []
    found: int | None = None
    # What may come next: `value`, `first` (value or the end), `key`, `colon`, `after` (a value).
    awaits = "value"
    while True:
        blanks = _BLANKS.match(text, at)
        at = blanks.end() if blanks else at
        if awaits == "done":
            return found if at == len(text) else None
        mark = text[at : at + 1]
        if awaits == "after":
            if mark == "," and stack:
                awaits = "value" if stack[-1] == "]" else "key"
            elif stack and mark == stack[-1]:
                stack.pop()
                awaits = "after" if stack else "done"
            else:
                return None
            at += 1
        elif awaits == "colon":
            if mark != ":":
                return None
            awaits, at = "value", at + 1
        elif awaits == "first" and mark == stack[-1]:
            stack.pop()
            awaits, at = "after" if stack else "done", at + 1
        elif awaits == "key" or (awaits == "first" and stack[-1] == "}"):
            key = _STRING.match(text, at)
            if key is None:
                return None
            awaits, at = "colon", key.end()
        else:
            if len(stack) == 1 and mark != '"' and found is None:
                found = at
            if mark in ("[", "{") and mark and (stack or mark == "["):
                stack.append("]" if mark == "[" else "}")
                awaits, at = "first", at + 1
                if len(stack) > MOST_DEPTH:
                    return None
                continue
            end = _scalar(text, at) if stack else None
            if end is None:
                return None
            awaits, at = "after", end


def _scalar(text: str, at: int) -> int | None:
    """Return the end of the string, number or literal at `at`, or None."""
    for pattern in (_STRING, _NUMBER, _LITERAL):
        found = pattern.match(text, at)
        if found is not None:
            # Go reads numbers as float64 and refuses what does not fit.
            infinite = pattern is _NUMBER and float(found[0]) in (float("inf"), float("-inf"))
            return None if infinite else found.end()
    return None
