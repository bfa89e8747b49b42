"""apk keeps no index: `--no-cache`.

With it apk loads its index for this one call and leaves nothing behind. Unlike in hadolint, a
cache mount at `/etc/apk/cache` is known.

Bad:
    FROM alpine:3.20
    RUN apk add curl

Good:
    FROM alpine:3.20
    RUN apk add --no-cache curl && apk --no-cache add wget
    RUN --mount=type=cache,target=/etc/apk/cache apk add make
    RUN apk add --no-network ./x.apk
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, first_of_run
from buildkit_py.dockerfile.lint.packages import APK_VALUED, installs
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.INFO


def check(file: File) -> Iterator[Finding]:
    found = (
        (run, program)
        for run, program, _ in installs(file, ("apk",), ("add",), APK_VALUED)
        if not program.call.has_flag("no-cache", "no-network")
        and not run.is_cached("/var/cache/apk", "/etc/apk/cache")
    )
    for _, program in first_of_run(found):
        yield Finding(program.span, "apk's index stays in the image; add `--no-cache`")
