"""One HTTP request, one response: the seam between the registry client and the network.

`web.Web` is the real one; `Recorded` answers from a table, for tests. Neither follows a redirect
nor sends anything again: `client` decides those, because both are questions of trust.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol

from buildkit_py.core.data import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Stream(Protocol):
    """Where the bytes of a body come from; `read` returns b"" at the end."""

    def read(self, amount: int) -> bytes: ...


@dataclass(slots=True)
class Response:
    """A status, headers with names in lower case, and a body that is read once.

    Whoever gets a response closes it; `with` does. `Broken` is raised when the connection breaks
    while reading, also when fewer bytes came than were announced.
    """

    status: int
    headers: Mapping[str, str]
    stream: Stream
    on_close: Callable[[], None] = lambda: None

    def read(self, amount: int = 1 << 16) -> bytes:
        return self.stream.read(amount)

    def all(self, limit: int) -> bytes:
        """Return the rest of the body; bytes above `limit` are one byte too many, never more."""
        parts: list[bytes] = []
        left = limit + 1
        while left and (part := self.stream.read(min(left, 1 << 16))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        self.on_close()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Transport(Protocol):
    """Send one request, follow no redirects, never retry: callers decide those.

    Raises Unreachable, Untrusted, NoTls or Broken.
    """

    def send(self, request: Request) -> Response: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A recorded response: what `Recorded` makes responses from."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Recorded:
    """A transport that answers from a table: for tests, and for working offline.

    answers: (method, URL) to an answer, to an error that is raised instead, or to a list of
        those, taken one by one (the last one stays); what is not in the table is 404
    """

    def __init__(
        self,
        answers: Mapping[tuple[str, str], Answer | Exception | Sequence[Answer | Exception]],
    ) -> None:
        self.answers = {
            key: [value] if isinstance(value, (Answer, Exception)) else list(value)
            for key, value in answers.items()
        }
        self.sent: list[Request] = []

    def send(self, request: Request) -> Response:
        self.sent.append(request)
        queue = self.answers.get((request.method, request.url), [Answer(404)])
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(answer, Exception):
            raise answer
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status, headers, io.BytesIO(answer.body))
