"""Pin the versions of Debian packages.

Off by default: Debian's archive keeps only the newest version of a release, so a pinned one is
gone with the next security fix and the build breaks. Pin the base image instead. Unlike hadolint,
values of options are not taken for packages, and neither are variables.

Bad:
    FROM debian:12
    RUN apt-get update && apt-get install -y curl

Good:
    FROM debian:12
    RUN apt-get install -y -o Debug::Acquire=1 curl=7.88.1-10 libc6/stable ./x.deb "$packages"
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.packages import APT_VALUED, first_by_run, installs, named
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.dockerfile.shell.script import ShellWord

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    found = (
        (run, program, [word for word in words if not _is_pinned(word)])
        for run, program, words in installs(file, ("apt-get",), ("install",), APT_VALUED)
    )
    for _, program, words in first_by_run(found):
        yield Finding(program.of(words[0]), f"no version for {named(words)}: write `name=version`")


def _is_pinned(word: ShellWord) -> bool:
    return (
        not word.literal
        or "=" in word.value
        or "/" in word.value
        or word.value.endswith((".deb", "-"))
    )
