"""A layer, and the note beside a snapshot that says which layer it is."""

from __future__ import annotations

import json

from buildkit_py.core.data import dataclass
from buildkit_py.core.digest import Digest, is_digest
from buildkit_py.core.errors import StateError
from buildkit_py.oci.image import BadImage, Descriptor, to_json


@dataclass(frozen=True, slots=True)
class Layer:
    """The changes of one snapshot as content.

    descriptor: of the compressed blob
    diff_id: digest of the uncompressed tar
    """

    descriptor: Descriptor
    diff_id: Digest


def layer_to_bytes(layer: Layer) -> bytes:
    return to_json({"descriptor": layer.descriptor.to_data(), "diff_id": layer.diff_id})


def layer_from_bytes(data: bytes) -> Layer:
    """Read what `layer_to_bytes` wrote; raise StateError for anything else."""
    try:
        value = json.loads(data)
        descriptor = Descriptor.from_data(value["descriptor"])
        diff_id = value["diff_id"]
    except (ValueError, KeyError, TypeError, BadImage) as error:
        raise StateError(
            f"the note of a layer is damaged: {error}", code="store/bad-layer-note"
        ) from None
    if not isinstance(diff_id, str) or not is_digest(diff_id):
        raise StateError("the note of a layer has no diff id", code="store/bad-layer-note")
    return Layer(descriptor, Digest(diff_id))
