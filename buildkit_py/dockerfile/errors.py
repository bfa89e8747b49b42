"""What can be wrong with a Dockerfile, one class per complaint that is raised in several places.

`early` tells which of two passes of BuildKit would complain: its line parser (True) sees the
whole file before its instruction pass looks at the first line. So of several complaints about
one file the early ones are BuildKit's first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from buildkit_py.core.errors import InputError, InputErrors
from buildkit_py.core.source import Span
from buildkit_py.core.text import did_you_mean
from buildkit_py.dockerfile.ast import Flag

MOST_LINE_BYTES = 65_535
"""BuildKit's limit of one physical line (bufio.MaxScanTokenSize - 1)."""

MOST_FILE_BYTES = 16 << 20
"""What a Dockerfile may have; BuildKit's messages (gRPC) end there too."""


MOST_PIECES = 250_000
"""Keywords, flags and words of one file. BuildKit has no such limit, but nothing it could do with
such a file either; a bound on memory (about 200 MB) is worth more."""

MOST_SHOWN = 60
"""Characters of what was written that a message repeats."""


def short(text: str) -> str:
    """Return a text as a message may repeat it."""
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + "…"


def near(word: str, known: Iterable[str]) -> str | None:
    """Suggest a known word; not for long ones, as looking takes time and finds nothing."""
    return did_you_mean(word, known) if len(word) <= MOST_SHOWN else None


class DockerfileError(InputError):
    code = "dockerfile/invalid"
    early = False


class EarlyError(DockerfileError):
    early = True


class EmptyFile(EarlyError):
    code = "dockerfile/empty"

    def __init__(self, at: Span) -> None:
        super().__init__(
            "the Dockerfile is empty", at=at, hint="start with `FROM` and the name of an image"
        )


class FileTooLarge(EarlyError):
    code = "dockerfile/too-large"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"`{name}` is larger than {MOST_FILE_BYTES >> 20} MiB",
            hint="is this the right file?",
        )


class ZeroByte(EarlyError):
    code = "dockerfile/zero-byte"

    def __init__(self, at: Span) -> None:
        super().__init__(
            "a Dockerfile cannot hold a zero byte",
            at=at,
            hint="is it saved as UTF-16? save it as UTF-8",
        )


class TooManyWords(EarlyError):
    code = "dockerfile/too-large"

    def __init__(self, at: Span) -> None:
        super().__init__(
            f"the Dockerfile has more than {MOST_PIECES} words", at=at, label="this is too much"
        )


class Unreadable(EarlyError):
    code = "dockerfile/unreadable"

    def __init__(self, name: str, *, why: str) -> None:
        super().__init__(f"cannot read `{name}`: {why}")


class NoInstructions(EarlyError):
    code = "dockerfile/no-instructions"

    def __init__(self, at: Span) -> None:
        super().__init__(
            "the Dockerfile has no instructions",
            at=at,
            hint="start with `FROM` and the name of an image",
        )


class NoStage(DockerfileError):
    code = "dockerfile/no-stage"

    def __init__(self, at: Span) -> None:
        super().__init__(
            "the Dockerfile has no stage to build",
            at=at,
            label="only arguments, no `FROM`",
            hint="add `FROM` and the name of an image",
        )


class BeforeFrom(DockerfileError):
    code = "dockerfile/before-from"

    def __init__(self, keyword: Span) -> None:
        super().__init__(
            f"`{keyword.text.upper()}` stands before the first `FROM`",
            at=keyword,
            label="no stage yet",
            hint="only `ARG` may come before `FROM`",
        )


class LineTooLong(EarlyError):
    code = "dockerfile/line-too-long"

    def __init__(self, at: Span) -> None:
        super().__init__(
            f"the line is longer than {MOST_LINE_BYTES} bytes",
            at=at,
            hint="break it with a continuation, or put the text into a file and copy that",
        )


