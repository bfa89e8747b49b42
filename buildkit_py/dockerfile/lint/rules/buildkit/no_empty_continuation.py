"""No empty line stands inside a continued instruction.

Such a line looks like the end of the instruction, and it is none. Docker has announced to refuse
it. Comment lines are fine. The finding is at the last line of the instruction, as BuildKit has it.

Bad:
    FROM debian:12
    RUN make \\

        install

Good:
    FROM debian:12
    RUN make \\
        # with everything
        install
"""

from __future__ import annotations

from collections.abc import Iterator

from buildkit_py.core.source import Span
from buildkit_py.dockerfile.lines import SPACES
from buildkit_py.dockerfile.lint.facts import File
from buildkit_py.dockerfile.lint.rule import Edit, Finding, Severity

severity = Severity.WARNING
alone = True


def check(file: File) -> Iterator[Finding]:
    source = file.source
    for instruction in file.instructions:
        span = instruction.span
        end = instruction.heredocs[0].span.start if instruction.heredocs else span.end
        if "\n" not in source.text[span.start : end - 1]:
            continue
        first, last = span.line, source.line_number(max(span.start, end - 1))
        empty = []
        for number in range(first + 1, last + 1):
            if not source.line(number).strip(SPACES):
                start = source.starts[number - 1]
                stop = source.starts[number] if number < len(source.starts) else len(source.text)
                empty.append(Span(source, start, stop))
        if empty:
            at = source.starts[last - 1]
            place = Span(source, at, at + len(source.line(last)))
            yield Finding(
                place,
                f"line {empty[0].line} inside this instruction is empty",
                tuple(Edit(each, "") for each in empty),
            )
