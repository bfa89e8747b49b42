"""YAML text to documents: trees with a span on every value and key.

The events are libyaml's (PyYAML's C parser; its Python one where that is missing). What is made
of them is ours, because compose files are not the YAML that PyYAML constructs:

- scalars as `scalars.resolve` has it; `!!str` and its like are honoured, unknown tags ignored
- keys are strings, and each stands once in its mapping, also where `<<` is used
- `<<` takes a mapping, an alias or a list of them; the first one wins, own keys always do
- `!reset` and `!override` leave their paths in the document: see `Document`
- anchors are expanded here, bounded in number and depth; one that contains itself is an error
"""

from __future__ import annotations

from buildkit_py.compose.blame import stop_at
from buildkit_py.compose.errors import BadYaml, DuplicateKey, TooLarge
from buildkit_py.compose.events import error_class, parser_of
from buildkit_py.compose.scalars import resolve
from buildkit_py.compose.tree import Node
from buildkit_py.core.source import Source, Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from buildkit_py.compose.tree import Path
    from buildkit_py.core.errors import InputError

MOST_NODES = 100_000
"""Values of one document after aliases are expanded (compose-go: 100,000 visits)."""

MOST_DEPTH = 100
"""Nested mappings and lists; far above any compose file, far below Python's own limit."""

_TAGS = {
    "tag:yaml.org,2002:str": str,
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
    "tag:yaml.org,2002:bool": bool,
    "tag:yaml.org,2002:null": type(None),
}


class Document:
    """One YAML document.

    root: its value
    resets: paths at which what earlier files said is forgotten (`!reset`, `!override`)
    """

    __slots__ = ("resets", "root")

    def __init__(self, root: Node, resets: list[Path]) -> None:
        self.root = root
        self.resets = resets


def read(source: Source) -> list[Document]:
    """Return the documents of a YAML text; raises BadYaml, TooLarge, and DuplicateKey of each."""
    reader = _Reader(source)
    documents = list(reader.documents())
    stop_at(list(reader.twice.values()))
    return documents


