"""Pin the versions of packages that dnf installs.

Off by default, as all rules about pinning. Unlike hadolint, values of options are not taken for
packages, and neither are variables.

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
from buildkit_py.dockerfile.lint.packages import (
    YUM_VALUED,
    first_by_run,
    installs,
    is_rpm_pinned,
    named,
)
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    found = (
        (run, program, [word for word in words if word.literal and not is_rpm_pinned(word.value)])
        for run, program, words in installs(file, ("dnf", "microdnf"), ("install",), YUM_VALUED)
        if not program.call.has("module", "group")
    )
    for _, program, words in first_by_run(found):
        yield Finding(program.of(words[0]), f"no version for {named(words)}: write `name-version`")
