"""Entries of lists that mean the same thing: the last one wins, in the place of the first.

Run after every merge, and once more after short forms became long ones, when two ports or mounts
can be seen to be one. Source: compose-go override/uncity.go.
"""

from __future__ import annotations

from buildkit_py.compose.tree import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

    Index = Callable[[Node], "Hashable | None"]


def unique(node: Node, rules: Any = None) -> None:
    """Drop from a tree, in place, the entries that later ones replace."""
    rules = RULES if rules is None else rules
    if type(node.value) is dict and type(rules) is dict:
        other = rules.get("*")
        for name, each in node.value.items():
            rule = rules.get(name, other)
            if rule is not None:
                unique(each, rule)
    elif type(node.value) is list and callable(rules):
        node.value = _last_of_each(node.value, rules)


def _last_of_each(items: list[Node], index: Index) -> list[Node]:
    out: list[Node] = []
    seen: dict[Hashable, int] = {}
    for item in items:
        key = index(item)
        if key is None:
            out.append(item)
        elif key in seen:
            out[seen[key]] = item
        else:
            seen[key] = len(out)
            out.append(item)
    return out


def _word(node: Node) -> Hashable | None:
    """The text before `=`."""
    return node.value.partition("=")[0] if type(node.value) is str else None


def _number_or_word(node: Node) -> Hashable | None:
    return str(node.value) if type(node.value) in (str, int) else None


def _field(node: Node, name: str) -> object:
    found = node.get(name)
    return None if found is None else found.value


def _path(node: Node) -> Hashable | None:
    """An environment file's path."""
    path = node.value if type(node.value) is str else _field(node, "path")
    return path if type(path) is str else None


def _target(node: Node) -> Hashable | None:
    """A volume's target."""
    if type(node.value) is str:
        from buildkit_py.compose.mounts import parse_mount

        try:
            return str(parse_mount(node.value)["target"])
        except ValueError:
            return None
    target = _field(node, "target")
    return target if type(target) is str else None


def _device(node: Node) -> Hashable | None:
    if type(node.value) is str:
        parts = node.value.split(":")
        return parts[min(len(parts), 2) - 1]
    target = _field(node, "target")
    return target if type(target) is str else None


def _granted(folder: str) -> Index:
    """Secrets and configs: where they are mounted."""

    def index(node: Node) -> Hashable | None:
        if type(node.value) is str:
            return f"{folder}/{node.value}"
        target, source = _field(node, "target"), _field(node, "source")
        return target if type(target) is str else f"{folder}/{source}"

    return index


def _port(node: Node) -> Hashable | None:
    if type(node.value) in (str, int):
        return str(node.value)
    target = _field(node, "target")
    if target is None:
        return None
    return (
        str(_field(node, "host_ip") or "0.0.0.0"),
        str(_field(node, "published")),
        str(target),
        str(_field(node, "protocol") or "tcp"),
    )


RULES: dict[str, Any] = {
    "services": {
        "*": {
            "annotations": _word,
            "build": {
                "args": _word,
                "additional_contexts": _word,
                "labels": _word,
                "ssh": _word,
                "tags": _word,
            },
            "cap_add": _word,
            "cap_drop": _word,
            "configs": _granted(""),
            "deploy": {"labels": _word},
            "devices": _device,
            "dns": _word,
            "dns_opt": _word,
            "dns_search": _word,
            "env_file": _path,
            "environment": _word,
            "expose": _number_or_word,
            "labels": _word,
            "links": _word,
            "networks": {"*": {"aliases": _word, "link_local_ips": _word}},
            "ports": _port,
            "profiles": _word,
            "secrets": _granted("/run/secrets"),
            "sysctls": _word,
            "tmpfs": _word,
            "volumes": _target,
        }
    },
    "networks": {"*": {"labels": _word, "ipam": {"options": _word}}},
}
"""What makes entries of lists the same, as a tree of keys; `*` is any key."""