class _Reader:
    """Turns the events of one text into trees.

    An alias reads the events of its anchor again, so that it has nodes of its own and the paths of
    `!reset` come out right wherever it stands.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.resets: list[Path] = []
        self.events: list[Any] = []
        self.targets: dict[int, int] = {}
        self.open: set[int] = set()
        self.nodes = 0
        self.twice: dict[Span, InputError] = {}

    def documents(self) -> Iterator[Document]:
        broken = error_class()
        try:
            loader, _ = parser_of(self.source.text)
        except broken as error:
            raise self._broken(error) from error
        anchors: dict[str, int] = {}
        try:
            while True:
                try:
                    event = loader.get_event()
                except broken as error:
                    raise self._broken(error) from error
                name = type(event).__name__
                if name == "StreamEndEvent":
                    return
                if name == "DocumentStartEvent":
                    anchors, self.events, self.targets = {}, [], {}
                elif name == "DocumentEndEvent":
                    self.resets, self.nodes = [], 0
                    root, _ = self._value(0, (), 0)
                    if root is not None:
                        yield Document(root, self.resets)
                elif name != "StreamStartEvent":
                    if name == "AliasEvent":
                        if event.anchor not in anchors:
                            raise BadYaml(
                                f"there is no anchor `{event.anchor}` before this alias",
                                at=self._span(event),
                            )
                        self.targets[len(self.events)] = anchors[event.anchor]
                    elif getattr(event, "anchor", None):
                        anchors[event.anchor] = len(self.events)
                    self.events.append(event)
        finally:
            loader.dispose()

    def _value(self, at: int, path: Path, depth: int) -> tuple[Node | None, int]:
        """Read the value that starts at an event; return it and the event behind it.

        The value of `!reset` is None: it leaves its path in `resets` and nothing else.
        """
        event = self.events[at]
        self.nodes += 1
        if self.nodes > MOST_NODES or depth > MOST_DEPTH:
            raise TooLarge(
                f"the document has more than {MOST_NODES} values once its aliases are expanded"
                if self.nodes > MOST_NODES
                else f"the document is nested deeper than {MOST_DEPTH} levels",
                at=self._span(event),
            )
        name = type(event).__name__
        if name == "AliasEvent":
            target = self.targets[at]
            if target in self.open:
                raise TooLarge(
                    f"the anchor `{event.anchor}` contains itself",
                    at=self._span(event),
                    label="a cycle",
                )
            node, _ = self._value(target, path, depth + 1)
            return node, at + 1
        tag = event.tag
        if tag in ("!reset", "!override"):
            self.resets.append(path)
        if name == "ScalarEvent":
            return (None if tag == "!reset" else self._scalar(event)), at + 1
        self.open.add(at)
        read = self._mapping if name == "MappingStartEvent" else self._sequence
        node, end = read(at, path, depth)
        self.open.discard(at)
        return (None if tag == "!reset" else node), end

    def _sequence(self, at: int, path: Path, depth: int) -> tuple[Node, int]:
        start = self.events[at]
        items: list[Node] = []
        at += 1
        while type(self.events[at]).__name__ != "SequenceEndEvent":
            item, at = self._value(at, (*path, str(len(items))), depth + 1)
            if item is not None:
                items.append(item)
        return Node(items, self._around(start, self.events[at], items)), at + 1

    def _mapping(self, at: int, path: Path, depth: int) -> tuple[Node, int]:
        start = self.events[at]
        own: dict[str, Node] = {}
        keys: dict[str, Span] = {}
        again: set[str] = set()
        merged: list[Node] = []
        at += 1
        while type(self.events[at]).__name__ != "MappingEndEvent":
            key, at = self._key(at)
            name, place = key.value, key.span
            if name in keys:
                # An alias reads the mapping again, and would tell it again.
                self.twice[place] = DuplicateKey(
                    f"the key `{name}` is already defined at line {keys[name].line}",
                    at=place,
                    label="the second one" if name not in again else "again",
                )
                again.add(name)
            keys.setdefault(name, place)
            if key.key is not None:
                found, at = self._value(at, path, depth + 1)
                merged += self._merged(found)
                continue
            value, at = self._value(at, (*path, name), depth + 1)
            if value is not None:
                own[name] = Node(value.value, value.span, place)
        for each in merged:
            for name, node in each.value.items():
                own.setdefault(name, node)
        return Node(own, self._around(start, self.events[at], list(own.values()))), at + 1

    def _key(self, at: int) -> tuple[Node, int]:
        """Read a key; the node of a merge key `<<` has its span as `key`, too."""
        event = self.events[at]
        span = self._span(event)
        if type(event).__name__ == "AliasEvent":
            event = self.events[self.targets[at]]
        if type(event).__name__ != "ScalarEvent":
            raise BadYaml("a key must be a string", at=span, label="not a string")
        node = self._scalar(event)
        if type(node.value) is not str:
            raise BadYaml(
                f"non-string key `{event.value}`",
                at=span,
                label="not a string",
                hint=f'write `"{event.value}":`',
            )
        merges = event.value == "<<" and event.implicit[0]
        return Node(node.value, span, span if merges else None), at + 1

    def _merged(self, node: Node | None) -> list[Node]:
        """Return the mappings that `<<` names, the first one first."""
        found = [] if node is None else node.value if type(node.value) is list else [node]
        for each in found:
            if type(each.value) is not dict:
                raise BadYaml(
                    "`<<` merges mappings, or a list of them", at=each.span, label="no mapping"
                )
        return list(found)

    def _scalar(self, event: Any) -> Node:
        text, tag = event.value, event.tag
        value: object = text
        if tag is None:
            if event.implicit[0]:
                value = resolve(text)
        elif tag in _TAGS:
            value = self._tagged(event)
        elif tag == "tag:yaml.org,2002:binary":
            value = self._binary(event)
        elif tag != "!" and not event.style:
            value = resolve(text)
        if type(value) is float and value - value != 0:
            # JSON, by which docker checks the file, has no such numbers either.
            raise BadYaml(f"`{text}` is no number of compose files", at=self._span(event))
        return Node(value, self._span(event))

    def _tagged(self, event: Any) -> object:
        wanted = _TAGS[event.tag]
        if wanted is str:
            return event.value
        value = resolve(event.value)
        if wanted is float and type(value) is int:
            return float(value)
        if type(value) is not wanted:
            tag = event.tag.rpartition(":")[2]
            raise BadYaml(f"`{event.value}` is no `!!{tag}`", at=self._span(event))
        return value

    def _binary(self, event: Any) -> str:
        from base64 import b64decode

        try:
            return b64decode("".join(event.value.split()), validate=True).decode()
        except ValueError as error:
            raise BadYaml("this is no Base64 of a text", at=self._span(event)) from error

    def _span(self, event: Any) -> Span:
        start, end = event.start_mark.index, event.end_mark.index
        if event.end_mark.line != event.start_mark.line:
            # A block scalar ends where the next token starts.
            text = self.source.text
            while end > start + 1 and text[end - 1] in " \r\n":
                end -= 1
        return Span(self.source, start, end)

    def _around(self, start: Any, end: Any, inside: list[Node]) -> Span:
        """Return the span of a mapping or list; one in block style ends with its last value."""
        if start.flow_style or not inside:
            return self._span(start) if not start.flow_style else self._whole(start, end)
        last = max((n.span.end for n in inside if n.span.source is self.source), default=0)
        first = start.start_mark.index
        return Span(self.source, first, min(max(last, first + 1), end.end_mark.index))

    def _whole(self, start: Any, end: Any) -> Span:
        return Span(self.source, start.start_mark.index, end.end_mark.index)

    def _broken(self, error: Exception) -> BadYaml:
        """Return the complaint of PyYAML or libyaml as ours."""
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        at = mark.index if mark is not None else min(getattr(error, "position", None) or 0, 1 << 30)
        at = min(at, len(self.source.text))
        hint = "YAML is indented with blanks, not with tabs"
        return BadYaml(
            f"this is no YAML: {problem}",
            at=Span(self.source, at, at + 1),
            hint=hint if self.source.text[at : at + 1] == "\t" else None,
        )
