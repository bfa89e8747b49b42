"""Digests: `sha256:` and 64 hexadecimal digits.

On the no-op path. The C module behind hashlib is asked first: hashlib itself maps OpenSSL in,
which costs 4 ms at start; but OpenSSL's SHA-256 is faster on much data, so `hasher()` uses it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _hashlib import HASH
    from typing import NewType

    Digest = NewType("Digest", str)
else:

    def Digest(text):
        return text


def sha256(data: bytes) -> Digest:
    """Return the digest of a short text."""
    try:
        from _sha256 import sha256 as make  # type: ignore[import-not-found, unused-ignore]
    except ImportError:  # Python 3.12 and later name it otherwise
        from _sha2 import sha256 as make  # type: ignore[import-not-found, unused-ignore]

    return Digest("sha256:" + make(data).hexdigest())


def hasher() -> HASH:
    """Return a running SHA-256 for streams; `"sha256:" + hasher.hexdigest()` is the digest."""
    import hashlib

    return hashlib.sha256()


def is_digest(text: str) -> bool:
    """Tell whether `text` is a well-formed sha256 digest, and so safe as a file name."""
    head, _, tail = text.partition(":")
    return head == "sha256" and len(tail) == 64 and not tail.strip("0123456789abcdef")
