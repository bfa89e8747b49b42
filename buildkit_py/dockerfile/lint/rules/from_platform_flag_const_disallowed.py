"""`--platform` of FROM is not a constant.

A constant ties the file to one platform, whatever the build is for. A stage that is meant for one
platform says so by having its name in its own. Unlike hadolint, BuildKit knows such stages, and
takes any variable for one that may change.

Bad:
    FROM --platform=linux/amd64 debian:12 AS build

Good:
    FROM --platform=$BUILDPLATFORM debian:12 AS build

Good:
    FROM --platform=linux/amd64 debian:12 AS build-amd64
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.errors import InputError
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Finding, Severity
from buildkit_py.oci.platform import parse_platform

name = "FromPlatformFlagConstDisallowed"
alias = "DL3029"
severity = Severity.WARNING


def check(file: File) -> Iterator[Finding]:
    for stage in file.stages:
        for flag in stage.origin.flags:
            value = flag.value or ""
            if flag.name != "platform" or "$" in value:
                continue
            try:
                platform = parse_platform(value)
            except InputError:
                continue
            if not any(part in (stage.name or "") for part in (platform.os, platform.architecture)):
                yield Finding(flag.span, f"`{value}` ties the stage to one platform")
