"""`pybuild lint --resolve`: what the local store knows of base images. Asks no registry."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from buildkit_py.cli.reader import Value
    from buildkit_py.oci.image import ImageConfig
    from buildkit_py.oci.platform import Platform


def find_in(values: dict[str, Value]) -> Callable[[str], ImageConfig | None]:
    """Return the function that finds an image's config by its name, None where there is none."""
    from buildkit_py.core.dirs import state_root

    root = state_root(str(values["root"]) if values["root"] else None)
    configs = _read(values) if os.path.isdir(root) else {}

    def find(name: str) -> ImageConfig | None:
        from buildkit_py.core.errors import InputError
        from buildkit_py.oci.reference import parse_reference

        try:
            return configs.get(parse_reference(name).name)
        except InputError:
            return None

    return find


def _read(values: dict[str, Value]) -> dict[str, ImageConfig]:
    """Return the configs of all images with a name."""
    from buildkit_py.cli.engine_images import open_store

    with open_store(values) as store:
        images = store.images
        return {each.name: images.config(each.config) for each in images.list() if each.name}


def this_platform() -> Platform:
    """Return the platform that a build here would be for."""
    from buildkit_py.oci.platform import machine_platform

    return machine_platform(os.uname().machine)
