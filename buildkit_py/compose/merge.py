"""How a later file changes an earlier one: the merge rules of the Compose Specification.

Mappings merge key by key, lists append, scalars are replaced, and `null` keeps what was there.
The exceptions are a tree of keys (`RULES`) walked together with the values; `*` is any key.
Source: compose-go override/merge.go; every rule has its case in tests/compose/test_merge.py.
"""

from __future__ import annotations

from buildkit_py.compose.errors import CannotMerge
from buildkit_py.compose.scalars import go_text
from buildkit_py.compose.tree import Node, copy, dotted, kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from buildkit_py.compose.tree import Path

    Rule = Callable[[Node, Node, Any, Path], Node]


def merge(base: Node, over: Node, rules: Any = None, path: Path = ()) -> Node:
    """Return `base` changed by `over`; both trees are used up.

    rules: the part of RULES for this place; all of them at the top
    Raises CannotMerge where the two are of different kinds.
    """
    if rules is None and not path:
        rules = RULES
    rule: Rule | None = rules.get("") if type(rules) is dict else rules
    if rule is not None:
        below = rules if type(rules) is dict else None
        return rule(base, over, below, path)
    if over.value is None:
        return base
    if type(base.value) is dict:
        if type(over.value) is not dict:
            raise _mismatch(base, over, path)
        return _mappings(base, over, rules, path)
    if type(base.value) is list:
        if type(over.value) is not list:
            raise _mismatch(base, over, path)
        base.value.extend(over.value)
        return base
    return over


def merge_service(base: Node, over: Node) -> Node:
    """Return a service that extends another one; `over` is the one that says `extends`."""
    return merge(base, over, RULES["services"]["*"], ("services", "?"))


def _mismatch(base: Node, over: Node, path: Path) -> CannotMerge:
    return CannotMerge(
        f"cannot override `{dotted(path)}`: it is {kind(base.value)} in `{base.span.source.name}`",
        at=over.span,
        label=f"{kind(over.value)} here",
    )


def _mappings(base: Node, over: Node, rules: Any, path: Path) -> Node:
    known = rules if type(rules) is dict else {}
    other = known.get("*")
    for name, node in over.value.items():
        earlier = base.value.get(name)
        if earlier is None:
            base.value[name] = node
        else:
            # A rule that is missing is a rule, too: () walks on without any.
            rule = known.get(name, other)
            merged = merge(earlier, node, {} if rule is None else rule, (*path, name))
            base.value[name] = Node(merged.value, merged.span, merged.key or node.key)
    return base


def _replace(base: Node, over: Node, rules: Any, path: Path) -> Node:
    return over


def _either_null(base: Node, over: Node) -> Node | None:
    if over.value is None:
        return base
    return over if base.value is None else None


def sequence(node: Node) -> Node:
    """Return a mapping as a sorted list of `key=value`, a string as a list of one."""
    if type(node.value) is dict:
        items = []
        for name, each in node.value.items():
            if each.value is None:
                items.append(each.made(name))
                continue
            inner = each.value if type(each.value) is list else []
            for one in (each, *inner):
                if type(one.value) is dict or (one is not each and type(one.value) is list):
                    message = f"`{name}` must be a text, a number or a boolean"
                    raise CannotMerge(message, at=one.span, label=kind(one.value))
            if inner or each.value == []:
                items += [item.made(f"{name}={go_text(item.value)}") for item in inner]
            else:
                items.append(each.made(f"{name}={go_text(each.value)}"))
        return node.made(sorted(items, key=lambda item: str(item.value)))
    if type(node.value) is str:
        return node.made([Node(node.value, node.span)])
    return node


def _to_sequence(base: Node, over: Node, rules: Any, path: Path) -> Node:
    if (one := _either_null(base, over)) is not None:
        return one
    first, second = sequence(base), sequence(over)
    if type(first.value) is not list or type(second.value) is not list:
        raise _mismatch(base, over, path)
    return first.made(first.value + second.value)


def _hosts(base: Node, over: Node, rules: Any, path: Path) -> Node:
    if (one := _either_null(base, over)) is not None:
        return one
    first, second = sequence(base), sequence(over)
    if type(first.value) is not list or type(second.value) is not list:
        raise _mismatch(base, over, path)
    known = {str(item.value) for item in first.value}
    return first.made(first.value + [n for n in second.value if str(n.value) not in known])


