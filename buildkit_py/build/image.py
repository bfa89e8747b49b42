"""From steps to an image: layers, times of the history, config, manifest."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_py.core.data import replace
from buildkit_py.core.digest import Digest, sha256
from buildkit_py.oci.image import CONFIG, Descriptor, History, ImageConfig, Manifest


def with_times(history: Sequence[History], layer_times: Sequence[str]) -> tuple[History, ...]:
    """Return a history in which every entry has a time.

    layer_times: of the layers that have none yet, in order

    The first entries that make no layer take the time of the next layer, or, when none follows,
    of the last one; later such entries that of the layer before them. So metadata alone never
    makes a new time, and a build from the cache gives the same image.
    Counterpart: BuildKit exporter/containerimage/writer.go.
    """
    times = iter(layer_times)
    dated = [
        replace(each, created=next(times, None))
        if not each.empty_layer and each.created is None
        else each
        for each in history
    ]
    current: str | None = None
    missing = False
    for each in dated:
        if each.created is not None:
            current = each.created
            if missing:
                break
        else:
            missing = True
    missing = False
    result = []
    for each in dated:
        if each.created is not None:
            if missing:
                current = each.created
            result.append(each)
        else:
            missing = True
            result.append(replace(each, created=current))
    return tuple(result)


def assemble(
    config: ImageConfig,
    layers: Sequence[tuple[Descriptor, Digest]],
    layer_times: Sequence[str],
    *,
    base_layers: Sequence[Descriptor],
    base_history: int = 0,
    epoch: str | None = None,
) -> tuple[bytes, bytes]:
    """Return the bytes of the config and of the manifest.

    config: diff ids and layers of the base; history complete but for times
    layers: descriptor and diff id of each new layer, lowest first
    base_history: how many of the first history entries are the base's
    epoch: SOURCE_DATE_EPOCH as a time: no new entry is younger
    """
    history = with_times(config.history, layer_times)
    if epoch is not None:
        history = (
            *history[:base_history],
            *(clamp(each, epoch) for each in history[base_history:]),
        )
    created = next((each.created for each in reversed(history) if each.created), None)
    extra = dict(config.extra) if created else {**config.extra, "created": None}
    whole = replace(
        config,
        created=created,
        extra=extra,
        history=history,
        diff_ids=(*config.diff_ids, *(diff_id for _, diff_id in layers)),
    )
    data = whole.to_bytes()
    manifest = Manifest(
        Descriptor(CONFIG, sha256(data), len(data)),
        (*base_layers, *(descriptor for descriptor, _ in layers)),
    )
    return data, manifest.to_bytes()


def clamp(entry: History, epoch: str) -> History:
    """Return an entry that is not younger than `epoch`, a time in whole seconds."""
    if entry.created is None or entry.created[:19] >= epoch[:19]:
        return replace(entry, created=epoch)
    return entry
