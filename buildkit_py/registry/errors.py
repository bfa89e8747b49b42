"""What can go wrong between us and a registry, one class per complaint that callers tell apart.

`Temporary` errors may go away when the request is sent again; `retry.py` does that.
What a server wrote is quoted in back-ticks and cut, for it may be anything.
"""

from __future__ import annotations

from buildkit_py.core.errors import RemoteError

MOST_QUOTED = 300


class Unreachable(RemoteError):
    """No connection came about: no such name, no network, nobody listening.

    Callers may fall back to another source, for nothing was said about the image.
    """

    code = "registry/unreachable"


class Untrusted(RemoteError):
    """The server's certificate is not signed by anybody we trust."""

    code = "registry/untrusted-certificate"


class NoTls(RemoteError):
    """The peer does not speak TLS."""

    code = "registry/no-tls"


class Temporary(RemoteError):
    """The same request may succeed later.

    after_seconds: how long the server asks us to wait, if it does
    """

    code = "registry/temporary"

    def __init__(self, message: str, *, code: str, after_seconds: float | None = None) -> None:
        super().__init__(message, code=code)
        self.after_seconds = after_seconds


class Broken(Temporary):
    """The connection broke, or nothing came for too long."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="registry/broken-connection")


class NotFound(RemoteError):
    """The registry has no such image."""

    code = "registry/not-found"


class Denied(RemoteError):
    """The registry wants other credentials, or none would do."""

    code = "registry/denied"


class Misbehaved(RemoteError):
    """The registry's answer breaks the specification."""

    code = "registry/bad-answer"


def quoted(text: str) -> str:
    """Return a server's words as part of a message: one line, cut, in back-ticks."""
    line = " ".join(text.split()).replace("`", "'")
    return f"`{line[:MOST_QUOTED]}…`" if len(line) > MOST_QUOTED else f"`{line}`"
