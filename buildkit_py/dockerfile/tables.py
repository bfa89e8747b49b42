"""The tables that Lark makes of `grammars/dockerfile.lark`, and the machine that they drive.

The grammar alone decides how a line is read. Lark turns it into tables: LALR(1) actions, and for
each state of the parser the terminals that may come next. `make` takes them out of Lark as plain
data; `hatch_build.py` does so once, when the package is built, so that a run needs neither Lark
(30 ms to import) nor the making of tables (25 ms). Where they are missing, or of another grammar,
they are made anew.

`Machine` is what is left to do: match terminals, shift, reduce. tests/dockerfile/test_tables.py
holds it against Lark's own parser.
"""

from __future__ import annotations

import marshal
import os
import re
from collections.abc import Callable, Mapping

from buildkit_py.core.digest import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Data = dict[str, Any]

FORMAT = 2
ESCAPES = ("\\", "`")
ESCAPED_TERMINALS = ("FLAG", "PAIR", "LEGACY_KEY")
"""Terminals of the grammar in which a backslash stands for the escape token."""
STARTS = ["dockerfile", "shell_words"]
_END = "$END"
_MARSHAL = 4
"""A version that every Python since 3.4 reads."""


class Unexpected(Exception):
    """No terminal matches, or none that may come here. Only `shell_words` can fail."""


class Token:
    """A terminal that matched. start_pos, end_pos: offsets into the text"""

    __slots__ = ("end_pos", "start_pos", "text", "type")

    def __init__(self, type: str, text: str, start_pos: int, end_pos: int) -> None:
        self.type = type
        self.text = text
        self.start_pos = start_pos
        self.end_pos = end_pos

    def __str__(self) -> str:
        return self.text


def lark_of(grammar: str, escape: str, **options: Any) -> Any:
    """Return Lark's own parser of lines whose escape token is `escape`."""
    from lark import Lark

    def with_token(terminal: Any) -> None:
        if terminal.name in ESCAPED_TERMINALS:
            terminal.pattern.value = terminal.pattern.value.replace("\\\\", escape)

    return Lark(
        grammar, parser="lalr", lexer="contextual", start=STARTS, maybe_placeholders=False,
        edit_terminals=with_token if escape != "\\" else None, **options,
    )  # fmt: skip


def make(grammar: str) -> Data:
    """Have Lark make the tables of a grammar, for both escape tokens."""
    return {
        "format": FORMAT,
        "grammar": sha256(grammar.encode()),
        "tables": {escape: _taken_out(lark_of(grammar, escape)) for escape in ESCAPES},
    }


def _taken_out(lark: Any) -> Data:
    """Return Lark's tables as plain data.

    states: by state, what each symbol does: a state to go to, or -1 - rule
    rules: name, number of children, and (index, whether its children are taken instead) of those
        that are kept
    lexers: terminals in the order in which they are tried; lexer_of: by state
    """
    from lark.parsers.lalr_analysis import Shift

    table = lark.parser.parser._parse_table
    rules = {rule: at for at, rule in enumerate(lark.rules)}
    order = _in_order(table)
    number = {state: at for at, state in enumerate(order)}
    states = [
        {
            name: number[action[1]] if action[0] is Shift else -1 - rules[action[1]]
            for name, action in sorted(table.states[state].items())
        }
        for state in order
    ]
    contextual = lark.parser.lexer
    lexers: list[list[tuple[str, str]]] = []
    place: dict[int, int] = {}
    lexer_of = []
    for state in order:
        lexer = contextual.lexers[state]
        if id(lexer) not in place:
            place[id(lexer)] = len(lexers)
            # Lark looks at a match again where a text of another terminal fits a pattern.
            assert lexer.scanner
            assert not lexer.callback
            lexers.append([(each.name, each.pattern.to_regexp()) for each in lexer.terminals])
        lexer_of.append(place[id(lexer)])
    return {
        "states": states,
        "rules": [_rule(rule) for rule in lark.rules],
        "lexers": lexers,
        "lexer_of": lexer_of,
        "ignored": sorted(lark.ignore_tokens),
        "starts": {str(name): number[table.start_states[name]] for name in STARTS},
        "ends": {str(name): number[table.end_states[name]] for name in STARTS},
    }


def _in_order(table: Any) -> list[int]:
    """Return Lark's states in an order that does not change from run to run, as its numbers do."""
    from lark.parsers.lalr_analysis import Shift

    found = dict.fromkeys(table.start_states[name] for name in STARTS)
    waiting = list(found)
    for state in waiting:  # which grows meanwhile
        for _, (action, target) in sorted(table.states[state].items(), key=lambda item: item[0]):
            if action is Shift and target not in found:
                found[target] = None
                waiting.append(target)
    return list(found)


