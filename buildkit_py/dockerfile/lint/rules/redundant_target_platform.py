"""`--platform=$TARGETPLATFORM` says nothing.

A stage is built for the target's platform anyway.

Bad:
    FROM --platform=$TARGETPLATFORM debian:12

Good:
    FROM --platform=$BUILDPLATFORM debian:12
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.source import Span
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Edit, Finding, Severity

name = "RedundantTargetPlatform"
alias = "DL3065"
severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    text = file.source.text
    for stage in file.stages:
        for flag in stage.origin.flags:
            if flag.name == "platform" and flag.value in ("$TARGETPLATFORM", "${TARGETPLATFORM}"):
                end = flag.span.end
                while text[end : end + 1] in (" ", "\t"):
                    end += 1
                edit = Edit(Span(file.source, flag.span.start, end), "")
                yield Finding(
                    flag.span, "the target's platform is what a stage is built for anyway", (edit,)
                )
