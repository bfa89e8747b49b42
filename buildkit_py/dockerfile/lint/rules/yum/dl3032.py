"""What `yum install` has downloaded is deleted in the same RUN.

Else it stays in the image. A cache mount over `/var/cache/yum` is as good. Unlike hadolint,
`yum clean` must say `all`, and it must come after the last install. Only stages that end up in an
image count.

Bad:
    FROM centos:7
    RUN yum install -y curl

Good:
    FROM centos:7
    RUN yum install -y curl && yum clean all
    RUN yum install -y git && rm -rf /var/cache/yum
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, Program
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    for run in file.runs:
        programs = run.programs
        at = [n for n, each in enumerate(programs) if each.name == "yum" and _installs(each)]
        if not at or not run.stage.is_kept or run.is_cached("/var/cache/yum", "/var/cache/dnf"):
            continue
        if not any(_is_cleanup(each) for each in programs[at[-1] + 1 :]):
            yield Finding(
                programs[at[-1]].span, "downloads stay in the image; end with `yum clean all`"
            )


def _installs(program: Program) -> bool:
    return program.call.has("install", "groupinstall", "localinstall")


def _is_cleanup(program: Program) -> bool:
    if program.name in ("yum", "dnf", "microdnf"):
        return program.call.has("clean") and program.call.has("all")
    return program.name == "rm" and any(
        value.startswith(("/var/cache/yum", "/var/cache/dnf", "/var/cache/*"))
        for value in program.call.values
    )
