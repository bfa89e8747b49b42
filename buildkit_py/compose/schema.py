"""The JSON schema of the Compose Specification, and trees checked against it.

`schema.json` is the schema; `jsonschema` is the judge. Importing that costs more than the rest of
`config`, so a small checker of our own, which knows just the words our schema uses, answers
whether a tree is right; only when it is not does jsonschema say what is wrong. A test holds the
two to the same answer.
"""

from __future__ import annotations

import functools
import json
import os
import re

from buildkit_py.compose.tree import Node, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from buildkit_py.core.errors import InputError

    Check = Callable[[Node], bool]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
_IGNORED = frozenset(("$schema", "$defs", "title", "description"))


@functools.cache
def schema() -> dict[str, Any]:
    """Return the schema, as data."""
    path = os.path.join(os.path.dirname(__file__), "schema.json")
    with open(path, encoding="utf-8") as file:
        loaded: dict[str, Any] = json.load(file)
    return loaded


def validate(node: Node) -> list[InputError]:
    """Return what is wrong with a tree, each at its place; an empty list when it is right."""
    if check(node):
        return []
    from buildkit_py.compose.explain import explain

    return explain(node, schema())


def check(node: Node) -> bool:
    """Say whether a tree is right."""
    return _checker("")(node)


@functools.cache
def _checker(name: str) -> Check:
    """Return the check of a definition in `$defs`; "" is the whole schema."""
    return _compiled(schema()["$defs"][name] if name else schema())


def _compiled(part: dict[str, Any]) -> Check:
    """Return a function that checks a node against one schema."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return lambda node: _checker(name)(node)
    checks: list[Check] = []
    if "type" in part:
        wanted = part["type"]
        names = wanted if type(wanted) is list else [wanted]
        allowed = frozenset(each for name in names for each in _TYPES[name])
        whole = "integer" in names and "number" not in names
        checks.append(lambda node: _is_of(node.value, allowed, whole))
    if "enum" in part:
        values = part["enum"]
        checks.append(lambda node: node.value in values)
    if "pattern" in part:
        search = re.compile(part["pattern"]).search
        checks.append(lambda node: type(node.value) is not str or search(node.value) is not None)
    if "minimum" in part:
        least = part["minimum"]
        checks.append(lambda node: type(node.value) not in (int, float) or node.value >= least)
    if "maximum" in part:
        most = part["maximum"]
        checks.append(lambda node: type(node.value) not in (int, float) or node.value <= most)
    if "anyOf" in part:
        options = [_compiled(each) for each in part["anyOf"]]
        checks.append(lambda node: any(option(node) for option in options))
    if "items" in part:
        item = _compiled(part["items"])
        checks.append(lambda node: type(node.value) is not list or all(map(item, node.value)))
    if part.get("uniqueItems"):
        checks.append(lambda node: type(node.value) is not list or not repeated(node.value))
    if part.keys() & {"properties", "patternProperties", "additionalProperties", "required"}:
        checks.append(_mapping(part))
    unknown = part.keys() - _IGNORED - {
        "type", "enum", "pattern", "minimum", "maximum", "anyOf", "items", "uniqueItems",
        "properties", "patternProperties", "additionalProperties", "required",
    }  # fmt: skip
    assert not unknown, f"the checker does not know {unknown}"
    if len(checks) == 1:
        return checks[0]
    return lambda node: all(each(node) for each in checks)


def _is_of(value: object, allowed: frozenset[type], whole: bool) -> bool:
    if type(value) in allowed:
        return True
    # JSON Schema counts 1.0 among the integers.
    return whole and type(value) is float and value.is_integer()


def _mapping(part: dict[str, Any]) -> Check:
    """Return the check of a mapping's keys; a key's own check is made when it is first met."""
    schemas = part.get("properties", {})
    patterns = [(re.compile(p).search, s) for p, s in part.get("patternProperties", {}).items()]
    closed = part.get("additionalProperties") is False
    required = part.get("required", ())
    known: dict[str, Check] = {}
    others: list[Check | None] = [None] * len(patterns)

    def matching(name: str) -> list[Check]:
        found = []
        for at, (search, each) in enumerate(patterns):
            if search(name):
                found.append(others[at] or _compiled(each))
                others[at] = found[-1]
        return found

    def test(node: Node) -> bool:
        if type(node.value) is not dict:
            return True
        if any(name not in node.value for name in required):
            return False
        for name, each in node.value.items():
            if name in schemas:
                own = known.get(name)
                if own is None:
                    own = known[name] = _compiled(schemas[name])
                if not own(each):
                    return False
                continue
            found = matching(name)
            if (closed and not found) or not all(one(each) for one in found):
                return False
        return True

    return test


def repeated(items: list[Node]) -> tuple[int, int] | None:
    """Return the indices of two equal items, or None; 1 and true are not equal."""
    seen: dict[str, int] = {}
    for at, item in enumerate(items):
        key = json.dumps(plain(item), sort_keys=True)
        if key in seen:
            return seen[key], at
        seen[key] = at
    return None
