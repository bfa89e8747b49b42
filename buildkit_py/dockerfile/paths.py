"""Paths inside an image, as text: always absolute, always with `/`."""

from __future__ import annotations


def clean(path: str, below: str = "/") -> str:
    """Return `path`, taken below the directory `below`, without `.`, `..` and double slashes.

    `..` never leaves the root.
    """
    parts: list[str] = []
    for part in (path if path.startswith("/") else f"{below}/{path}").split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def destination(path: str, cwd: str) -> str:
    """Return the absolute destination of a COPY; a `/` at the end means a directory."""
    cleaned = clean(path, cwd)
    if (path in ("", ".") or path.endswith(("/", "/."))) and cleaned != "/":
        cleaned += "/"
    return cleaned


def with_pivot(path: str) -> str:
    """Return a source of COPY --parents, cleaned, with its pivot `/./` where it has one."""
    parent, pivot, rest = path.partition("/./")
    if not pivot:
        return clean(path)
    return f"{clean(parent).rstrip('/')}/.{clean(rest)}"