class DuplicateDirective(EarlyError):
    code = "dockerfile/duplicate-directive"

    def __init__(self, name: Span) -> None:
        super().__init__(
            f"the directive `{name.text.lower()}` is given twice",
            at=name,
            label="only one is allowed",
        )


class BadEscape(EarlyError):
    code = "dockerfile/bad-escape"

    def __init__(self, value: Span) -> None:
        super().__init__(
            f"`{short(value.text)}` cannot be the escape token",
            at=value,
            hint="use a backslash or a back-tick",
        )


class UnterminatedHeredoc(EarlyError):
    """near: number of a line that holds the name, but with blanks around it."""

    code = "dockerfile/unterminated-heredoc"

    def __init__(self, at: Span, *, name: str, chomp: bool, near: int | None = None) -> None:
        name = short(name)
        blanks = "only tabs before it and no blanks after it" if chomp else "no blanks around it"
        hint = f"end it with a line `{name}`, with {blanks}"
        super().__init__(
            f"the heredoc `{name}` never ends",
            at=at,
            label=f"no line is `{name}`",
            hint=f"{hint}; line {near} has some" if near else hint,
        )


class UnknownInstruction(DockerfileError):
    code = "dockerfile/unknown-instruction"

    def __init__(self, word: Span, known: Iterable[str], *, name: str | None = None) -> None:
        name = word.text if name is None else name
        super().__init__(
            f"unknown instruction `{short(name)}`"
            if name
            else "a continuation that continues nothing",
            at=word,
            label="not a Dockerfile instruction" if name else "",
            hint=near(name, known) if name else "remove the line",
        )


class UnknownFlag(DockerfileError):
    code = "dockerfile/unknown-flag"

    def __init__(self, name: str, at: Span, *, keyword: str, known: Sequence[str]) -> None:
        flags = [f"--{each}" for each in known]
        hint = near(f"--{name}", flags)
        if hint is None and flags:
            hint = f"`{keyword}` knows {', '.join(f'`{each}`' for each in flags)}"
        elif hint is None:
            hint = f"`{keyword}` has no flags; `--` before the arguments ends them"
        super().__init__(
            f"unknown flag `--{short(name)}`", at=at, label=f"not a flag of `{keyword}`", hint=hint
        )


class FlagWithoutValue(DockerfileError):
    code = "dockerfile/flag-without-value"

    def __init__(self, name: str, at: Span) -> None:
        super().__init__(
            f"the flag `--{name}` has no value", at=at, hint=f"write `--{name}=` and the value"
        )


class FlagNotBoolean(DockerfileError):
    code = "dockerfile/flag-not-boolean"

    def __init__(self, name: str, value: str, at: Span) -> None:
        super().__init__(
            f"the flag `--{name}` is true or false, not `{short(value)}`",
            at=at,
            hint=f"write `--{name}` or `--{name}=false`",
        )


class DuplicateFlag(DockerfileError):
    code = "dockerfile/duplicate-flag"

    def __init__(self, name: str, at: Span) -> None:
        super().__init__(f"the flag `--{name}` is given twice", at=at, label="once is enough")


class BadFlagValue(DockerfileError):
    code = "dockerfile/bad-flag-value"

    def __init__(self, flag: Flag, allowed: Sequence[str]) -> None:
        super().__init__(
            f"`--{flag.name}` cannot be `{short(flag.value or '')}`",
            at=flag.span,
            hint=f"it is one of {', '.join(f'`{each}`' for each in allowed)}",
        )


class MountFromVariable(DockerfileError):
    code = "dockerfile/mount-from-variable"

    def __init__(self, at: Span) -> None:
        super().__init__(
            "`from` of a mount cannot hold a variable",
            at=at,
            hint="give the image a name: `FROM $IMAGE AS name`, with a global `ARG`",
        )


class NotStrings(EarlyError):
    code = "dockerfile/json-not-strings"

    def __init__(self, at: Span) -> None:
        super().__init__(
            "a JSON array of arguments may hold only strings",
            at=at,
            label="not a string",
            hint="put it in double quotes",
        )


