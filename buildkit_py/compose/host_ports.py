"""Host ports that two containers of a project would take: the second cannot start."""

from __future__ import annotations

from buildkit_py.compose.errors import BadValue
from buildkit_py.compose.tree import dotted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from buildkit_py.compose.project import Project
    from buildkit_py.core.errors import InputError

_ANY = ("", "0.0.0.0", "::")


def check(project: Project) -> list[InputError]:
    """Return a complaint for each host port that has been taken by an entry before.

    A range of which one port is chosen takes none for certain.
    """
    errors: list[InputError] = []
    taken: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, service in project.services.items():
        if _count(service) == 0:
            continue
        for at, port in enumerate(service.get("ports") or ()):
            number = str(port.get("published") or "")
            if not number.isdigit() or int(number) == 0:
                continue
            others = taken.setdefault((str(int(number)), port.get("protocol") or "tcp"), [])
            address = str(port.get("host_ip") or "")
            for other, owner in others:
                if _meet(address, other):
                    path = ("services", name, "ports", str(at))
                    whose = "of this service" if owner == name else f"of `{owner}`"
                    message = f"the host port {number} is already that of another port {whose}"
                    errors.append(
                        BadValue(f"`{dotted(path)}`: {message}", at=project.value_at(*path))
                    )
                    break
            others.append((address, name))
    return errors


def _count(service: Mapping[str, Any]) -> int | None:
    count: int | None = service.get("scale")
    return (service.get("deploy") or {}).get("replicas") if count is None else count


def _meet(one: str, other: str) -> bool:
    """Say whether two addresses of the host cannot have one port each."""
    if one == other or "" in (one, other):
        return True
    return (":" in one) == (":" in other) and (one in _ANY or other in _ANY)