def _rule(rule: Any) -> tuple[str, int, list[tuple[int, bool]]]:
    """Return name, length and kept children of a rule, as Lark's tree builder has them.

    Terminals whose names begin with `_` are dropped; of rules with such names the children count.
    """
    assert rule.alias is None
    assert not rule.options.expand1
    assert not rule.options.keep_all_tokens
    kept = [
        (at, not symbol.is_term and symbol.name.startswith("_"))
        for at, symbol in enumerate(rule.expansion)
        if not (symbol.is_term and symbol.filter_out)
    ]
    return str(rule.origin.name), len(rule.expansion), kept


def tables_path(grammar_path: str) -> str:
    return f"{os.path.splitext(grammar_path)[0]}.tables"


def write(grammar_path: str) -> str:
    """Make the tables of a grammar, keep them beside it behind their digest; return the path."""
    with open(grammar_path, encoding="utf-8") as file:
        data = marshal.dumps(make(file.read()), _MARSHAL)
    path = tables_path(grammar_path)
    with open(path, "wb") as out:
        out.write(sha256(data).encode() + b"\n" + data)
    return path


def load(grammar_path: str) -> Mapping[str, Data]:
    """Return the tables of a grammar by escape token: those beside it, or made now."""
    with open(grammar_path, encoding="utf-8") as file:
        grammar = file.read()
    try:
        # As trustworthy as the compiled modules of this package, among which they lie.
        with open(tables_path(grammar_path), "rb") as kept:
            digest, _, text = kept.read().partition(b"\n")
        if digest == sha256(text).encode():
            data: Data = marshal.loads(text)
            if data["format"] == FORMAT and data["grammar"] == sha256(grammar.encode()):
                tables: Mapping[str, Data] = data["tables"]
                return tables
    except (OSError, ValueError, EOFError, TypeError, KeyError):
        pass  # missing or damaged: as good as none
    made: Mapping[str, Data] = make(grammar)["tables"]
    return made


class Machine:
    """Runs the tables of one escape token. Not bound to a text, so threads may share it."""

    def __init__(self, data: Data, reduce: Mapping[str, Callable[[list[Any]], Any]]) -> None:
        self._states: list[dict[str, int]] = data["states"]
        rules: list[tuple[str, int, list[tuple[int, bool]]]] = data["rules"]
        self._rules = [(name, length, kept, reduce.get(name)) for name, length, kept in rules]
        self._lexers: list[list[tuple[str, str]]] = data["lexers"]
        self._lexer_of: list[int] = data["lexer_of"]
        self._ignored = frozenset(data["ignored"])
        self._starts: dict[str, int] = data["starts"]
        self._ends: dict[str, int] = data["ends"]
        self._matchers: dict[int, Callable[[str, int], re.Match[str] | None]] = {}

    def _matcher(self, state: int) -> Callable[[str, int], re.Match[str] | None]:
        """Return what finds the next terminal in a state; compiled when it is first needed."""
        at = self._lexer_of[state]
        if at not in self._matchers:
            parts = (f"(?P<{name}>{pattern})" for name, pattern in self._lexers[at])
            self._matchers[at] = re.compile("|".join(parts)).match
        return self._matchers[at]

    def parse(self, text: str, start: str) -> Any:
        """Return what the reductions make of a text. Raises Unexpected."""
        states, values = [self._starts[start]], []
        at, end = 0, self._ends[start]
        while True:
            type, token = _END, None
            while at < len(text):
                match = self._matcher(states[-1])(text, at)
                if match is None or match.lastgroup is None:
                    raise Unexpected(at)
                begin, at = at, match.end()
                if match.lastgroup not in self._ignored:
                    type = match.lastgroup
                    token = Token(type, match.group(), begin, at)
                    break
            while True:
                action = self._states[states[-1]].get(type)
                if action is None:
                    raise Unexpected(at)
                if action >= 0:
                    states.append(action)
                    values.append(token)
                    break
                name = self._reduce(-1 - action, states, values)
                states.append(self._states[states[-1]][name])
                if type == _END and states[-1] == end:
                    return values[-1]

    def _reduce(self, rule: int, states: list[int], values: list[Any]) -> str:
        """Put what a rule makes of the last values in their place; return its name."""
        name, length, kept, make = self._rules[rule]
        children: list[Any] = []
        if length:
            given = values[-length:]
            del states[-length:], values[-length:]
            for at, is_taken in kept:
                if is_taken:
                    children = children + given[at] if children else given[at]
                else:
                    children.append(given[at])
        values.append(children if make is None else make(children))
        return name
