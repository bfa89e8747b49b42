"""Reads POSIX and bash scripts, far enough to know their simple commands. Never raises.

One pass from left to right by recursive descent; the grammar of sh(1) with what bash adds:
`[[ … ]]`, `(( … ))`, `<( … )`, arrays, `$'…'`, `|&`, `&>`, `<<<`, `;&`, `function`, `select`,
`coproc`. It is lax: words out of place are passed over, as long as quotes and brackets are closed.

Cost: linear in the text. Nesting deeper than DEEPEST counts as broken.
Grammar: POSIX.1-2017, Shell Command Language, 2.10.
"""

from __future__ import annotations

import re

from buildkit_py.core.patterns import later
from buildkit_py.dockerfile.shell.script import Command, Comment, Redirect, Script, ShellWord

DEEPEST = 40
"""Substitutions, groups and quotes inside one another."""

_PLAIN = re.compile(r"[^ \t\r\n;&|()<>'\"\\$`]+")
_BLANKS = re.compile(r"(?:[ \t\r]|\\\r?\n)*+")
_LINE_ENDS = re.compile(r"(?:[ \t\r\n;]|\\\r?\n|#[^\n]*)*+")
_IN_DOUBLE = later(r'[^"\\$`]+')
_IN_BRACES = later(r"""[^}"'\\$`]+""")
_IN_ARITHMETIC = later(r"""[^()"'\\$`]+""")
_NAME = re.compile(r"[A-Za-z_]\w*|[0-9@*#?$!-]", re.ASCII)
_ASSIGNMENT = later(r"[A-Za-z_]\w*+(?:\[[^\]\n]*+\])?\+?=", re.ASCII)
_REDIRECT = later(r"(?:\d+|\{\w+\})?(<<<|<<-|<<|<&|<>|>&|>>|>\||<|>)|(&>>|&>)", re.ASCII)
_NO_PARAMETERS = later(r"\([ \t]*\)")
_ANSI_QUOTED = later(r"(?>[^'\\]+|\\.)*+'", re.DOTALL)

_ENDS = frozenset(" \t\r\n;&|()<>")
_SKIPPED = frozenset("if then else elif fi do done while until ! { } coproc".split())
"""Reserved words after which a command may stand, or which only close something."""


def scan(text: str) -> Script:
    """Return what the script `text` runs."""
    scanner = _Scanner(text)
    broken = None
    try:
        scanner.list("")
    except _Broken:
        broken = scanner.at
    scanner.commands.sort(key=lambda command: command.start)
    return Script(
        text, tuple(scanner.commands), tuple(scanner.pipes), tuple(scanner.comments), broken
    )


class _Broken(Exception):
    """The text at the cursor is no script."""


