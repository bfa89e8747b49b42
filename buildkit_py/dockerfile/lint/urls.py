"""Where the page of a rule is on the web. Told by its code alone, so that no rule is imported."""

from __future__ import annotations

import re

_CHECKS = "https://docs.docker.com/go/dockerfile/rule/"
_WIKI = "https://github.com/hadolint/hadolint/wiki/"
_OTHERS = {
    # BuildKit has no page for this one, and a file that is no Dockerfile breaks no rule.
    "InvalidBaseImagePlatform": "https://docs.docker.com/reference/build-checks/",
    "DL1000": "https://docs.docker.com/reference/dockerfile/",
}


def url_of(code: str) -> str | None:
    """Return the address of the page about a code; None for those of our own."""
    if code in _OTHERS:
        return _OTHERS[code]
    if code.startswith("DL"):
        return _WIKI + code
    if code.startswith("PB"):
        return None
    return f"{_CHECKS}{re.sub(r'(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', '-', code).lower()}/"
