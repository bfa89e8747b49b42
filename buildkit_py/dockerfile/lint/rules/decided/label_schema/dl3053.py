"""A label that holds a time holds one as RFC 3339 has it.

With date, time and offset: `2026-11-25T10:30:00Z`. Values with variables are left alone, unlike in
hadolint.

Bad (with label-schema: org.opencontainers.image.created: rfc3339):
    FROM debian:12
    LABEL org.opencontainers.image.created="25 Nov 2026"

Good (with label-schema: org.opencontainers.image.created: rfc3339):
    FROM debian:12
    LABEL org.opencontainers.image.created="2026-11-25T10:30:00+01:00"
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.patterns import later
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.labels import wrong_values
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True

_TIME = later(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|[+-](\d\d):(\d\d))")
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def check(file: File) -> Iterator[Finding]:
    return wrong_values(file, "rfc3339", _is_right, "no time of RFC 3339")


def _is_right(value: str) -> bool:
    found = _TIME.fullmatch(value)
    if found is None:
        return False
    year, month, day, hour, minute, second, east, more = (int(each or 0) for each in found.groups())
    if not 1 <= month <= 12 or not 1 <= day <= _DAYS[month - 1]:
        return False
    if (month, day) == (2, 29) and (year % 4 or (year % 100 == 0 and year % 400)):
        return False
    # The 61st second is a leap second.
    return hour <= 23 and minute <= 59 and second <= 60 and east <= 23 and more <= 59
