"""Removing a container whose state on disk cannot be read, by what else is known of it."""

from __future__ import annotations

import os

from buildkit_py.core.errors import BuildkitError
from buildkit_py.oci.runtime_config_reader import read
from buildkit_py.runtime.kernel import oci_cgroup_paths
from buildkit_py.runtime.kernel.oci_cgroups import Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildkit_py.runtime.bundle.state import Place


def remove_damaged(place: Place) -> list[str]:
    """Remove a container by its id and its config.json; return warnings.

    Its processes are found in its cgroups, and those where they would be made today. Nothing says
    which of their parents are ours: they stay.
    """
    warnings = [
        f"the state of container `{place.id}` was damaged: it is removed by its config.json"
    ]
    try:
        path = read(place.config()).linux.cgroups_path
        host = oci_cgroup_paths.detect(rootless=os.geteuid() != 0)
        places = oci_cgroup_paths.plan_paths(path, place.id, host, systemd=False)
        there = [each for each in places if os.path.isdir(each.directory)]
        if not there:
            warnings.append("it has no cgroup: a process of it that still runs cannot be found")
        cgroup = Cgroup(there, made=[(each.mount, each.path) for each in there])
        cgroup.kill_all()
        cgroup.delete()
    except (OSError, BuildkitError) as error:
        text = error.message if isinstance(error, BuildkitError) else str(error)
        warnings.append(f"what else there was of it may be left: {text}")
    place.remove()
    return warnings
