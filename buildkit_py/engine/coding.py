"""Frozen dataclasses to JSON and back, for the records in a state root.

    {"is": "Bind", "source": "/srv", "target": "/data", ...}    a dataclass, by its name
    {"is": "map", "of": {...}}    a mapping
    {"is": "set", "of": [...]}    a set
    [...]    a tuple

Fields that a record lacks have their defaults, fields that we do not know are left out: so a
newer program reads older records, and an older one newer records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from buildkit_py.core.errors import StateError

FIELDS = "__buildkit_py_fields__"
"""Where core.data keeps what it knows of a class."""


class DamagedRecord(StateError):
    """A record of the state root cannot be read."""

    code = "engine/damaged-record"


def to_bytes(value: Any) -> bytes:
    """Return the record of a dataclass."""
    return json.dumps(_encode(value), ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogateescape"
    )


def from_bytes(data: bytes, known: Mapping[str, type], what: str) -> Any:
    """Read a record. known: classes by name; raises DamagedRecord naming `what`."""
    try:
        return _decode(json.loads(data.decode("utf-8", "surrogateescape")), known)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedRecord(f"the record of {what} is damaged: {error!r:.100}") from None


def _encode(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (tuple, list)):
        return [_encode(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return {"is": "set", "of": sorted(value)}
    if isinstance(value, Mapping):
        return {"is": "map", "of": {key: _encode(each) for key, each in value.items()}}
    fields = getattr(type(value), FIELDS)
    return {"is": type(value).__name__} | {name: _encode(getattr(value, name)) for name in fields}


def _decode(value: Any, known: Mapping[str, type]) -> Any:
    if isinstance(value, list):
        return tuple(_decode(each, known) for each in value)
    if not isinstance(value, dict):
        return value
    kind = value["is"]
    if kind == "map":
        return {key: _decode(each, known) for key, each in value["of"].items()}
    if kind == "set":
        return frozenset(value["of"])
    cls = known[kind]
    fields = getattr(cls, FIELDS)
    return cls(**{name: _decode(each, known) for name, each in value.items() if name in fields})
