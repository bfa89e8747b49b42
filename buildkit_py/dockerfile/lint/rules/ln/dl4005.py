"""SHELL chooses the shell of RUN; `/bin/sh` stays what the base image made it.

Scripts of packages count on their distribution's `/bin/sh`.

Bad:
    FROM debian:12
    RUN ln -sf /bin/bash /bin/sh

Good:
    FROM debian:12
    SHELL ["/bin/bash", "-c"]
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for _, program in file.calls("ln"):
        if program.call.has("/bin/sh"):
            yield Finding(program.span, "use `SHELL` to choose another shell")
