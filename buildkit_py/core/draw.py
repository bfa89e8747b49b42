"""Errors as people see them: code, place, excerpt with the fault underlined, hint.

error[dockerfile/unknown-instruction]: unknown instruction `RUM`
 --> Dockerfile:2:1
  |
2 | RUM echo hi
  | ^^^ not a Dockerfile instruction

hint: did you mean `RUN`?

Colour is added by the caller's `paint`; the text must be understood without it.
"""

from __future__ import annotations

from collections.abc import Callable

from buildkit_py.core.errors import BuildkitError, InputErrors
from buildkit_py.core.source import Span

MOST_LINES = 6
"""Lines of an excerpt at the most; a longer span shows its first ones."""

MOST_COLUMNS = 160
"""Characters of an excerpt's line at the most; a longer one is cut around the span."""

Paint = Callable[[str, str], str]


def plain(text: str, style: str) -> str:
    """The painter that adds no colour."""
    return text


def draw(error: BuildkitError, *, level: str = "error", paint: Paint = plain) -> str:
    """Return the whole message of an error, without a final line end.

    paint: called with a piece of text and a style (`error`, `warning`, `hint`, `place`)
    """
    if isinstance(error, InputErrors):
        return "\n\n".join(draw(each, level=level, paint=paint) for each in error.errors)
    lines = [f"{paint(f'{level}[{error.code}]', level)}: {printable(error.message)}"]
    if error.at is not None:
        lines += excerpt(error.at, error.label, paint=paint)
    lines += [printable(note) for note in error.notes]
    if error.hint:
        lines += ["", f"{paint('hint', 'hint')}: {printable(error.hint)}"]
    return "\n".join(lines)


def excerpt(span: Span, label: str = "", *, paint: Paint = plain) -> list[str]:
    """Return the lines around a span, numbered, with its characters underlined."""
    first, last = span.line, span.end_line
    shown = range(first, min(last, first + MOST_LINES - 1) + 1)
    width = len(str(shown[-1]))
    gutter = " " * width + " |"
    lines = [f"{' ' * width}--> {printable(span.place)}", gutter]
    for number in shown:
        text = span.source.line(number)
        start = span.source.starts[number - 1]
        left = max(span.start - start, 0)
        right = max(min(span.end - start, len(text)), left)
        if number != first:
            left += len(text[left:right]) - len(text[left:right].lstrip())
        text, left, right = cut(text, left, right)
        lines.append(f"{number:>{width}} | {printable(text)}")
        under = " " * len(printable(text[:left])) + "^" * max(len(printable(text[left:right])), 1)
        if number == shown[-1] and label:
            under += f" {printable(label)}"
        if right > left or number == first:
            lines.append(f"{gutter} {paint(under, 'error')}")
    if last > shown[-1]:
        lines.append(f"{gutter} … {last - shown[-1]} more lines")
    return lines


def cut(text: str, left: int, right: int) -> tuple[str, int, int]:
    """Return the part of a long line around the stretch from `left` to `right`, and where it is."""
    if len(text) <= MOST_COLUMNS:
        return text, left, right
    start = max(0, min(left - MOST_COLUMNS // 4, len(text) - MOST_COLUMNS))
    end = min(len(text), start + MOST_COLUMNS)
    front, back = "…" if start else "", "…" if end < len(text) else ""
    moved = len(front) - start
    shown = front + text[start:end] + back
    return shown, left + moved, min(right + moved, len(shown))


def printable(text: str) -> str:
    """Show tabs as four blanks and escape what could command a terminal."""
    text = text.replace("\t", "    ")
    return "".join(
        c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )
