"""zypper asks nothing: `-n` is given.

Nobody answers in a build, so zypper gives up. Unlike in hadolint, `yes |` is an answer.

Bad:
    FROM opensuse/leap:15.6
    RUN zypper install httpd && zypper clean

Good:
    FROM opensuse/leap:15.6
    RUN zypper -n install httpd && zypper in -y x && zypper clean
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.packages import ZYPPER_VALUED, asks
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True

_VERBS = ("install", "in", "remove", "rm", "source-install", "si", "patch")
_YES = ("n", "non-interactive", "no-confirm", "y")


def check(file: File) -> Iterator[Finding]:
    for program, _ in asks(file, ("zypper",), _VERBS, _YES, ZYPPER_VALUED):
        yield Finding(program.span, "nobody answers: `-n` is missing")
