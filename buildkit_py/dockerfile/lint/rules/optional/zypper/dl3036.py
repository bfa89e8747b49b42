"""zypper's downloads do not stay in the image.

Only stages count whose layers are part of an image.

Bad:
    FROM opensuse/leap:15.6
    RUN zypper -n install httpd

Good:
    FROM opensuse/leap:15.6
    RUN zypper -n install httpd && zypper clean
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, Program
from buildkit_py.dockerfile.lint.packages import ZYPPER_VALUED, uncleaned, verb_of
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING

_VERBS = ("install", "in")


def check(file: File) -> Iterator[Finding]:
    for program in uncleaned(file, _installs, _cleans, "/var/cache/zypp"):
        yield Finding(program.span, "downloads stay in the image; end with `zypper clean`")


def _installs(program: Program) -> bool:
    return program.name in ("zypper",) and verb_of(program, ZYPPER_VALUED) in _VERBS


def _cleans(program: Program) -> bool:
    return program.name == "zypper" and program.call.has("clean", "cc")
