"""A user with a large number needs `useradd --no-log-init`.

useradd writes /var/log/lastlog, whose size is that of the largest number: sparse on a disk, and
gigabytes in a layer. Unlike in hadolint, `--uid` is known.

Bad:
    FROM debian:12
    RUN useradd -u 1234567 app

Good:
    FROM debian:12
    RUN useradd -l -u 1234567 app && useradd --uid=1000 other
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True

MOST_DIGITS = 5


def check(file: File) -> Iterator[Finding]:
    for _, program in file.calls("useradd"):
        if program.call.has_flag("l", "no-log-init"):
            continue
        values = program.call.values
        for at, value in enumerate(values):
            number = values[at + 1] if value in ("-u", "--uid") and at + 1 < len(values) else ""
            if value.startswith("--uid="):
                number = value.removeprefix("--uid=")
            if number.isdecimal() and len(number) > MOST_DIGITS:
                yield Finding(program.span, "this makes a large `lastlog`; add `--no-log-init`")
                break
