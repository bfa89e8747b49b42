"""Errors on their way from a supervisor to whoever asked."""

from __future__ import annotations

from typing import Any

from buildkit_py.core.errors import Bug, BuildkitError, HostError, InputError, StateError
from buildkit_py.engine.containers import (
    CannotStart,
    ContainerIsRunning,
    NotRunning,
    UnknownContainer,
)
from buildkit_py.engine.network_records import NetworkInUse, UnknownNetwork

_BRANCHES: dict[str, type[BuildkitError]] = {
    "input": InputError,
    "host": HostError,
    "state": StateError,
    "bug": Bug,
}
_CAUGHT: dict[str, type[BuildkitError]] = {
    cls.code: cls
    for cls in (ContainerIsRunning, NetworkInUse, NotRunning, UnknownContainer, UnknownNetwork)
}


def to_data(error: BuildkitError) -> dict[str, Any]:
    branch = next((name for name, cls in _BRANCHES.items() if isinstance(error, cls)), "bug")
    return {
        "branch": branch,
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "notes": list(error.notes),
        "code_of_program": getattr(error, "code_of_program", None),
    }


def from_data(data: dict[str, Any]) -> BuildkitError:
    """Return the error; of those that callers catch by type, the type itself."""
    if data["code"] == CannotStart.code:
        return CannotStart(data["message"], code_of_program=data["code_of_program"])
    cls = _CAUGHT.get(data["code"], _BRANCHES[data["branch"]])
    error = cls.__new__(cls)  # their own way to be made takes what the message is made of
    BuildkitError.__init__(
        error, data["message"], code=data["code"], hint=data["hint"], notes=data["notes"]
    )
    return error
