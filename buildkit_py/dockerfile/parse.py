"""Text to AST: logical lines (lines.py), the grammar (grammar.py), instructions.

    parse(source)                    a whole Dockerfile
    parse_part(source)               what of it can be read, beside what is wrong with it
    parse_instruction(text, ...)     one instruction, such as a trigger kept in an image

All complaints about a file are collected.

Where we differ from BuildKit, on purpose:
- the instruction behind ONBUILD is checked at once, not when a child image is built
- flags are read as characters, not as bytes, so that `--from=é` keeps its name
- a complaint points at the word at fault, not at the first line of its instruction
- a comment keeps its text without `#` also when blanks stand before it
- a file has at most 16 MiB and 250,000 words
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

from buildkit_py.core.errors import InputError
from buildkit_py.core.source import Source
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.errors import (
    MOST_FILE_BYTES,
    MOST_PIECES,
    BeforeFrom,
    DockerfileError,
    EmptyFile,
    FileTooLarge,
    NoInstructions,
    NoStage,
    TooManyWords,
    TriggerError,
    ZeroByte,
    raise_all,
)
from buildkit_py.dockerfile.grammar import openings, read_lines
from buildkit_py.dockerfile.instructions import build
from buildkit_py.dockerfile.lines import BOM, Reader

LINES_AT_ONCE = 200
"""Logical lines per run of Lark: enough to spread its start, few enough to bound its memory."""

MOST_ERRORS = 100
"""Complaints kept of one file; more tell nobody more, as it is no Dockerfile then."""


def parse(source: Source) -> ast.Dockerfile:
    """Return the AST of a Dockerfile.

    Raises InputError for one complaint and InputErrors for several.
    Cost: linear in the text; about 1 ms for a typical file of 1.6 KB.
    """
    dockerfile, errors = parse_part(source)
    raise_all(errors)
    return dockerfile


def parse_part(source: Source) -> tuple[ast.Dockerfile, list[InputError]]:
    """Return the instructions that can be read, and the complaints about the others."""
    reader, instructions, errors = _read(source)
    if not source.text.removeprefix(BOM):
        errors = [EmptyFile(source.span(0, 0))]
    elif wrong := _wrong_start(source, instructions, errors):
        errors.append(wrong)
    dockerfile = ast.Dockerfile(
        source=source,
        escape=reader.escape,
        directives=reader.directives,
        instructions=tuple(instructions),
    )
    return dockerfile, errors


def parse_instruction(
    text: str, escape: str = "\\", *, name: str = "ONBUILD trigger"
) -> ast.Instruction:
    """Return the one instruction of a text, which may bring heredoc bodies along.

    name: what people see as the name of the source
    Raises InputError also when the text holds no instruction or several.
    """
    source = Source(name, text)
    _, instructions, errors = _read(source, escape)
    raise_all(errors)
    if len(instructions) != 1:
        raise TriggerError(
            f"a trigger is one instruction, and this holds {len(instructions)}",
            at=source.span(0, len(text)),
        )
    return instructions[0]


def source_of(name: str, data: bytes) -> Source:
    """Return the source of a file as read, without a byte order mark.

    Bytes that are not UTF-8 survive as surrogates.
    Raises FileTooLarge, so callers need to read only MOST_FILE_BYTES and one byte more, and
    ZeroByte: for the kernel a path or an argument would end there, and for us go on.
    """
    if len(data) > MOST_FILE_BYTES:
        raise FileTooLarge(name)
    source = Source(name, data.decode("utf-8", "surrogateescape").removeprefix(BOM))
    zero = source.text.find("\0")
    if zero >= 0:
        raise ZeroByte(source.span(zero, zero + 1))
    return source


def _read(
    source: Source, escape: str = "\\"
) -> tuple[Reader, list[ast.Instruction], list[InputError]]:
    reader = Reader(source, openings, escape)
    instructions: list[ast.Instruction] = []
    errors: list[InputError] = []
    lines = reader.lines()
    pieces = 0
    while some := list(islice(lines, LINES_AT_ONCE)):
        crowded = next((each for each in some if _is_crowded(each.text)), None)
        if crowded is not None or pieces > MOST_PIECES:
            line = crowded or some[0]
            errors.append(TooManyWords(line.span(0, min(1, len(line.text)))))
            break
        for line, reading in zip(some, read_lines(some, reader.escape), strict=True):
            pieces += 1 + len(reading.flags) + len(reading.tail)
            full = len(errors) >= MOST_ERRORS
            if full and reading.keyword.kind == "UNKNOWN":
                continue
            try:
                instruction = build(reading, line, reader.escape)
            except DockerfileError as error:
                # BuildKit's own first complaint is kept, wherever it comes.
                if not full or error.early:
                    errors.append(error)
            else:
                instructions.append(instruction)
    return reader, instructions, [*reader.errors, *errors]


def _is_crowded(text: str) -> bool:
    """Tell whether a line may hold more words than we keep, before Lark makes them.

    A shell form is one word, however long.
    """
    if len(text) < 2 * MOST_PIECES:
        return False
    one_word = re.match(r"(?i:run|cmd|entrypoint)(?![^\t\v\f\r ])", text)
    marks = ("--", ",") if one_word else ("--", ",", " ", "\t")
    return sum(map(text.count, marks)) > MOST_PIECES


def _wrong_start(
    source: Source, instructions: Sequence[ast.Instruction], errors: Sequence[InputError]
) -> InputError | None:
    """Complain when nothing is there, when there is no FROM, or something else before it.

    Not after another complaint: a FROM that could not be read is not missing.
    """
    first = next((each for each in instructions if not isinstance(each, ast.Arg)), None)
    if first is not None:
        before = (each for each in errors if each.at and each.at.start < first.span.start)
        if isinstance(first, ast.From) or any(before):
            return None
        return BeforeFrom(first.keyword.span)
    if errors:
        return None
    if instructions:
        return NoStage(instructions[-1].keyword.span)
    last = source.text.rfind("\n", 0, -1) + 1
    return NoInstructions(source.span(last, len(source.text.removesuffix("\n"))))
