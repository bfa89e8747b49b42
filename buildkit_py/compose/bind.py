"""The canonical tree read as plain values: one dict per part, typed, in docker's order.

This is where texts become sizes, durations, command lines and lists of hosts, and where values
that say nothing (`tty: false`, `labels: {}`) are left out, as docker leaves them out. Keys that
begin with `x-` stay, behind the known ones. What is wrong is collected, each at its place.
"""

from __future__ import annotations

from buildkit_py.compose.errors import BadValue
from buildkit_py.compose.interpolate import boolean, decimal, integer
from buildkit_py.compose.scalars import float32, go_text
from buildkit_py.compose.shapes import SHAPES
from buildkit_py.compose.tree import Node, dotted, kind, plain
from buildkit_py.compose.units import duration_ns, size_bytes, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from buildkit_py.compose.tree import Path
    from buildkit_py.core.errors import InputError

    Warn = Callable[[str], None]

ABSENT: Any = object()
"""A value that says nothing."""


class Binding:
    """Reads the parts of one project.

    errors, warn: where complaints and warnings go
    broken: paths of what could not be read
    """

    def __init__(self, errors: list[InputError], warn: Warn) -> None:
        self.errors = errors
        self.warn = warn
        self.broken: set[Path] = set()

    def part(self, node: Node, shape: str, path: Path) -> dict[str, Any]:
        """Return one part as a dict of what it says."""
        out: dict[str, Any] = {}
        values: dict[str, Node] = node.value
        for key, kind_ in SHAPES[shape].items():
            each = values.get(key)
            if each is None:
                continue
            try:
                value = self.value(each, kind_, (*path, key))
            except ValueError as error:
                message = f"`{dotted((*path, key))}`: {error}"
                self.errors.append(BadValue(message, at=each.span))
                self.broken.add((*path, key))
                continue
            if value is not ABSENT:
                out[key] = value
        for key in sorted(values.keys() - SHAPES[shape].keys()):
            if key.startswith("x-") and not key.startswith("x-#"):
                out[key] = plain(values[key])
        return out

    def value(self, node: Node, kind_: str, path: Path) -> Any:
        """Return a value as its kind says, or ABSENT. Raises ValueError."""
        if kind_[0] == "@":
            return self._parts(node, kind_[1:], path)
        if node.value is None:
            return ABSENT
        return _KINDS[kind_](node.value, self)

    def _parts(self, node: Node, kind_: str, path: Path) -> Any:
        if kind_.endswith("[]"):
            items = [
                self.part(each, kind_[:-2], (*path, str(at)))
                for at, each in enumerate(node.value or ())
            ]
            return items or ABSENT
        if kind_.rstrip("?").endswith("{}"):
            shape = kind_.rstrip("?")[:-2]
            out = {
                name: None if each.value is None else self.part(each, shape, (*path, name))
                for name, each in sorted((node.value or {}).items())
            }
            return out or ABSENT
        if node.value is None:
            return ABSENT
        part = self.part(node, kind_.rstrip("?"), path)
        return part if part or kind_.endswith("?") else ABSENT


def _wrong(value: object, wanted: str) -> ValueError:
    shown = f"`{value}`" if type(value) in (str, int, float, bool) else kind(value)
    return ValueError(f"{shown} is no {wanted}")


def _text(value: Any, binding: Binding) -> Any:
    if type(value) is int:
        return str(value)
    if type(value) is bool:
        return go_text(value)
    if type(value) is not str:
        raise _wrong(value, "string")
    return value or ABSENT


def _bool(value: Any, binding: Binding) -> bool:
    if type(value) is str:
        return boolean(value, binding.warn)
    if type(value) is not bool:
        raise _wrong(value, "boolean")
    return value


def _true(value: Any, binding: Binding) -> Any:
    return _bool(value, binding) or ABSENT


def _opt_out(value: Any, binding: Binding) -> bool:
    return _bool(value, binding)


def _int(value: Any, binding: Binding) -> int:
    if type(value) is str:
        return integer(value, binding.warn)
    if type(value) is float:
        return int(value)
    if type(value) is not int:
        raise _wrong(value, "whole number")
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"`{value}` is too large")
    return value


def _nonzero(value: Any, binding: Binding) -> Any:
    return _int(value, binding) or ABSENT


def _whole(value: Any, binding: Binding) -> Any:
    if type(value) is not int or value < 0:
        raise _wrong(value, "whole number")
    return value or ABSENT


def _single(value: Any, binding: Binding) -> Any:
    if type(value) is str:
        value = decimal(value, binding.warn)
    if type(value) not in (int, float):
        raise _wrong(value, "number")
    return float32(float(value)) or ABSENT


def _size(value: Any, binding: Binding) -> Any:
    """A size travels as text, as docker prints it."""
    if type(value) is float:
        value = int(value)
    number = size_bytes(value) if type(value) is str else value
    return str(number) if number else ABSENT


def _time(value: Any, binding: Binding) -> str:
    from buildkit_py.dockerfile.golang import format_duration

    return format_duration(duration_ns(value if type(value) is str else go_text(value)))


def _some_time(value: Any, binding: Binding) -> Any:
    text = _time(value, binding)
    return ABSENT if text == "0s" else text


