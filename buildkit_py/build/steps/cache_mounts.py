"""`RUN --mount=type=cache`: directories that outlive builds and never reach a layer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from buildkit_py.build.steps.services import Services
from buildkit_py.core.digest import sha256
from buildkit_py.core.files import Lock
from buildkit_py.graph.ops import Mount
from buildkit_py.runtime.spec import Bind
from buildkit_py.store.trees import remove_tree


@contextmanager
def cache_mount(services: Services, mount: Mount, *, wipe: bool) -> Iterator[Bind]:
    """Give the mount of a cache directory, made where it is missing.

    wipe: the step runs again on purpose (`--no-cache`): the cache begins empty
    sharing: `locked` waits for other users; `private` gets a directory that nobody uses now
    """
    mode = 0o755 if mount.mode is None else mount.mode
    # A hash, never the id itself: an id such as `../../etc` must not lead anywhere.
    name = sha256(f"{mount.id or mount.target}\0{mode:o}\0{mount.uid}\0{mount.gid}".encode())
    base = os.path.join(services.store.root, "cache-mounts", name.removeprefix("sha256:")[:32])
    os.makedirs(os.path.dirname(base), mode=0o700, exist_ok=True)
    number = 0
    while True:
        path = base if number == 0 else f"{base}-{number}"
        lock = Lock(f"{path}.lock", shared=mount.sharing == "shared")
        if lock.acquire(wait=mount.sharing != "private"):
            break
        number += 1
    try:
        if wipe:
            remove_tree(path)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        else:
            if services.host.ids != "single":
                os.chown(path, mount.uid, mount.gid)
            os.chmod(path, mode)
        yield Bind(path, mount.target, read_only=mount.read_only, recursive=False)
    finally:
        lock.release()
