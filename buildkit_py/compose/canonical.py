"""Short forms made long, so that every later phase meets one form of each thing.

Only what the schema has passed comes here. In `lenient` mode (`--no-interpolate`, where texts may
still hold variables) a text that cannot be read stays as it is. What is wrong is collected.
Source: compose-go transform/*.go.
"""

from __future__ import annotations

from buildkit_py.compose.errors import BadValue
from buildkit_py.compose.mounts import clean, parse_mount, unknown_options
from buildkit_py.compose.ports import parse_port
from buildkit_py.compose.scalars import go_text
from buildkit_py.compose.tree import Node, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from buildkit_py.core.errors import InputError

    Warn = Callable[[str], None]


def canonical(root: Node, errors: list[InputError], warn: Warn, *, lenient: bool = False) -> None:
    """Rewrite a tree into its long forms, in place."""
    for name, service in _mappings(root.get("services")):
        _service(service, f"services.{name}", _Errors(errors, lenient, warn))
    for section in ("networks", "volumes", "secrets", "configs"):
        for name, resource in _mappings(root.get(section)):
            _external(resource, f"{section}.{name}", errors, warn)


class _Errors:
    """Where complaints go; none is made of a text that may still hold variables."""

    def __init__(self, errors: list[InputError], lenient: bool, warn: Warn) -> None:
        self._warn = warn
        self.errors = errors
        self.lenient = lenient

    def add(self, message: str, node: Node) -> None:
        if not self.lenient:
            self.errors.append(BadValue(message, at=node.span))

    def warn(self, message: str, node: Node) -> None:
        if not self.lenient:
            self._warn(f"{node.span.place}: {message}")


def _mappings(node: Node | None) -> list[tuple[str, Node]]:
    return list(node.mappings()) if node is not None else []


def _service(service: Node, where: str, errors: _Errors) -> None:
    values: dict[str, Node] = service.value
    for name, change in _CHANGES.items():
        node = values.get(name)
        if node is not None and node.value is not None:
            change(node, f"{where}.{name}", errors)


def _build(node: Node, where: str, errors: _Errors) -> None:
    if type(node.value) is str:
        node.value = {"context": Node(node.value, node.span, node.key)}
        return
    for name, change in _BUILD_CHANGES.items():
        part = node.get(name)
        if part is not None and part.value is not None:
            change(part, f"{where}.{name}", errors)


def _one_or_more(node: Node, where: str, errors: _Errors) -> None:
    """A string is a list of one."""
    if type(node.value) is str:
        node.value = [Node(node.value, node.span)]


def _as_text(node: Node, where: str, errors: _Errors) -> None:
    if type(node.value) is not str:
        node.value = go_text(node.value)


def _pairs(node: Node, where: str, errors: _Errors) -> None:
    """A list of `key=value` is a mapping."""
    if type(node.value) is not list:
        return
    out: dict[str, Node] = {}
    for item in node.value:
        name, equals, value = item.value.partition("=")
        if not equals:
            if errors.lenient:
                return
            errors.add(f"`{where}`: `{item.value}` is not `NAME=VALUE`", item)
        out[name] = Node(value, item.span, item.span)
    node.value = out


def _ssh(node: Node, where: str, errors: _Errors) -> None:
    if type(node.value) is not list:
        return
    out: dict[str, Node] = {}
    for item in node.value:
        name, equals, value = item.value.partition("=")
        if not equals and name != "default":
            errors.add(f"`{where}`: `{item.value}` is neither `default` nor `ID=PATH`", item)
        out[name] = Node(value if equals else None, item.span, item.span)
    node.value = out


def _names(default: dict[str, Any] | None) -> Callable[[Node, str, _Errors], None]:
    """Make a list of names a mapping of them to a default."""

    def change(node: Node, where: str, errors: _Errors) -> None:
        if type(node.value) is list:
            node.value = {
                item.value: wrap(None if default is None else dict(default), item.span, item.span)
                for item in node.value
            }
        elif default is not None:
            for _, each in node.mappings():
                for name, value in default.items():
                    if name not in each.value:
                        each.set(name, value)

    return change


def _env_files(node: Node, where: str, errors: _Errors) -> None:
    _one_or_more(node, where, errors)
    for item in node.value:
        if type(item.value) is str:
            item.value = {"path": Node(item.value, item.span)}
        if type(item.value) is dict and "required" not in item.value:
            item.set("required", True)


def _extends(node: Node, where: str, errors: _Errors) -> None:
    if type(node.value) is str:
        node.value = {"service": Node(node.value, node.span)}


