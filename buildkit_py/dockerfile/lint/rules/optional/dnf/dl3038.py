"""dnf asks nothing: `-y` is given.

Nobody answers in a build, so dnf gives up. Unlike in hadolint, `yes |` is an answer.

Bad:
    FROM fedora:40
    RUN dnf install httpd && dnf clean all

Good:
    FROM fedora:40
    RUN dnf -y install httpd && dnf clean all
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.packages import YUM_VALUED, asks
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True

_VERBS = ("install", "groupinstall", "localinstall")
_YES = ("y", "yes", "assumeyes")


def check(file: File) -> Iterator[Finding]:
    for program, _ in asks(file, ("dnf", "microdnf"), _VERBS, _YES, YUM_VALUED):
        yield Finding(program.span, "nobody answers: `-y` is missing")
