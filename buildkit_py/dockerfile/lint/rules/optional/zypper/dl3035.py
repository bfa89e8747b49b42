"""zypper does not upgrade a distribution: `dist-upgrade` is left to the base image.

Bad:
    FROM opensuse/leap:15.6
    RUN zypper -n dup

Good:
    FROM opensuse/leap:15.6
    RUN zypper -n patch
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for _, program in file.calls("zypper"):
        if program.call.has("dist-upgrade", "dup"):
            yield Finding(program.span, "take a newer base image instead of upgrading this one")
