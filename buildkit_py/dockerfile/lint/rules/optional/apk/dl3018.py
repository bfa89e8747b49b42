"""Pin the versions of Alpine packages.

Off by default: Alpine deletes old versions from its archive, so a pinned one is gone with the
next fix. Unlike hadolint, values of `-p`, `--root` and `--keys-dir` are not taken for packages,
and neither are variables.

Bad:
    FROM alpine:3.20
    RUN apk add --no-cache curl

Good:
    FROM alpine:3.20
    RUN apk add --no-cache -t .deps curl=8.9.1-r1 'git>2' go~=1.22 ./x.apk $PHPIZE_DEPS
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.packages import APK_VALUED, first_by_run, installs, named
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.dockerfile.shell.script import ShellWord

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    found = (
        (run, program, [word for word in words if not _is_pinned(word)])
        for run, program, words in installs(file, ("apk",), ("add",), APK_VALUED)
    )
    for _, program, words in first_by_run(found):
        yield Finding(program.of(words[0]), f"no version for {named(words)}: write `name=version`")


def _is_pinned(word: ShellWord) -> bool:
    value = word.value
    return not word.literal or any(mark in value for mark in "=~<>") or value.endswith(".apk")
