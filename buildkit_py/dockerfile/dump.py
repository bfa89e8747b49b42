"""An AST as plain data, in the form of `pybuild parse --format json`.

Arguments are the words as BuildKit's parser splits them: before any expansion, a shell form as
one string, ENV and LABEL as key, value, key, value. Heredoc bodies are as in the file, tabs
included. The names of the keys are a promise to other programs.
"""

from __future__ import annotations

from typing import TypedDict

from buildkit_py.core.errors import InputError
from buildkit_py.dockerfile import ast
from buildkit_py.dockerfile.errors import first_of


class ErrorRecord(TypedDict):
    """line, column: from 1; None for a complaint about the whole file"""

    code: str
    message: str
    line: int | None
    column: int | None


class HeredocRecord(TypedDict):
    name: str
    content: str
    expand: bool
    chomp: bool
    fd: int


class InstructionRecord(TypedDict, total=False):
    """trigger: only of ONBUILD."""

    instruction: str
    flags: list[str]
    args: list[str]
    json: bool
    heredocs: list[HeredocRecord]
    start_line: int
    end_line: int
    original: str
    trigger: InstructionRecord


class FileRecord(TypedDict):
    path: str
    ok: bool
    error: ErrorRecord | None
    escape: str
    directives: dict[str, str]
    instructions: list[InstructionRecord]


def file_record(path: str, parsed: ast.Dockerfile) -> FileRecord:
    """Return the record of a file that was parsed."""
    return FileRecord(
        path=path,
        ok=True,
        error=None,
        escape=parsed.escape,
        directives={name: word.text for name, word in parsed.directives.items()},
        instructions=[instruction_record(each) for each in parsed.instructions],
    )


def error_record(path: str, error: InputError) -> FileRecord:
    """Return the record of a file that was refused: of several complaints, BuildKit's first."""
    first = first_of(error)
    return FileRecord(
        path=path,
        ok=False,
        error=ErrorRecord(
            code=first.code,
            message=first.message,
            line=first.at.line if first.at else None,
            column=first.at.column if first.at else None,
        ),
        escape="\\",
        directives={},
        instructions=[],
    )


def instruction_record(instruction: ast.Instruction) -> InstructionRecord:
    """Return the record of one instruction."""
    args, json = _arguments(instruction)
    record = InstructionRecord(
        instruction=instruction.keyword.text.lower(),
        flags=[_flag(each) for each in instruction.flags],
        args=args,
        json=json,
        heredocs=[_heredoc(each) for each in instruction.heredocs],
        start_line=instruction.span.line,
        end_line=instruction.span.end_line,
        original=instruction.original,
    )
    if isinstance(instruction, ast.Onbuild):
        record["trigger"] = instruction_record(instruction.trigger)
    return record


def _flag(flag: ast.Flag) -> str:
    return f"--{flag.name}" if flag.value is None else f"--{flag.name}={flag.value}"


def _heredoc(heredoc: ast.Heredoc) -> HeredocRecord:
    return HeredocRecord(
        name=heredoc.name,
        content=heredoc.span.text,
        expand=heredoc.expand,
        chomp=heredoc.chomp,
        fd=heredoc.fd,
    )


def _arguments(instruction: ast.Instruction) -> tuple[list[str], bool]:
    """Return the arguments of an instruction, and whether they were written as JSON."""
    match instruction:
        case ast.From():
            return _texts(instruction.words), False
        case ast.Run() | ast.Cmd() | ast.Entrypoint() | ast.Shell():
            return _command(instruction.command)
        case ast.Copy() | ast.Add():
            return _texts((*instruction.sources, instruction.dest)), instruction.json
        case ast.Volume():
            return _texts(instruction.paths), instruction.json
        case ast.Env() | ast.Label():
            return [
                word.text for pair in instruction.pairs for word in (pair.key, pair.value) if word
            ], False
        case ast.Arg():
            return [
                each.key.text if each.value is None else f"{each.key.text}={each.value.text}"
                for each in instruction.pairs
            ], False
        case ast.Expose():
            return _texts(instruction.ports), False
        case ast.User():
            return [instruction.user.text], False
        case ast.Workdir():
            return [instruction.path.text], False
        case ast.Stopsignal():
            return [instruction.signal.text], False
        case ast.Maintainer():
            return [instruction.name.text], False
        case ast.Healthcheck():
            if instruction.command is None:
                return [instruction.kind.text], False
            args, json = _command(instruction.command)
            return [instruction.kind.text, *args], json
        case ast.Onbuild():
            return [instruction.trigger_text], False
        case _:
            raise TypeError(f"no arguments are known of {type(instruction).__name__}")


def _command(command: ast.Command) -> tuple[list[str], bool]:
    if isinstance(command, ast.ExecForm):
        return _texts(command.words), True
    return [command.text.text] if command.text.text else [], False


def _texts(words: tuple[ast.Word, ...]) -> list[str]:
    return [word.text for word in words]


def tree(path: str, parsed: ast.Dockerfile) -> str:
    """Return the AST as indented text for people."""
    lines = [path]
    lines += [f"  # {name}={word.text}" for name, word in parsed.directives.items()]
    for instruction in parsed.instructions:
        lines += _branch(instruction_record(instruction), indent="  ")
    return "\n".join(lines)


def _branch(record: InstructionRecord, *, indent: str) -> list[str]:
    first, last = record["start_line"], record["end_line"]
    where = f"{first}" if first == last else f"{first}-{last}"
    form = " (JSON)" if record["json"] else ""
    lines = [f"{indent}{where}: {record['instruction'].upper()}{form}"]
    lines += [f"{indent}  {flag}" for flag in record["flags"]]
    if "trigger" in record:
        return lines + _branch(record["trigger"], indent=indent + "  ")
    lines += [f"{indent}  {arg!r}" for arg in record["args"]]
    for heredoc in record["heredocs"]:
        count = heredoc["content"].count("\n")
        lines.append(f"{indent}  <<{heredoc['name']}: {count} line{'s' * (count != 1)}")
    return lines