class _Open:
    """A simple command while it is being read."""

    __slots__ = ("assignments", "before", "end", "redirects", "start", "words")

    def __init__(self, before: str) -> None:
        self.words: list[ShellWord] = []
        self.assignments: list[ShellWord] = []
        self.redirects: list[Redirect] = []
        self.before = before
        self.start = -1
        self.end = -1

    def reach(self, start: int, end: int) -> None:
        if self.start < 0:
            self.start = start
        self.end = end


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.in_backticks = False
        self.commands: list[Command] = []
        self.pipes: list[int] = []
        self.comments: list[Comment] = []
        self.bodies: list[tuple[str, bool]] = []
        self.no_arithmetic: set[int] = set()

    def list(self, stop: str) -> str:
        """Read commands up to and over `stop`: ``, `)`, a back-tick, or `;;` of a case's branch.

        A branch is read up to its `;;`; returns `esac` when it ended with that instead.
        """
        self.depth += 1
        if self.depth > DEEPEST:
            raise _Broken
        try:
            return self._list(stop)
        finally:
            self.depth -= 1

    def _list(self, stop: str) -> str:
        text = self.text
        size = len(text)
        current = _Open("")
        while True:
            at = self.at = _end(_BLANKS, text, self.at)
            if at >= size:
                self.flush(current)
                if stop:
                    raise _Broken
                return ""
            character = text[at]
            if character == "\n":
                current = self.flush(current, "\n")
                self.at = at + 1
                self.skip_bodies()
            elif character == "#":
                end = text.find("\n", at)
                if self.in_backticks:
                    tick = text.find("`", at)
                    end = tick if tick >= 0 and (end < 0 or tick < end) else end
                self.at = size if end < 0 else end
                self.comments.append(Comment(at, self.at))
            elif character == ";":
                current = self.flush(current, ";")
                if text[at + 1 : at + 2] in (";", "&"):
                    if stop == ";;":
                        return ""
                    raise _Broken
                self.at = at + 1
            elif character == "&" and text[at + 1 : at + 2] != ">":
                operator = "&&" if text.startswith("&&", at) else "&"
                current = self.flush(current, operator)
                self.at = at + len(operator)
            elif character == "|":
                operator = "||" if text.startswith("||", at) else "|"
                current = self.flush(current, operator)
                if operator == "|":
                    self.pipes.append(at)
                self.at = at + 1 + (text[at + 1 : at + 2] in ("|", "&"))
            elif character == ")" or (character == "`" and self.in_backticks):
                self.flush(current)
                if stop != character:
                    raise _Broken
                self.at = at + 1
                return ""
            elif character == "(":
                self.open_bracket(current)
            elif (found := _REDIRECT.match(text, at)) and not _is_substitution(text, at):
                self.redirect(current, found)
            else:
                word = self.word()
                if not current.words and not current.assignments and word.raw == word.value:
                    if word.raw == "esac" and stop == ";;":
                        return "esac"
                    if self.reserved(word.raw):
                        continue
                current.reach(word.start, word.end)
                if not current.words and _ASSIGNMENT.match(word.raw):
                    current.assignments.append(word)
                else:
                    current.words.append(word)

    def flush(self, current: _Open, operator: str = "") -> _Open:
        """Keep a command that has been read; return the one behind `operator`."""
        if current.words or current.assignments:
            self.commands.append(
                Command(
                    tuple(current.words),
                    tuple(current.assignments),
                    tuple(current.redirects),
                    current.before,
                    current.start,
                    current.end,
                )
            )
        elif operator == "\n" and current.before in ("|", "&&", "||"):
            # A line may end behind an operator.
            operator = current.before
        return _Open(operator)

    def open_bracket(self, current: _Open) -> None:
        """Read a group, `(( … ))`, or the brackets of a function's definition."""
        text, at = self.text, self.at
        if current.words:
            found = _NO_PARAMETERS.match(text, at)
            if found is None or len(current.words) > 1 or current.assignments:
                raise _Broken
            current.words.clear()
            current.start = -1
            self.at = found.end()
        elif not (text.startswith("((", at) and self.arithmetic(at + 2)):
            self.at = at + 1
            self.list(")")

    def redirect(self, current: _Open, found: re.Match[str]) -> None:
        text = self.text
        operator = found[1] or found[2]
        self.at = _end(_BLANKS, text, found.end())
        if self.at >= len(text) or (text[self.at] in _ENDS and not _is_substitution(text, self.at)):
            raise _Broken
        target = self.word()
        current.redirects.append(Redirect(operator, target))
        current.reach(found.start(), target.end)
        if operator in ("<<", "<<-"):
            self.bodies.append((target.value, operator == "<<-"))

    def skip_bodies(self) -> None:
        """Pass over the bodies of the heredocs that the line above has opened."""
        text = self.text
        for name, chomp in self.bodies:
            while self.at < len(text):
                end = text.find("\n", self.at)
                end = len(text) if end < 0 else end
                line = text[self.at : end].rstrip("\r")
                self.at = min(end + 1, len(text))
                if (line.lstrip("\t") if chomp else line) == name:
                    break
        self.bodies.clear()

    def reserved(self, raw: str) -> bool:
        """Take a reserved word and what belongs to it; tell whether it was one."""
        text = self.text
        if raw in _SKIPPED:
            return True
        if raw in ("for", "select"):
            self.at = _end(_BLANKS, text, self.at)
            if text.startswith("((", self.at):
                if not self.arithmetic(self.at + 2):
                    raise _Broken
                return True
            self.word()
            before = self.at
            self.at = _end(_LINE_ENDS, text, self.at)
            if text[self.at : self.at + 1] not in _ENDS and self.word().raw == "in":
                self.words_to_line_end()
            else:
                self.at = before
            return True
        if raw == "case":
            self.case()
            return True
        if raw == "[[":
            self.condition()
            return True
        if raw == "function":
            self.at = _end(_BLANKS, text, self.at)
            self.word()
            self.at = _end(_BLANKS, text, self.at)
            found = _NO_PARAMETERS.match(text, self.at)
            self.at = found.end() if found else self.at
            return True
        if raw == "time":
            self.at = _end(_BLANKS, text, self.at)
            if text.startswith("-p ", self.at):
                self.at += 2
            return True
        return False

    def words_to_line_end(self) -> None:
        while True:
            self.at = _end(_BLANKS, self.text, self.at)
            if self.at >= len(self.text) or self.text[self.at] in "\n;&|)":
                return
            self.word()

    def case(self) -> None:
        text = self.text
        self.at = _end(_BLANKS, text, self.at)
        self.word()
        self.at = _end(_LINE_ENDS, text, self.at)
        if self.word().raw != "in":
            raise _Broken
        while True:
            self.at = _end(_LINE_ENDS, text, self.at)
            if text.startswith("(", self.at):
                self.at += 1
            elif self.word().raw == "esac":
                return
            while True:
                self.at = _end(_BLANKS, text, self.at)
                mark = text[self.at : self.at + 1]
                if mark == ")":
                    self.at += 1
                    break
                if mark == "|":
                    self.at += 1
                else:
                    self.word()
            if self.list(";;") == "esac":
                return
            self.at += 3 if text.startswith(";;&", self.at) else 2

    def condition(self) -> None:
        """Pass over `[[ … ]]`, in which operators are words."""
        text = self.text
        while True:
            self.at = _end(_BLANKS, text, self.at)
            if self.at >= len(text):
                raise _Broken
            if text[self.at] in _ENDS and not _is_substitution(text, self.at):
                self.at += 1
            elif self.word().raw == "]]":
                return

    def word(self) -> ShellWord:
        """Read the word at the cursor; broken when none starts there."""
        text, start = self.text, self.at
        found = _PLAIN.match(text, start)
        end = found.end() if found else start
        if end > start and (end == len(text) or (text[end] in _ENDS and text[end] != "(")):
            self.at = end
            raw = text[start:end]
            return ShellWord(raw, raw, True, start, end)
        value, literal = self.pieces(start)
        if self.at == start:
            raise _Broken
        return ShellWord(text[start : self.at], value, literal, start, self.at)

    def pieces(self, start: int) -> tuple[str, bool]:
        """Read the parts of a word, and return its value and whether it is literal."""
        text = self.text
        size = len(text)
        out: list[str] = []
        literal = True
        while self.at < size:
            at = self.at
            character = text[at]
            if found := _PLAIN.match(text, at):
                self.at = found.end()
                out.append(found[0])
            elif character == "\\":
                out.append("" if text[at + 1 : at + 2] == "\n" else text[at + 1 : at + 2])
                self.at = min(at + 2, size)
            elif character == "'":
                self.at = self.closing("'", at + 1)
                out.append(text[at + 1 : self.at - 1])
            elif character == '"':
                value, plain = self.double_quoted()
                out.append(value)
                literal = literal and plain
            elif character == "$" or (character == "`" and not self.in_backticks):
                plain = self.expansion(quoted=False)
                out.append(_ansi(text[at : self.at]) if plain else text[at : self.at])
                literal = literal and plain
            elif character == "(" and at > start and self.bracket_in_word(start):
                self.depth -= 1
                out.append(text[at : self.at])
                literal = False
            elif at == start and _is_substitution(text, at):
                self.at = at + 2
                self.substitution(")")
                out.append(text[at : self.at])
                literal = False
            else:
                break
        return "".join(out), literal

    def bracket_in_word(self, start: int) -> bool:
        """Read the brackets of an array or of a pattern such as `!(a|b)`; one level deeper then."""
        text, at = self.text, self.at
        self.depth += 1
        if self.depth > DEEPEST:
            raise _Broken
        if text[at - 1] == "=" and _ASSIGNMENT.fullmatch(text, start, at):
            self.at = at + 1
            while True:
                self.at = _end(_LINE_ENDS, text, self.at)
                if text.startswith(")", self.at):
                    self.at += 1
                    return True
                self.word()
        if text[at - 1] not in "@!+*?":
            self.depth -= 1
            return False
        self.at = at + 1
        while True:
            mark = text[self.at : self.at + 1]
            if mark == ")":
                self.at += 1
                return True
            if mark in _ENDS and mark:
                self.at += 1
            else:
                self.word()

    def closing(self, mark: str, start: int) -> int:
        """Return the offset behind the next `mark`."""
        end = self.text.find(mark, start)
        if end < 0:
            raise _Broken
        return end + 1

    def double_quoted(self) -> tuple[str, bool]:
        text = self.text
        self.at += 1
        out: list[str] = []
        literal = True
        while self.at < len(text):
            at = self.at
            character = text[at]
            if found := _IN_DOUBLE.match(text, at):
                self.at = found.end()
                out.append(found[0])
            elif character == '"':
                self.at = at + 1
                return "".join(out), literal
            elif character == "\\":
                following = text[at + 1 : at + 2]
                if following != "\n":
                    out.append(following if following in '"\\$`' else "\\" + following)
                self.at = min(at + 2, len(text))
            elif character == "`" and self.in_backticks:
                break
            else:
                literal = self.expansion(quoted=True) and literal
                out.append(text[at : self.at])
        raise _Broken

    def expansion(self, *, quoted: bool) -> bool:
        """Read what `$` or a back-tick begins; tell whether it is only text."""
        text, at = self.text, self.at
        if text[at] == "`":
            self.at = at + 1
            self.substitution("`")
            return False
        following = text[at + 1 : at + 2]
        if following == "(":
            if not (text.startswith("((", at + 1) and self.arithmetic(at + 3)):
                self.at = at + 2
                self.substitution(")")
            return False
        if following == "{":
            self.at = at + 2
            self.braces(quoted=quoted)
            return False
        if not quoted and following == "'":
            found = _ANSI_QUOTED.match(text, at + 2)
            if found is None:
                raise _Broken
            self.at = found.end()
            return True
        if not quoted and following == '"':
            self.at = at + 1
            return self.double_quoted()[1]
        name = _NAME.match(text, at + 1)
        self.at = name.end() if name else at + 1
        return name is None

    def substitution(self, stop: str) -> None:
        """Read the commands of `$(…)` or of back-ticks; the cursor is behind their opening."""
        around, bodies = self.in_backticks, self.bodies
        self.in_backticks, self.bodies = stop == "`", []
        self.list(stop)
        self.in_backticks, self.bodies = around, bodies

    def braces(self, *, quoted: bool) -> None:
        """Read up to and over the `}` of `${`."""
        text = self.text
        self.depth += 1
        if self.depth > DEEPEST:
            raise _Broken
        while self.at < len(text):
            at = self.at
            character = text[at]
            if found := _IN_BRACES.match(text, at):
                self.at = found.end()
            elif character == "}":
                self.at = at + 1
                self.depth -= 1
                return
            elif character == "\\":
                self.at = min(at + 2, len(text))
            elif character == "'":
                self.at = at + 1 if quoted else self.closing("'", at + 1)
            elif character == '"':
                self.double_quoted()
            elif character == "`" and self.in_backticks:
                break
            else:
                self.expansion(quoted=quoted)
        raise _Broken

    def arithmetic(self, start: int) -> bool:
        """Read up to and over `))`; where it is no arithmetic, leave the cursor and return False.

        The number of open brackets decides, as POSIX suggests (2.6.4). What was found to be none
        is not tried again: else nested attempts would double at every level.
        """
        text = self.text
        if start in self.no_arithmetic:
            return False
        before = self.at, self.depth, self.in_backticks, self.bodies
        found_before = len(self.commands), len(self.pipes), len(self.comments)
        self.at = start
        self.depth += 1
        opened = 0
        try:
            if self.depth > DEEPEST:
                raise _Broken
            while self.at < len(text):
                at = self.at
                character = text[at]
                if found := _IN_ARITHMETIC.match(text, at):
                    self.at = found.end()
                elif character == "(":
                    opened += 1
                    self.at = at + 1
                elif character == ")":
                    if opened == 0:
                        if not text.startswith("))", at):
                            break
                        self.at = at + 2
                        self.depth -= 1
                        return True
                    opened -= 1
                    self.at = at + 1
                elif character == "\\":
                    self.at = min(at + 2, len(text))
                elif character == "'":
                    self.at = self.closing("'", at + 1)
                elif character == '"':
                    self.double_quoted()
                elif character == "`" and self.in_backticks:
                    break
                else:
                    self.expansion(quoted=False)
        except _Broken:
            pass
        self.no_arithmetic.add(start)
        self.at, self.depth, self.in_backticks, self.bodies = before
        commands, pipes, comments = found_before
        del self.commands[commands:], self.pipes[pipes:], self.comments[comments:]
        return False


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return where a match of a pattern that matches anywhere ends."""
    found = pattern.match(text, at)
    return found.end() if found else at


def _is_substitution(text: str, at: int) -> bool:
    """Tell whether `<(` or `>(` stands there."""
    return text.startswith(("<(", ">("), at)


def _ansi(raw: str) -> str:
    """Return the value of `$'…'`, `$"…"` without expansions, or a lone `$`; escapes stay."""
    return raw[2:-1] if len(raw) > 2 else raw
