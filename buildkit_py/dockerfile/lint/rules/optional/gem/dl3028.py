"""Pin the versions of gems.

Off by default, as all rules about pinning.

Bad:
    FROM ruby:3.3
    RUN gem install bundler

Good:
    FROM ruby:3.3
    RUN gem install bundler:2.0.1 && gem i rake -v 13.0 -- --use-system-libraries
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.packages import GEM_VALUED, installs, named
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for _, program, words in installs(file, ("gem",), ("install", "i"), GEM_VALUED):
        if program.call.has_flag("v", "version"):
            continue
        build = program.call.values.index("--") if program.call.has("--") else None
        end = program.call.arguments[build].start if build is not None else float("inf")
        loose = [
            word
            for word in words
            if word.literal and word.start < end and not _is_pinned(word.value)
        ]
        if loose:
            yield Finding(
                program.of(loose[0]), f"no version for {named(loose)}: write `name:version`"
            )


def _is_pinned(value: str) -> bool:
    return ":" in value or value.endswith(".gem")
