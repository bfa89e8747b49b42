"""What the grammar read of one logical line, made an instruction, or a complaint.

The order of the checks is BuildKit's, so that of two faults in one instruction the same one is
named. Counterpart: moby/buildkit frontend/dockerfile/instructions/parse.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from buildkit_py.core.data import dataclass
from buildkit_py.core.patterns import later
from buildkit_py.core.source import Span
from buildkit_py.dockerfile import ast, json_form
from buildkit_py.dockerfile.durations import duration_ns
from buildkit_py.dockerfile.errors import (
    ArgumentCount,
    BadStageName,
    BlankName,
    EmptyVolume,
    FromWords,
    HealthcheckError,
    HeredocDestination,
    NoDestination,
    NotStrings,
    PairWithoutEquals,
    PairWithoutValue,
    ShellNotJson,
    TriggerError,
    UnknownInstruction,
    near,
    short,
)
from buildkit_py.dockerfile.flags import check_flags, check_run_flags, read_flag
from buildkit_py.dockerfile.grammar import is_heredoc
from buildkit_py.dockerfile.lines import SPACES, Line
from buildkit_py.dockerfile.reading import Piece, Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class Common(TypedDict):
        """Arguments that the classes of all instructions take."""

        keyword: ast.Word
        flags: tuple[ast.Flag, ...]
        heredocs: tuple[ast.Heredoc, ...]
        span: Span
        original: str
        comments: tuple[str, ...]


STAGE_NAME = later(r"[a-z][a-z0-9\-_.]*")
LEAST_NS = 1_000_000
"""The shortest duration of HEALTHCHECK."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line and what is known of it while its arguments are read."""

    line: Line
    escape: str
    name: str
    common: Common

    def word(self, piece: Piece) -> ast.Word:
        return ast.Word(piece.text, self.line.span(piece.start, piece.end))

    def nothing(self) -> ast.Word:
        """Return the empty word at the end of the line."""
        end = len(self.line.text)
        return ast.Word("", self.line.span(end, end))

    @property
    def at(self) -> Span:
        """The keyword: where to point when an argument is missing."""
        return self.common["keyword"].span


def build(reading: Reading, line: Line, escape: str) -> ast.Instruction:
    """Return the instruction of a line; raise the first DockerfileError about it."""
    keyword = reading.keyword
    if keyword.kind == "UNKNOWN" or not keyword.text:
        raise UnknownInstruction(
            line.span(keyword.start, keyword.end), tuple(BUILDERS), name=keyword.text
        )
    start = line.begin if keyword.start == 0 else line.span(keyword.start, keyword.end).start
    word = ast.Word(keyword.text, line.span(keyword.start, keyword.end))
    common: Common = {
        "keyword": word,
        "flags": tuple(
            read_flag(each.text, line.span(each.start, each.end), escape) for each in reading.flags
        ),
        "heredocs": line.heredocs,
        "span": Span(line.source, start, line.end),
        "original": line.text if keyword.start == 0 else line.text[keyword.start :],
        "comments": line.comments,
    }
    return BUILDERS[keyword.kind](reading, Place(line, escape, keyword.kind, common))


def _strings(reading: Reading, place: Place) -> tuple[ast.Word, ...]:
    return tuple(
        ast.Word(json_form.decode(each.text), place.line.span(each.start, each.end))
        for each in reading.tail
    )


def _refuse_mixed_array(first: Piece, place: Place) -> None:
    """Complain about JSON that is an array but not of strings; other text is none of ours."""
    if first.text[0] == "[":
        offset = json_form.stranger(place.line.text[first.start :])
        if offset is not None:
            start = first.start + offset
            raise NotStrings(place.line.span(start, start + 1))


def _command(reading: Reading, tail: Sequence[Piece], place: Place) -> ast.Command:
    if reading.json:
        return ast.ExecForm(_strings(reading, place))
    if not tail:
        return ast.ShellForm(place.nothing())
    first = tail[0]
    _refuse_mixed_array(first, place)
    line = place.line
    if len(line.starts) == 1:
        return ast.ShellForm(place.word(first))
    starts = tuple(start - first.start for start in line.starts)
    return ast.ShellForm(place.word(first), starts, line.places)


def _words(reading: Reading, place: Place) -> list[ast.Word]:
    """Return words split at blanks, or the strings of a JSON array where those may stand."""
    words: list[ast.Word] = []
    for each in reading.tail:
        if words or each.text[0] not in SPACES:
            words.append(place.word(each))
        elif bare := each.text.lstrip(SPACES):
            # Docker trims the wide blanks of Unicode before it splits at the narrow ones.
            words.append(ast.Word(bare, place.line.span(each.end - len(bare), each.end)))
    return words


def _paths(reading: Reading, place: Place) -> list[ast.Word]:
    if reading.json:
        return list(_strings(reading, place))
    words = _words(reading, place)
    if words and words[0].text[0] == "[":
        _refuse_mixed_array(reading.tail[0], place)
    return words


def _run(reading: Reading, place: Place) -> ast.Instruction:
    command = _command(reading, reading.tail, place)
    flags = place.common["flags"]
    if flags:
        check_flags(place.name, flags)
        check_run_flags(flags)
    return ast.Run(**place.common, command=command)


