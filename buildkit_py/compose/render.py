"""A bound project printed as `docker compose config` prints it, as JSON or YAML.

JSON always names `command` and `entrypoint` and has empty objects where Go's structs are; keys of
users (`x-…`) are there at the top only. YAML has them everywhere and leaves out what is empty.
Differences to docker on purpose are listed in docs/compose.md.
"""

from __future__ import annotations

import json

from buildkit_py.compose.scalars import go_float
from buildkit_py.compose.shapes import SHAPES
from buildkit_py.compose.yaml_text import natural, to_yaml

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def to_json(project: dict[str, Any]) -> str:
    """Return a bound project as docker's JSON."""
    shaped = {
        name: _shaped(value, SHAPES["project"].get(name, ""), for_json=True)
        for name, value in project.items()
    }
    shaped.setdefault("services", {})
    # Keys at the top are sorted, as Go sorts a map's.
    return json_text(dict(sorted(shaped.items())))


def json_text(value: Any) -> str:
    """Return plain values as JSON; what could command a terminal is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    if text.isascii():
        return text
    return text.translate({code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)})


def to_yaml_text(project: dict[str, Any]) -> str:
    """Return a bound project as docker's YAML."""
    shaped = {
        name: _shaped(value, SHAPES["project"].get(name, ""), for_json=False)
        for name, value in project.items()
    }
    services = shaped.pop("services", {})
    name = {"name": shaped.pop("name")} if "name" in shaped else {}
    return to_yaml({**name, "services": services, **shaped})


def without_shape(value: Any) -> Any:
    """Return plain values with their mappings sorted, as Go prints maps."""
    if type(value) is dict:
        return {name: without_shape(value[name]) for name in sorted(value)}
    if type(value) is list:
        return [without_shape(each) for each in value]
    return value


def _shaped(value: Any, kind: str, *, for_json: bool) -> Any:
    if not kind:
        return without_shape(value)
    if kind[0] != "@":
        return _number(value, kind)
    shape = kind[1:].rstrip("?")
    if shape.endswith("[]"):
        return [_part(each, shape[:-2], for_json=for_json) for each in value]
    if shape.endswith("{}"):
        names = sorted(value) if for_json else sorted(value, key=natural)
        return {
            name: None if value[name] is None else _part(value[name], shape[:-2], for_json=for_json)
            for name in names
        }
    return _part(value, shape, for_json=for_json)


def _part(part: dict[str, Any], shape: str, *, for_json: bool) -> dict[str, Any]:
    """Return one part with its keys in docker's order."""
    out: dict[str, Any] = {}
    for key, kind in SHAPES[shape].items():
        if key in part:
            value = _shaped(part[key], kind, for_json=for_json)
            if kind == "opt-out" and value is True:
                continue
            # Go's structs of these two have no names for JSON.
            out[key.capitalize() if for_json and shape in ("rate", "weight") else key] = value
        elif for_json and _is_always_there(kind):
            out[key] = None if kind == "command" else _part({}, kind[1:], for_json=True)
    if not for_json:
        others = part.keys() - SHAPES[shape].keys()
        out.update({key: without_shape(part[key]) for key in sorted(others, key=natural)})
    return out


def _is_always_there(kind: str) -> bool:
    """Say whether JSON has a key also when it says nothing: commands, and parts within parts."""
    return kind == "command" or (kind[0] == "@" and kind[-1].isalpha())


def _number(value: Any, kind: str) -> Any:
    if kind == "single" and type(value) is float:
        # Go prints the shortest text that is the same float32.
        text = go_float(value, bits=32)
        return int(value) if value.is_integer() and abs(value) < 1e15 else float(text)
    return value


def service_hash(service: dict[str, Any]) -> str:
    """Return docker's hash of a service's configuration: the label `config-hash`.

    What may change without a new container is left out. Source: docker/compose pkg/compose/hash.go.
    """
    from buildkit_py.core.digest import sha256

    left = {"build", "pull_policy", "scale", "depends_on", "profiles"}
    part = {key: value for key, value in service.items() if key not in left}
    if "deploy" in part:
        part["deploy"] = {k: v for k, v in part["deploy"].items() if k != "replicas"}
    text = json.dumps(
        _part(part, "service", for_json=True), separators=(",", ":"), ensure_ascii=False
    )
    for character in "<>&\u2028\u2029":
        # Go's encoder escapes what HTML would read.
        text = text.replace(character, f"\\u{ord(character):04x}")
    return sha256(text.encode()).removeprefix("sha256:")
