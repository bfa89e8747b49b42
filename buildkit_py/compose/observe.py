"""What there is of a project, looked at in the engine's records and put into the words of plans."""

from __future__ import annotations

from buildkit_py.compose import plan
from buildkit_py.compose.changes import own_labels
from buildkit_py.compose.grants import FILES_LABEL
from buildkit_py.compose.request import LABEL, image_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit_py.compose import model
    from buildkit_py.engine.client import Engine
    from buildkit_py.engine.containers import Known
    from buildkit_py.engine.network_records import NetworkRecord
    from buildkit_py.engine.volume_records import Volume


def observe(engine: Engine, name: str, project: model.Project | None = None) -> plan.Observed:
    """Look at what there is. project: its services' images are looked up too."""
    return plan.Observed(
        tuple(_seen(known) for known in containers_of(engine, name, oneoff=True)),
        tuple(_seen_network(record) for record in engine.networks()),
        tuple(_seen_volume(volume) for volume in engine.volumes() if not volume.anonymous),
        {} if project is None else _images(engine, name, project),
    )


def _images(engine: Engine, name: str, project: model.Project) -> dict[str, str]:
    from buildkit_py.store.images import UnknownImage

    found: dict[str, str] = {}
    for service in project.services.values():
        try:
            found[service.name] = engine.store.images.find(image_of(name, service)).config
        except UnknownImage:
            continue
    return found


def containers_of(engine: Engine, name: str, *, oneoff: bool = False) -> list[Known]:
    """Return the containers of a project's services by service and number.

    oneoff: also those that `run` made
    """
    found = [
        known
        for known in engine.containers({f"{LABEL}project": name, f"{LABEL}service": None})
        if oneoff or not is_oneoff(known)
    ]
    return sorted(found, key=lambda known: (service_of(known), number_of(known), known.spec.name))


def supervisor_of(known: Iterable[Known], name: str) -> str:
    """Return the group whose supervisor looks after a project, from its containers."""
    return next((each.spec.group for each in known), name)


def service_of(known: Known) -> str:
    return known.spec.labels[f"{LABEL}service"]


def is_oneoff(known: Known) -> bool:
    return known.spec.labels.get(f"{LABEL}oneoff", "False") == "True"


def number_of(known: Known) -> int:
    text = known.spec.labels.get(f"{LABEL}container-number", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _seen(known: Known) -> plan.Container:
    labels = known.spec.labels
    return plan.Container(
        known.spec.id,
        known.spec.name,
        service_of(known),
        number_of(known),
        labels.get(f"{LABEL}config-hash", ""),
        known.state.status,
        known.state.exit_code,
        known.spec.image_id,
        labels.get(FILES_LABEL, ""),
        tuple(use.name for use in known.spec.networks),
        tuple(_need(each) for each in labels.get(f"{LABEL}depends_on", "").split(",") if each),
        known.spec.group,
        is_oneoff(known),
    )


def _need(text: str) -> plan.Need:
    """Read one service of the label `depends_on`: NAME:CONDITION:RESTART."""
    service, _, rest = text.partition(":")
    condition, _, restart = rest.partition(":")
    return plan.Need(service, condition or "service_started", restart == "true")


def _seen_network(record: NetworkRecord) -> plan.Network:
    return plan.Network(
        record.name, record.owner, record.internal, record.subnet, record.gateway,
        record.labels.get(f"{LABEL}project", ""), own_labels(record.labels),
    )  # fmt: skip


def _seen_volume(volume: Volume) -> plan.Volume:
    project = volume.labels.get(f"{LABEL}project", "")
    return plan.Volume(volume.name, project, own_labels(volume.labels))
