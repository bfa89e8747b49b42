"""In what networks and volumes that there are differ from what the files say. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildkit_py.compose import model, plan

_COMPOSE = "com.docker.compose."


def own_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels without those that are put on by `up`, or by docker compose."""
    return {key: value for key, value in labels.items() if not key.startswith(_COMPOSE)}


def subnet_of(network: model.Network) -> tuple[str, str]:
    """Return the subnet and the gateway that a network asks for, "" where it does not care."""
    for each in network.subnets:
        return str(each.get("subnet") or ""), str(each.get("gateway") or "")
    return "", ""


def of_network(network: model.Network, found: plan.Network) -> list[str]:
    """Return the keys in which a network that there is differs from what is wanted."""
    subnet, gateway = subnet_of(network)
    wanted: dict[str, object] = {
        "internal": network.internal,
        "subnet": subnet,
        "gateway": gateway,
        "labels": own_labels(network.labels),
    }
    return [key for key, value in wanted.items() if getattr(found, key) != value]


def of_volume(volume: model.Volume, found: plan.Volume) -> str:
    """Say in which labels a volume that there is differs from what is wanted, "" if in none."""
    wanted, there = own_labels(volume.labels), found.labels
    told = []
    for key in sorted(wanted.keys() | there.keys()):
        if key not in there:
            told.append(f"its label `{key}` is missing")
        elif key not in wanted:
            told.append(f"it has the label `{key}`")
        elif wanted[key] != there[key]:
            told.append(f"its label `{key}` is `{there[key]}`, not `{wanted[key]}`")
    return ", ".join(told)
