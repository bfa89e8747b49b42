"""apt-get asks nothing: `-y` is given.

Nobody answers in a build, so apt-get gives up. Unlike in hadolint, `yes |` and
`-o APT::Get::Assume-Yes=true` are answers.

Bad:
    FROM debian:12
    RUN apt-get install --no-install-recommends curl

Good:
    FROM debian:12
    RUN apt-get install -y curl; apt-get -qq install curl; apt-get -q -q install curl
    RUN apt-get -o APT::Get::Assume-Yes=1 install curl

Good:
    FROM debian:12
    RUN yes | apt-get install curl
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.patterns import later
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.packages import APT_VALUED, asks
from buildkit_py.dockerfile.lint.rule import Edit, Finding, Severity

severity = Severity.WARNING
alone = True

_SHORT = later(r"-[A-Za-z]+")


def check(file: File) -> Iterator[Finding]:
    found = asks(file, ("apt-get",), ("install",), ("y", "yes", "assume-yes"), APT_VALUED)
    for program, verb in found:
        values = program.call.values
        if not _is_quiet(values) and not any(map(_assumes_yes, values)):
            end = program.of(verb).end
            edit = Edit(program.of(verb).source.span(end, end), " -y")
            yield Finding(program.span, "nobody answers: `-y` is missing", (edit,))


def _is_quiet(values: tuple[str, ...]) -> bool:
    """Tell whether the second level of quietness is asked for, which implies `-y`."""
    count = sum(
        value == "--quiet" or (value.count("q") if _SHORT.fullmatch(value) else 0)
        for value in values
    )
    return count > 1 or "-q=2" in values


def _assumes_yes(value: str) -> bool:
    name, _, setting = value.lower().rpartition("=")
    return name.endswith("apt::get::assume-yes") and setting in ("1", "true", "yes", "on")
