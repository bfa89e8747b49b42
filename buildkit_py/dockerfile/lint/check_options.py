"""What a comment `# check=skip=A,B;error=true;experimental=C` asks for, read as BuildKit reads it.

At most three parts; the value ends at its first blank; at the top of a file, BuildKit refuses to
build one that it does not understand. It takes names of rules that do not exist: we report those.
Counterpart: moby/buildkit frontend/dockerfile/linter/linter.go (ParseLintOptions).
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.source import Span
from buildkit_py.core.text import did_you_mean
from buildkit_py.core.tuples import NamedTuple
from buildkit_py.dockerfile.errors import DockerfileError, short

ALL_CHECKS = "check=skip=all"
"""Stands for every BuildKit check: `skip=all` says nothing about hadolint's rules."""

_OPTIONS = ("skip", "error", "experimental")
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class BadCheck(DockerfileError):
    """A comment `# check=` has an option, or a value, that means nothing."""

    code = "dockerfile/bad-check"


class Check(NamedTuple):
    """
    skip: codes; experimental: codes that run besides
    places: where each code stands
    wrong: why BuildKit would not build
    unread: what stands behind the value's first blank, and looks like a part of it
    """

    skip: frozenset[str] = frozenset()
    error: bool = False
    experimental: frozenset[str] = frozenset()
    places: tuple[Span, ...] = ()
    wrong: tuple[BadCheck, ...] = ()
    unread: Span | None = None


def read_check(span: Span) -> Check:
    """Read the value of a comment `# check=`; what is not understood is in `wrong`."""
    text = span.text.partition(" ")[0]
    skip: set[str] = set()
    experimental: set[str] = set()
    error = False
    places: list[Span] = []
    wrong: list[BadCheck] = []
    for part in _parts(span.source.span(span.start, span.start + len(text)), ";", 3):
        name, equals, value = part.text.partition("=")
        name = name.strip()
        if not equals or name not in _OPTIONS:
            wrong.append(_unknown(part, name))
            continue
        place = _trimmed(part.source.span(part.end - len(value), part.end))
        if name == "error":
            if place.text not in (*_TRUE, *_FALSE):
                message = f"`error` of `check` is `true` or `false`, not `{short(place.text)}`"
                wrong.append(BadCheck(message, at=place if place.text else part))
            error = place.text in _TRUE
            continue
        codes = [each for each in map(_trimmed, _parts(place, ",")) if each.text]
        places += [each for each in codes if place.text != "all"]
        if name == "skip":
            skip |= {ALL_CHECKS} if place.text == "all" else {each.text for each in codes}
        else:
            experimental |= {each.text for each in codes}
    rest = _trimmed(span.source.span(span.start + len(text), span.end))
    return Check(
        frozenset(skip),
        error,
        frozenset(experimental),
        tuple(places),
        tuple(wrong),
        rest if rest.text and text.endswith((",", "=")) else None,
    )


def _unknown(part: Span, name: str) -> BadCheck:
    """Return the complaint about a part that is not `option=value`."""
    if not name:
        return BadCheck(
            "an option of `check` is empty",
            at=part.source.span(part.start - 1, part.end),
            hint="no `;` at the end, and no blanks: the value ends at the first one",
        )
    start = part.start + part.text.index(name)
    at = part.source.span(start, start + len(name))
    if name in _OPTIONS:
        return BadCheck(
            f"the option `{name}` of `check` has no value", at=at, hint=f"write `{name}=…`"
        )
    hint = did_you_mean(name, _OPTIONS) or "the options are `skip`, `error` and `experimental`"
    return BadCheck(f"unknown option `{short(name)}` of `check`", at=at, hint=hint)


def _parts(span: Span, mark: str, most: int = -1) -> Iterator[Span]:
    """Yield what stands between marks, at most so many parts; nothing of an empty text."""
    if not span.text.strip():
        return
    start = span.start
    for part in span.text.split(mark, most - 1 if most > 0 else -1):
        yield span.source.span(start, start + len(part))
        start += len(part) + 1


def _trimmed(span: Span) -> Span:
    text = span.text
    start = span.start + len(text) - len(text.lstrip())
    return span.source.span(start, start + len(text.strip()))