def _cmd(reading: Reading, place: Place) -> ast.Instruction:
    command = _command(reading, reading.tail, place)
    check_flags(place.name, place.common["flags"])
    return ast.Cmd(**place.common, command=command)


def _entrypoint(reading: Reading, place: Place) -> ast.Instruction:
    command = _command(reading, reading.tail, place)
    check_flags(place.name, place.common["flags"])
    return ast.Entrypoint(**place.common, command=command)


def _shell(reading: Reading, place: Place) -> ast.Instruction:
    command = _command(reading, reading.tail, place)
    check_flags(place.name, place.common["flags"])
    if isinstance(command, ast.ShellForm) and reading.tail:
        raise ShellNotJson(command.text.span)
    if isinstance(command, ast.ShellForm) or not command.words:
        raise ArgumentCount("SHELL", place.at, takes="at least one argument")
    return ast.Shell(**place.common, command=command)


def _sources(reading: Reading, place: Place) -> tuple[tuple[ast.Word, ...], ast.Word]:
    words = _paths(reading, place)
    if len(words) < 2:
        raise NoDestination(place.name, words[0].span if words else place.at)
    check_flags(place.name, place.common["flags"])
    *sources, dest = words
    if "<<" in dest.text and is_heredoc(dest.text):
        raise HeredocDestination(place.name, dest.span)
    return tuple(sources), dest


def _copy(reading: Reading, place: Place) -> ast.Instruction:
    sources, dest = _sources(reading, place)
    return ast.Copy(**place.common, sources=sources, dest=dest, json=reading.json)


def _add(reading: Reading, place: Place) -> ast.Instruction:
    sources, dest = _sources(reading, place)
    return ast.Add(**place.common, sources=sources, dest=dest, json=reading.json)


def _volume(reading: Reading, place: Place) -> ast.Instruction:
    words = _paths(reading, place)
    if not words:
        raise ArgumentCount("VOLUME", place.at, takes="at least one path")
    check_flags(place.name, place.common["flags"])
    for word in words:
        if not word.text.strip(SPACES):
            raise EmptyVolume(word.span)
    return ast.Volume(**place.common, paths=tuple(words), json=reading.json)


def _from(reading: Reading, place: Place) -> ast.Instruction:
    words = _words(reading, place)
    name = None
    if len(words) == 3 and words[1].text.lower() == "as":
        text = words[2].text.lower()
        if not STAGE_NAME.fullmatch(text):
            raise BadStageName(words[2].span, name=words[2].text)
        name = ast.Word(text, words[2].span)
    elif len(words) != 1:
        raise FromWords(words[1].span if len(words) > 1 else place.at)
    check_flags(place.name, place.common["flags"])
    return ast.From(**place.common, image=words[0], name=name, words=tuple(words))


def _expose(reading: Reading, place: Place) -> ast.Instruction:
    words = _words(reading, place)
    if not words:
        raise ArgumentCount("EXPOSE", place.at, takes="at least one port")
    check_flags(place.name, place.common["flags"])
    return ast.Expose(**place.common, ports=tuple(words))


def _pair(piece: Piece, place: Place) -> ast.Pair:
    text = piece.text
    if piece.end == len(place.line.text) and text.endswith(place.escape):
        text = _without_lone_escape(text, place.escape)
    name, equals, value = text.partition("=")
    middle = piece.start + len(name)
    key = ast.Word(name, place.line.span(piece.start, middle))
    if not equals:
        return ast.Pair(key, None)
    return ast.Pair(key, ast.Word(value, place.line.span(middle + 1, piece.end)))


def _without_lone_escape(text: str, escape: str) -> str:
    """Drop an escape token that has nothing to escape, as it ends the line."""
    quote = ""
    skip = False
    for each in text:
        if skip:
            skip = False
        elif each == escape and quote != "'":
            skip = True
        elif each == quote:
            quote = ""
        elif each in "'\"" and not quote:
            quote = each
    return text[:-1] if skip else text


def _named(reading: Reading, place: Place) -> tuple[tuple[ast.Pair, ...], bool]:
    """Return the pairs of ENV or LABEL, and whether they are the one of the legacy form."""
    tail = reading.tail
    if tail and tail[0].kind == "LEGACY_KEY":
        check_flags(place.name, place.common["flags"])
        return (ast.Pair(place.word(tail[0]), place.word(tail[1])),), True
    pairs = tuple(_pair(each, place) for each in tail)
    if pairs and pairs[0].value is None:
        raise PairWithoutValue(place.name, pairs[0].key.span, word=pairs[0].key.text)
    for pair in pairs:
        if pair.value is None:
            raise PairWithoutEquals(place.name, pair.key.span, word=pair.key.text)
    check_flags(place.name, place.common["flags"])
    if not pairs:
        raise ArgumentCount(place.name, place.at, takes="at least one pair `name=value`")
    _refuse_blank_names(pairs, place)
    return pairs, False


