"""What can be wrong with a layer."""

from __future__ import annotations

from buildkit_py.core.errors import RemoteError


class BadLayer(RemoteError):
    """A layer's tar breaks the format, or tries what a layer may not do."""

    code = "store/bad-layer"


class LayerTooLarge(RemoteError):
    """A layer holds more than the limit allows."""

    code = "store/layer-too-large"