class ArgumentCount(DockerfileError):
    """Too few or too many arguments, said as what the instruction takes."""

    code = "dockerfile/argument-count"

    def __init__(self, keyword: str, at: Span, *, takes: str, hint: str | None = None) -> None:
        super().__init__(f"`{keyword}` takes {takes}", at=at, hint=hint)


class NoDestination(DockerfileError):
    code = "dockerfile/no-destination"

    def __init__(self, keyword: str, at: Span) -> None:
        super().__init__(
            f"`{keyword}` needs at least one source and a destination",
            at=at,
            hint=f"write `{keyword} SOURCE... DESTINATION`",
        )


class HeredocDestination(DockerfileError):
    code = "dockerfile/heredoc-destination"

    def __init__(self, keyword: str, at: Span) -> None:
        super().__init__(
            f"`{keyword}` cannot write into a heredoc",
            at=at,
            label="this is the destination",
            hint="add a path behind it",
        )


class PairWithoutEquals(EarlyError):
    code = "dockerfile/pair-without-equals"

    def __init__(self, keyword: str, at: Span, *, word: str) -> None:
        super().__init__(
            f"`{keyword}` takes pairs `name=value`, but `{short(word)}` has no `=`",
            at=at,
            label="no `=`",
            hint="put quotes around a value that has blanks",
        )


class PairWithoutValue(EarlyError):
    code = "dockerfile/pair-without-value"

    def __init__(self, keyword: str, at: Span, *, word: str) -> None:
        super().__init__(
            f"`{keyword}` needs a name and a value",
            at=at,
            hint=f"write `{keyword} {short(word)}=VALUE`",
        )


class BlankName(DockerfileError):
    code = "dockerfile/blank-name"

    def __init__(self, keyword: str, at: Span) -> None:
        super().__init__(f"the name of `{keyword}` is empty", at=at, label="a name is missing")


class FromWords(DockerfileError):
    code = "dockerfile/from-words"

    def __init__(self, at: Span) -> None:
        super().__init__(
            "`FROM` takes an image, or an image, `AS` and a name",
            at=at,
            hint="write `FROM IMAGE` or `FROM IMAGE AS NAME`",
        )


class BadStageName(DockerfileError):
    code = "dockerfile/bad-stage-name"

    def __init__(self, at: Span, *, name: str) -> None:
        super().__init__(
            f"`{short(name)}` cannot be the name of a stage",
            at=at,
            hint="a name starts with a letter; then letters, digits, `-`, `_` and `.`",
        )


class ShellNotJson(DockerfileError):
    code = "dockerfile/shell-not-json"

    def __init__(self, at: Span) -> None:
        super().__init__(
            "`SHELL` takes a JSON array of strings", at=at, hint='such as `SHELL ["sh", "-c"]`'
        )


class EmptyVolume(DockerfileError):
    code = "dockerfile/empty-volume"

    def __init__(self, at: Span) -> None:
        super().__init__("a path of `VOLUME` is empty", at=at)


class HealthcheckError(DockerfileError):
    """What is wrong with HEALTHCHECK: its kind, its command, a duration, the retries."""

    code = "dockerfile/healthcheck"


class TriggerError(DockerfileError):
    """What ONBUILD may not trigger."""

    code = "dockerfile/onbuild-trigger"


def raise_all(errors: Sequence[InputError]) -> None:
    """Raise nothing, the one error, or all of them in the order of the file."""
    if errors:
        raise together(errors)


def together(errors: Sequence[InputError]) -> InputError:
    """Return the one error, or all of them in the order of the file."""
    if len(errors) == 1:
        return errors[0]
    return InputErrors(sorted(errors, key=lambda each: each.at.start if each.at else 0))


def first_of(error: InputError) -> InputError:
    """Return the complaint that BuildKit would have made, as it stops at its first one."""
    if not isinstance(error, InputErrors):
        return error
    return min(error.errors, key=lambda each: not getattr(each, "early", False))
