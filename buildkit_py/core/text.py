"""Small words for people."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return ``did you mean `X`?`` for the nearest known word, or None when none is near."""
    from difflib import get_close_matches

    names = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold(), names, n=1, cutoff=0.6)
    return f"did you mean `{names[near[0]]}`?" if near else None


def human_size(size_bytes: int) -> str:
    """Return a size as docker prints it: `0B`, `1.5kB`, `2.34MB` (powers of 1000)."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.3g}{unit}" if unit != "B" else f"{size_bytes}B"
        size /= 1000
    return f"{size_bytes}B"