def _gpus(node: Node, where: str, errors: _Errors) -> None:
    if type(node.value) is str:
        node.value = [wrap({"count": "all"}, node.span)]


def _granted(node: Node, where: str, errors: _Errors) -> None:
    for item in node.value:
        if type(item.value) is str:
            item.value = {"source": Node(item.value, item.span)}


def _devices(node: Node, where: str, errors: _Errors) -> None:
    for at, item in enumerate(node.value):
        if type(item.value) is not str:
            continue
        parts = item.value.split(":")
        if len(parts) > 3:
            errors.add(
                f"`{where}.{at}`: `{item.value}` has too many colons, please use the long form",
                item,
            )
            if errors.lenient:
                continue
        source = parts[0]
        target = parts[1] if len(parts) > 1 and parts[1] else source
        permissions = parts[2] if len(parts) > 2 else "rwm"
        item.value = wrap(
            {"source": source, "target": target, "permissions": permissions}, item.span
        ).value


def _mounts(node: Node, where: str, errors: _Errors) -> None:
    for at, item in enumerate(node.value):
        if type(item.value) is not str:
            continue
        try:
            mount = parse_mount(item.value)
        except ValueError as error:
            errors.add(f"`{where}.{at}`: `{item.value}`: {error}", item)
            continue
        for option in unknown_options(item.value):
            errors.warn(f"`{item.value}`: there is no option `{option}`; it is ignored", item)
        mount["target"] = clean(mount["target"])
        item.value = wrap(mount, item.span).value


def _ports(node: Node, where: str, errors: _Errors) -> None:
    out: list[Node] = []
    for at, item in enumerate(node.value):
        if type(item.value) is dict:
            out.append(item)
            continue
        if type(item.value) is float:
            errors.add(f"`{where}.{at}`: `{go_text(item.value)}` is no port", item)
            out.append(item)
            continue
        try:
            ports = parse_port(str(item.value))
        except ValueError as error:
            if errors.lenient:
                return
            errors.add(f"`{where}.{at}`: `{item.value}`: {error}", item)
            out.append(item)
            continue
        out += [wrap(port, item.span) for port in ports]
    node.value = out


def _ulimits(node: Node, where: str, errors: _Errors) -> None:
    for name, item in node.value.items():
        if type(item.value) not in (int, dict):
            errors.add(f"`{where}.{name}`: `{item.value}` is no whole number", item)


def _watch(node: Node, where: str, errors: _Errors) -> None:
    rules = node.get("watch")
    for rule in rules.value if rules is not None and rules.value else ():
        for name in ("ignore", "include"):
            if (part := rule.get(name)) is not None:
                _one_or_more(part, where, errors)


def _external(resource: Node, where: str, errors: list[InputError], warn: Warn) -> None:
    """Read the old form `external: {name: x}`."""
    outside = resource.get("external")
    if outside is None or type(outside.value) is not dict:
        return
    inner = outside.get("name")
    outside.value = True
    if inner is None:
        return
    warn(f"`{where}`: `external.name` is deprecated, please set `name` and `external: true`")
    named = resource.get("name")
    if named is None:
        resource.value["name"] = inner
    elif named.value != inner.value:
        errors.append(
            BadValue(
                f"`{where}`: `name` and `external.name` differ; only use `name`", at=inner.span
            )
        )


_BUILD_CHANGES: dict[str, Callable[[Node, str, _Errors], None]] = {
    "additional_contexts": _pairs,
    "provenance": _as_text,
    "sbom": _as_text,
    "secrets": _granted,
    "ssh": _ssh,
    "ulimits": _ulimits,
}
_CHANGES: dict[str, Callable[[Node, str, _Errors], None]] = {
    "build": _build,
    "configs": _granted,
    "depends_on": _names({"condition": "service_started", "required": True}),
    "develop": _watch,
    "devices": _devices,
    "dns": _one_or_more,
    "env_file": _env_files,
    "extends": _extends,
    "gpus": _gpus,
    "label_file": _one_or_more,
    "models": _names(None),
    "networks": _names(None),
    "ports": _ports,
    "secrets": _granted,
    "ulimits": _ulimits,
    "volumes": _mounts,
}


def drop_empty(root: Node) -> None:
    """Drop empty entries of `dns`, which a variable without a value leaves."""
    for _, service in _mappings(root.get("services")):
        dns = service.get("dns")
        if dns is not None and type(dns.value) is list:
            dns.value = [item for item in dns.value if item.value not in (None, "")]
