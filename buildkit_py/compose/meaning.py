"""Rules that a schema cannot say, checked on the canonical tree before its values are read.

Source: compose-go validation/*.go.
"""

from __future__ import annotations

from buildkit_py.compose.errors import BadValue, Inconsistent, MissingKey
from buildkit_py.compose.ports import is_address
from buildkit_py.compose.tree import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.core.errors import InputError


def check(root: Node, errors: list[InputError], *, lenient: bool = False) -> None:
    """Add to `errors` what contradicts itself within one part of a tree.

    lenient: values may still hold variables, so none is judged
    """
    if lenient:
        return
    services = root.get("services")
    for name, service in services.mappings() if services is not None else ():
        _service(service, f"services.{name}", errors)
    for name, volume in _entries(root, "volumes"):
        _external(volume, f"volumes.{name}", errors)
    for name, config in _entries(root, "configs"):
        _content(config, f"configs.{name}", ("file", "environment", "content"), errors)
    for name, secret in _entries(root, "secrets"):
        _content(secret, f"secrets.{name}", ("file", "environment"), errors)


def _entries(root: Node, section: str) -> list[tuple[str, Node]]:
    node = root.get(section)
    return list(node.mappings()) if node is not None else []


def _items(node: Node | None) -> list[Node]:
    return node.value if node is not None and type(node.value) is list else []


def _service(service: Node, where: str, errors: list[InputError]) -> None:
    for at, port in enumerate(_items(service.get("ports"))):
        address = port.get("host_ip")
        if address is not None and not is_address(str(address.value)):
            message = f"`{where}.ports.{at}`: `{address.value}` is no IP address"
            errors.append(BadValue(message, at=address.span))
        if type(port.value) is dict and "target" not in port.value:
            message = f"`{where}.ports.{at}` needs the key `target`"
            errors.append(MissingKey(message, at=port.span, label="no port of the container"))
        elif (target := port.get("target")) is not None and not _is_port(target.value):
            message = f"`{where}.ports.{at}`: `{target.value}` is no port"
            errors.append(BadValue(message, at=target.span))
    for at, mount in enumerate(_items(service.get("volumes"))):
        if (type(mount.value) is dict and not (t := mount.get("target"))) or (t and not t.value):
            message = f"`{where}.volumes.{at}` needs the key `target`"
            errors.append(MissingKey(message, at=mount.span, label="no place in the container"))
    develop = service.get("develop")
    for at, rule in enumerate(_items(develop.get("watch") if develop is not None else None)):
        path = rule.get("path")
        if path is not None and path.value == "":
            message = f"`{where}.develop.watch.{at}.path` cannot be empty"
            errors.append(BadValue(message, at=path.span))
    requests = _items(service.get("gpus"))
    at_devices: Node | None = service
    for key in ("deploy", "resources", "reservations", "devices"):
        at_devices = None if at_devices is None else at_devices.get(key)
    for request in (*requests, *_items(at_devices)):
        if {"count", "device_ids"} <= request.value.keys():
            message = f"`{where}`: `count` and `device_ids` exclude each other"
            errors.append(Inconsistent(message, at=request.span))


def _is_port(value: object) -> bool:
    number = int(value) if type(value) is str and value.isdecimal() else value
    return type(number) in (int, float) and 0 < number < 65536  # type: ignore[operator]


def _external(volume: Node, where: str, errors: list[InputError]) -> None:
    outside = volume.get("external")
    if outside is None or outside.value is not True:
        return
    for name, each in volume.value.items():
        if name not in ("name", "external") and not name.startswith("x-"):
            message = f"`{where}` is external, so `{name}` cannot be said here"
            errors.append(Inconsistent(message, at=each.place, label="conflicts with `external`"))


def _content(node: Node, where: str, keys: tuple[str, ...], errors: list[InputError]) -> None:
    """One of the keys says where the content is from, unless it is from outside."""
    given = [key for key in keys if key in node.value]
    if len(given) > 1:
        message = f"`{where}`: {', '.join(f'`{key}`' for key in given)} exclude each other"
        errors.append(Inconsistent(message, at=node.value[given[1]].place))
    if not given and not node.value.keys() & {"driver", "external"}:
        message = f"`{where}` needs one of {', '.join(f'`{key}`' for key in keys)}"
        errors.append(MissingKey(message, at=node.place))
