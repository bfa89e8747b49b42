"""The two small files of an OCI layout. Source: image-spec 1.1, image-layout.md."""

from __future__ import annotations

from collections.abc import Sequence

from buildkit_py.oci.image import INDEX, Descriptor, to_json

OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


def index_bytes(manifests: Sequence[Descriptor]) -> bytes:
    """Return an `index.json`; the same manifests give the same bytes."""
    return to_json(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [each.to_data() for each in manifests],
        }
    )
