"""Pin the versions of packages that dnf installs.

Off by default, as all rules about pinning. Unlike hadolint, values of options are not taken for
packages, and neither are variables. A module has a stream: `name:stream`.

Bad:
    FROM fedora:40
    RUN dnf install -y curl

Good:
    FROM fedora:40
    RUN dnf install -y curl-8.6.0-8.fc40 ./x.rpm $packages
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.packages import first_by_run, named, unpinned_rpms
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    for _, program, words in first_by_run(unpinned_rpms(file, ("dnf", "microdnf"))):
        yield Finding(program.of(words[0]), f"no version for {named(words)}: write `name-version`")