def _as_mapping(node: Node, default: dict[str, Any] | None) -> Node:
    """Return a list of names as a mapping of them to a default."""
    if type(node.value) is not list:
        return node
    out: dict[str, Node] = {}
    for item in node.value:
        if type(item.value) is str:
            value = default and {name: Node(each, item.span) for name, each in default.items()}
            out[item.value] = Node(value, item.span, item.span)
    return node.made(out)


_STARTED = {"condition": "service_started", "required": True}


def _named(default: dict[str, Any] | None) -> Rule:
    """Return the rule for lists of names that are short for mappings."""

    def rule(base: Node, over: Node, rules: Any, path: Path) -> Node:
        if (one := _either_null(base, over)) is not None:
            return one
        first, second = _as_mapping(base, default), _as_mapping(over, default)
        if type(first.value) is not dict or type(second.value) is not dict:
            raise _mismatch(base, over, path)
        return _mappings(first, second, rules, path)

    return rule


def _build(base: Node, over: Node, rules: Any, path: Path) -> Node:
    if (one := _either_null(base, over)) is not None:
        return one

    def long(node: Node) -> Node:
        if type(node.value) is str:
            return node.made({"context": Node(node.value, node.span, node.key)})
        return node

    first, second = long(base), long(over)
    if type(first.value) is not dict or type(second.value) is not dict:
        raise _mismatch(base, over, path)
    return _mappings(first, second, rules, path)


def _logging(base: Node, over: Node, rules: Any, path: Path) -> Node:
    """Merge the options only when both files mean one driver."""
    if (one := _either_null(base, over)) is not None:
        return one
    if type(base.value) is not dict or type(over.value) is not dict:
        raise _mismatch(base, over, path)
    first, second = base.get("driver"), over.get("driver")
    if first is None or second is None or first.value == second.value:
        return _mappings(base, over, rules, path)
    return over


def _pools(base: Node, over: Node, rules: Any, path: Path) -> Node:
    """Merge address pools by their subnets; a pool of another subnet replaces the earlier ones."""
    if (one := _either_null(base, over)) is not None:
        return one
    if type(base.value) is not list or type(over.value) is not list:
        raise _mismatch(base, over, path)

    def subnet(node: Node) -> object:
        found = node.get("subnet")
        return None if found is None else found.value

    pools: list[Node] = []
    for earlier in base.value:
        for later in over.value:
            if subnet(later) != subnet(earlier):
                if all(subnet(pool) != subnet(later) for pool in pools):
                    pools.append(copy(later))
                continue
            merged = _mappings(earlier, copy(later), {}, path) if later.value else earlier
            at = [i for i, pool in enumerate(pools) if subnet(pool) == subnet(merged)]
            if at:
                pools[at[0]] = merged
            else:
                pools.append(merged)
    return base.made(pools)


_LABELLED = {"*": {"labels": _to_sequence}}

RULES: dict[str, Any] = {
    "services": {
        "*": {
            "annotations": _to_sequence,
            "build": {
                "": _build,
                "args": _to_sequence,
                "additional_contexts": _to_sequence,
                "extra_hosts": _hosts,
                "labels": _to_sequence,
                "ssh": _to_sequence,
            },
            "command": _replace,
            "depends_on": {"": _named(_STARTED)},
            "deploy": {"labels": _to_sequence},
            "dns": _to_sequence,
            "dns_opt": _to_sequence,
            "dns_search": _to_sequence,
            "entrypoint": _replace,
            "env_file": _to_sequence,
            "environment": _to_sequence,
            "extra_hosts": _hosts,
            "healthcheck": {"test": _replace},
            "label_file": _to_sequence,
            "labels": _to_sequence,
            "logging": {"": _logging},
            "models": {"": _named(None)},
            "networks": {"": _named(None)},
            "sysctls": _to_sequence,
            "tmpfs": _to_sequence,
            "ulimits": {"*": _replace},
            "volumes": {"*": {"volume": {"labels": _to_sequence}}},
        }
    },
    "networks": {"*": {"labels": _to_sequence, "ipam": {"config": _pools}}},
    "volumes": _LABELLED,
}
"""Where merging is special. A function is the rule of its place; "" stands beside rules below."""


def forget(node: Node, resets: list[Path]) -> None:
    """Drop from a tree, in place, what `!reset` and `!override` name."""
    for path in resets:
        at: Node | None = node
        for part in path[:-1]:
            at = None if at is None else at.get(part)
        if at is not None and path and type(at.value) is dict:
            at.value.pop(path[-1], None)
