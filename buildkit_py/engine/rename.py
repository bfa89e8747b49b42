"""Another name for a container. After a crash half-way it has both, and a second try ends it."""

from __future__ import annotations

import contextlib
import os

from buildkit_py.core.data import replace
from buildkit_py.core.errors import InputError
from buildkit_py.core.files import Lock
from buildkit_py.engine import containers
from buildkit_py.engine.containers import ContainerSpec
from buildkit_py.engine.create import LOCKS, claim


class RenamingRuns(InputError):
    """Its supervisor knows a container that runs by its name: nobody tells it of another yet."""

    code = "engine/renaming-runs"


def rename(root: str, id: str, name: str) -> ContainerSpec:
    """Give a container that does not run another name, and return what it is then.

    Raises BadName, NameTaken, RenamingRuns, UnknownContainer.
    """
    containers.check_name(name)
    directory = containers.directory_of(root, id)
    with Lock(os.path.join(root, "locks", LOCKS)):
        try:
            known = containers.observe(directory)
        except FileNotFoundError:
            raise containers.UnknownContainer(id) from None
        if known.running:
            raise RenamingRuns(f"cannot rename `{known.spec.name}` while it runs")
        before = known.spec.name
        claim(root, name, id)
        spec = replace(known.spec, name=name)
        containers.write_spec(directory, spec)
        if before != name:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(root, "names", before))
    return spec
