"""Programs that make no sense in a build are not called.

A build has no terminal, no services and no processes but its own: `ssh`, `service`, `top` and the
like show that a RUN does what should be done when the container runs.

Bad:
    FROM debian:12
    RUN service nginx start

Good:
    FROM debian:12
    RUN ssh-keyscan example.org >> /etc/ssh/ssh_known_hosts
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.INFO
alone = True

_PROGRAMS = ("free", "kill", "mount", "ps", "service", "shutdown", "ssh", "top", "vim")


def check(file: File) -> Iterator[Finding]:
    for _, program in file.calls(*_PROGRAMS):
        yield Finding(program.name_span, f"`{program.name}` makes no sense in a build")