def _refuse_blank_names(pairs: Sequence[ast.Pair], place: Place) -> None:
    for pair in pairs:
        if not pair.key.text:
            start = pair.key.span.start
            raise BlankName(place.name, Span(pair.key.span.source, start, start + 1))


def _env(reading: Reading, place: Place) -> ast.Instruction:
    pairs, legacy = _named(reading, place)
    return ast.Env(**place.common, pairs=pairs, legacy=legacy)


def _label(reading: Reading, place: Place) -> ast.Instruction:
    pairs, legacy = _named(reading, place)
    return ast.Label(**place.common, pairs=pairs, legacy=legacy)


def _arg(reading: Reading, place: Place) -> ast.Instruction:
    # Flags are never looked at: BuildKit accepts `ARG --anything name`.
    pairs = tuple(_pair(each, place) for each in reading.tail)
    if not pairs:
        raise ArgumentCount("ARG", place.at, takes="at least one name")
    _refuse_blank_names(pairs, place)
    return ast.Arg(**place.common, pairs=pairs)


def _text(reading: Reading, place: Place) -> ast.Word:
    if not reading.tail:
        raise ArgumentCount(place.name, place.at, takes="exactly one argument")
    # STOPSIGNAL's flags are never looked at.
    if place.name != "STOPSIGNAL":
        check_flags(place.name, place.common["flags"])
    return place.word(reading.tail[0])


def _user(reading: Reading, place: Place) -> ast.Instruction:
    return ast.User(**place.common, user=_text(reading, place))


def _workdir(reading: Reading, place: Place) -> ast.Instruction:
    return ast.Workdir(**place.common, path=_text(reading, place))


def _stopsignal(reading: Reading, place: Place) -> ast.Instruction:
    return ast.Stopsignal(**place.common, signal=_text(reading, place))


def _maintainer(reading: Reading, place: Place) -> ast.Instruction:
    return ast.Maintainer(**place.common, name=_text(reading, place))


def _healthcheck(reading: Reading, place: Place) -> ast.Instruction:
    tail = reading.tail
    if not tail:
        raise ArgumentCount("HEALTHCHECK", place.at, takes="`NONE`, or `CMD` and a command")
    kind = place.word(tail[0])
    if reading.json:
        inner = Reading(reading.keyword, (), tail[1:], True, None)
        command = _command(inner, inner.tail, place)
    else:
        command = _command(reading, tail[1:], place)
    name = kind.text.upper()
    if name == "NONE":
        if tail[1:]:
            raise HealthcheckError(
                "`HEALTHCHECK NONE` takes no arguments",
                at=place.line.span(tail[1].start, len(place.line.text)),
            )
        return ast.Healthcheck(**place.common, kind=kind, command=None)
    check_flags(place.name, place.common["flags"])
    if name != "CMD":
        raise HealthcheckError(
            f"`HEALTHCHECK` knows no `{short(kind.text)}`",
            at=kind.span,
            hint=near(name, ("CMD", "NONE")) or "write `CMD` before the command",
        )
    if not tail[1:]:
        raise HealthcheckError("`HEALTHCHECK CMD` has no command", at=kind.span)
    for flag in place.common["flags"]:
        _check_health_flag(flag)
    return ast.Healthcheck(**place.common, kind=kind, command=command)


def _check_health_flag(flag: ast.Flag) -> None:
    value = flag.value or ""
    if not value:
        return
    if flag.name == "retries":
        if not re.fullmatch(r"[-+]?[0-9]+", value) or not -(2**31) <= int(value[:20]) < 2**31:
            raise HealthcheckError(f"`--retries` is a number, not `{short(value)}`", at=flag.span)
        if int(value) < 0:
            raise HealthcheckError("`--retries` cannot be negative", at=flag.span)
        return
    try:
        nanoseconds = duration_ns(value)
    except ValueError as wrong:
        raise HealthcheckError(
            f"`{short(value)}` of `--{flag.name}` {wrong}",
            at=flag.span,
            hint="write a number and a unit, such as `30s` or `1m30s`",
        ) from None
    if nanoseconds and nanoseconds < LEAST_NS:
        raise HealthcheckError(
            f"`--{flag.name}` cannot be less than 1ms", at=flag.span, hint="0 is the default"
        )


def _onbuild(reading: Reading, place: Place) -> ast.Instruction:
    trigger = reading.trigger
    if trigger is None:
        raise ArgumentCount("ONBUILD", place.at, takes="an instruction")
    check_flags(place.name, place.common["flags"])
    if trigger.keyword.kind in ("ONBUILD", "FROM", "MAINTAINER"):
        span = place.line.span(trigger.keyword.start, trigger.keyword.end)
        raise TriggerError(f"`ONBUILD` cannot trigger `{trigger.keyword.kind}`", at=span)
    text = re.sub(r"(?i)^\s*ONBUILD\s*", "", place.common["original"])
    for heredoc in place.line.heredocs:
        text += f"\n{heredoc.span.text}{heredoc.name}"
    return ast.Onbuild(
        **place.common, trigger=build(trigger, place.line, place.escape), trigger_text=text
    )


BUILDERS: Mapping[str, Callable[[Reading, Place], ast.Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
"""What makes an instruction of each keyword; its keys are the 18 instructions."""
