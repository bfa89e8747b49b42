"""A YAML value that remembers where each part of it was written.

A `Node` is a scalar, a list of nodes or a mapping of strings to nodes. Every node has the span of
its text, and every value of a mapping the span of its key. A tree belongs to the one load that
reads it: its phases rewrite it in place, and `copy` makes the trees that must not be shared.

What a phase adds has the span of what it was made from.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from buildkit_py.core.source import Span

    Path = tuple[str, ...]


class Node:
    """One value.

    value: None, bool, int, float, str, list[Node] or dict[str, Node]
    span: the characters of the value
    key: the characters of the key that this is the value of; None in lists and at the top
    """

    __slots__ = ("key", "span", "value")

    def __init__(self, value: Any, span: Span, key: Span | None = None) -> None:
        self.value = value
        self.span = span
        self.key = key

    def __repr__(self) -> str:
        return f"Node({plain(self)!r})"

    @property
    def place(self) -> Span:
        """What to point at: the key if there is one, else the value."""
        return self.key or self.span

    def get(self, name: str) -> Node | None:
        """Return the value of a key, or None where there is none, or no mapping."""
        return self.value.get(name) if type(self.value) is dict else None

    def made(self, value: Any) -> Node:
        """Return a node with another value at the same place."""
        return Node(value, self.span, self.key)

    def set(self, name: str, value: Any) -> Node:
        """Put a value that nobody wrote into this mapping; it has the mapping's place."""
        node = Node(value, self.span, self.key)
        self.value[name] = node
        return node

    def mappings(self) -> Iterator[tuple[str, Node]]:
        """Give the entries of this mapping that are mappings themselves."""
        if type(self.value) is dict:
            for name, node in self.value.items():
                if type(node.value) is dict:
                    yield name, node

    def texts(self) -> list[Node]:
        """Return the items of this list that are strings."""
        return [n for n in self.value if type(n.value) is str] if type(self.value) is list else []


def copy(node: Node) -> Node:
    """Return a tree of its own with the same values and spans."""
    value = node.value
    if type(value) is dict:
        value = {name: copy(each) for name, each in value.items()}
    elif type(value) is list:
        value = [copy(each) for each in value]
    return Node(value, node.span, node.key)


def plain(node: Node) -> Any:
    """Return the values alone: dicts, lists, strings, numbers."""
    value = node.value
    if type(value) is dict:
        return {name: plain(each) for name, each in value.items()}
    if type(value) is list:
        return [plain(each) for each in value]
    return value


def wrap(value: Any, span: Span, key: Span | None = None) -> Node:
    """Return plain values as a tree, all of it at one place."""
    if type(value) is dict:
        return Node({name: wrap(each, span, key) for name, each in value.items()}, span, key)
    if type(value) is list:
        return Node([wrap(each, span) for each in value], span, key)
    return Node(value, span, key)


def find(node: Node, path: Path) -> Node | None:
    """Return the node at a path of keys and list indices, or None."""
    at: Node | None = node
    for part in path:
        if at is None:
            return None
        if type(at.value) is list:
            at = at.value[int(part)] if part.isdigit() and int(part) < len(at.value) else None
        else:
            at = at.get(part)
    return at


def dotted(path: Path) -> str:
    """Return a path as messages have it: `services.web.ports.0`."""
    return ".".join(path)


def kind(value: Any) -> str:
    """Return what a value is, in the words of messages."""
    if value is None:
        return "nothing"
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "a mapping",
    }
    return names[type(value)]