def _texts(value: Any, binding: Binding) -> Any:
    items = [value] if type(value) is str else value
    if type(items) is not list or not all(type(n.value) in (str, int) for n in _nodes(items)):
        raise _wrong(value, "list of strings")
    return [str(n.value) for n in _nodes(items)] or ABSENT


def _nodes(items: list[Any]) -> list[Node]:
    return [n if isinstance(n, Node) else Node(n, None) for n in items]  # type: ignore[arg-type]


def _words(value: Any, binding: Binding) -> Any:
    items = [value] if type(value) is str else value
    return [go_text(n.value) for n in _nodes(items)] or ABSENT


def _entries(value: Any) -> list[tuple[str, Any, bool]]:
    """Return the entries of a mapping or a list of `key=value`: key, value, is there one."""
    if type(value) is dict:
        return [(name, n.value, n.value is not None) for name, n in value.items()]
    if type(value) is not list:
        raise _wrong(value, "mapping")
    out = []
    for node in value:
        key, equals, text = go_text(node.value).partition("=")
        out.append((key, text if equals else None, bool(equals)))
    return out


def _sorted(entries: dict[str, Any]) -> Any:
    return dict(sorted(entries.items())) or ABSENT


def _pairs(value: Any, binding: Binding) -> Any:
    return _sorted({k: go_text(v) if given else "" for k, v, given in _entries(value)})


def _nullable(value: Any, binding: Binding) -> Any:
    out: dict[str, str | None] = {}
    for key, text, given in _entries(value):
        if type(value) is list and key != key.rstrip():
            raise ValueError(f"the variable `{key}` ends with a blank")
        out[key] = go_text(text) if given else None
    return _sorted(out)


def _options(value: Any, binding: Binding) -> Any:
    return _sorted({k: "" if n.value is None else go_text(n.value) for k, n in value.items()})


def _many_options(value: Any, binding: Binding) -> Any:
    out = {}
    for key, node in value.items():
        items = node.value if type(node.value) is list else [node]
        out[key] = [go_text(item.value) for item in items]
    return _sorted(out)


def _hosts(value: Any, binding: Binding) -> Any:
    """Return `name=address` lines, sorted."""
    hosts: dict[str, list[str]] = {}
    if type(value) is dict:
        for name, node in value.items():
            items = node.value if type(node.value) is list else [node]
            hosts[name] = ["" if n.value is None else go_text(n.value) for n in items]
    else:
        for node in value:
            name, equals, address = go_text(node.value).partition("=")
            if not equals:
                name, equals, address = go_text(node.value).partition(":")
            if not equals:
                raise ValueError(f"`{go_text(node.value)}` has no address")
            hosts.setdefault(name, []).extend(address.split(","))
    lines = []
    for name, addresses in hosts.items():
        if not name or ":" in name or "=" in name:
            raise ValueError(f"`{name}` is no name of a host")
        for address in addresses:
            bare = (
                address[1:-1] if len(address) > 2 and address[0] + address[-1] == "[]" else address
            )
            lines.append(f"{name}={bare}")
    return sorted(lines) or ABSENT


def _command(value: Any, binding: Binding) -> list[str]:
    if type(value) is str:
        try:
            return words(value)
        except ValueError as error:
            raise ValueError(f"invalid command line: {error}") from None
    return [str(n.value) for n in value]


def _test(value: Any, binding: Binding) -> Any:
    if type(value) is str:
        return ["CMD-SHELL", value]
    return [str(n.value) for n in value] or ABSENT


def _mode(value: Any, binding: Binding) -> str:
    """A file's mode travels as octal text."""
    if type(value) is str:
        if not value or not all(c in "01234567" for c in value):
            raise _wrong(value, "octal mode")
        return f"0{int(value, 8):o}"
    if type(value) is not int:
        raise _wrong(value, "mode")
    return f"0{value:o}"


def _count(value: Any, binding: Binding) -> Any:
    if type(value) is str:
        if value.lower() == "all":
            return -1
        value = integer(value, binding.warn)
    return value or ABSENT


def _ulimits(value: Any, binding: Binding) -> Any:
    out: dict[str, Any] = {}
    for name, node in sorted(value.items()):
        if type(node.value) is dict:
            soft, hard = node.get("soft"), node.get("hard")
            both = {
                "soft": _int(soft.value, binding) if soft else 0,
                "hard": _int(hard.value, binding) if hard else 0,
            }
            out[name] = both
        else:
            out[name] = _int(node.value, binding)
    return out or ABSENT


def _ssh(value: Any, binding: Binding) -> Any:
    """Return `id` or `id=path` words, sorted."""
    return [k if n.value is None else f"{k}={n.value}" for k, n in sorted(value.items())] or ABSENT


_KINDS: dict[str, Callable[[Any, Binding], Any]] = {
    "text": _text,
    "bool": _true,
    "bool?": _bool,
    "opt-out": _opt_out,
    "int": _nonzero,
    "int?": _int,
    "whole": _whole,
    "single": _single,
    "size": _size,
    "time": _some_time,
    "time?": _time,
    "texts": _texts,
    "words": _words,
    "pairs": _pairs,
    "nullable": _nullable,
    "labels": _pairs,
    "options": _options,
    "many-options": _many_options,
    "hosts": _hosts,
    "command": _command,
    "test": _test,
    "mode": _mode,
    "count": _count,
    "ulimits": _ulimits,
    "ssh": _ssh,
}
