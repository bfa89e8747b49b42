"""Pin the versions of packages that zypper installs.

Off by default, as all rules about pinning. Unlike in hadolint, variables are left alone.

Bad:
    FROM opensuse/leap:15.6
    RUN zypper -n install httpd

Good:
    FROM opensuse/leap:15.6
    RUN zypper -n install httpd=2.4 "nginx>=1.2" ./x.rpm $more
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.packages import ZYPPER_VALUED, installs, named
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for _, program, words in installs(file, ("zypper",), ("install", "in"), ZYPPER_VALUED):
        loose = [word for word in words if word.literal and not _is_pinned(word.value)]
        if loose:
            yield Finding(
                program.of(loose[0]), f"no version for {named(loose)}: write `name=version`"
            )


def _is_pinned(value: str) -> bool:
    return any(mark in value for mark in "=<>") or value.endswith(".rpm")
