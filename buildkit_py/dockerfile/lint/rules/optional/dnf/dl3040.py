"""dnf's downloads do not stay in the image.

Only stages count whose layers are part of an image. Unlike in hadolint, the caches of dnf 4 are
known.

Bad:
    FROM fedora:40
    RUN dnf install -y httpd

Good:
    FROM fedora:40
    RUN dnf install -y httpd && dnf clean all
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, Program
from buildkit_py.dockerfile.lint.packages import YUM_VALUED, uncleaned, verb_of
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING

_VERBS = ("install", "in", "upgrade", "up", "upgrade-minimal", "up-min", "reinstall", "rei")


def check(file: File) -> Iterator[Finding]:
    for program in uncleaned(
        file, _installs, _cleans, "/var/cache/dnf", "/var/cache/libdnf5", "/.cache/libdnf5"
    ):
        yield Finding(program.span, "downloads stay in the image; end with `dnf clean all`")


def _installs(program: Program) -> bool:
    return program.name in ("dnf", "microdnf") and verb_of(program, YUM_VALUED) in _VERBS


def _cleans(program: Program) -> bool:
    if program.name in ("dnf", "microdnf", "yum"):
        return program.call.has("clean") and program.call.has("all")
    return program.name == "rm" and any(
        value.startswith(("/var/cache/yum", "/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/*"))
        for value in program.call.values
    )
