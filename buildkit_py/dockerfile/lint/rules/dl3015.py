"""`apt-get install` takes no recommended packages along.

They are nice to have on a desktop. In an image they are weight, and more to keep up to date.

Bad:
    FROM debian:12
    RUN apt-get install -y curl

Good:
    FROM debian:12
    RUN apt-get install -y --no-install-recommends curl
    RUN apt-get install -y -o APT::Install-Recommends=false curl
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.dockerfile.lint.facts import File, first_of_run
from buildkit_py.dockerfile.lint.packages import APT_VALUED, installs
from buildkit_py.dockerfile.lint.rule import Finding, Severity

severity = Severity.INFO
alone = True


def check(file: File) -> Iterator[Finding]:
    found = (
        (run, program)
        for run, program, _ in installs(file, ("apt-get",), ("install",), APT_VALUED)
        if not program.call.has_flag("no-install-recommends")
        and not any(_switches_off(value) for value in program.call.values)
    )
    for _, program in first_of_run(found):
        yield Finding(program.span, "recommended packages come along: `--no-install-recommends`")


def _switches_off(value: str) -> bool:
    name, _, setting = value.lower().rpartition("=")
    return name.endswith("apt::install-recommends") and setting in ("0", "false", "no", "off")
